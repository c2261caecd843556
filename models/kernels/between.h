// What lies between two convolutions, for one element type. kernels.c includes this file twice.
//
// T       the stored type: bfloat16 bits in a uint16_t, or float
// NAME(f) f with the type's ending
//
// Maps are channels-last: pixels in rows, the channels of a pixel side by side.

// 2x2 max-pooling of one image (h, w, c) to (h/2, w/2, c). As in torch, the first of equal values wins and NaN beats
// all. `from` gets the position of the maximum, 0 to 3, or 4 where a ReLU cuts the gradient off.
static void NAME(pool_image)(const T *restrict x, long h, long w, long c, long relu, T *restrict out,
                             uint8_t *restrict from) {
    for (long i = 0; i < h / 2; i++)
        for (long j = 0; j < w / 2; j++, out += c, from += c) {
            const T *restrict top = x + (2 * i * w + 2 * j) * c, *restrict low = top + w * c;
            ahead(top + 2 * w * c, 2 * c * sizeof(T));
            ahead(low + 2 * w * c, 2 * c * sizeof(T));
            for (long k = 0; k < c; k += LANES) {
                Floats others[3] = {NAME(get)(top + c, k, c), NAME(get)(low, k, c), NAME(get)(low + c, k, c)};
                Ints place;
                Floats best = maximum(NAME(get)(top, k, c), others, &place);
                if (relu) best = cut(best, &place);
                NAME(put)(out, best, k, c);
                put_bytes(from, place, k, c);
            }
        }
}

// The gradient of pool_image: `g` (h/2, w/2, c) goes to the position in `from`, zero to all others.
static void NAME(unpool_image)(const T *restrict g, const uint8_t *restrict from, long h, long w, long c,
                               T *restrict gx) {
    for (long i = 0; i < h / 2; i++) {
        T *restrict row = gx + 2 * i * w * c;
        for (long j = 0; j < w / 2; j++, g += c, from += c) {
            T *restrict top = row + 2 * j * c, *restrict low = top + w * c;
            ahead(top + 2 * w * c, 2 * c * sizeof(T));
            ahead(low + 2 * w * c, 2 * c * sizeof(T));
            for (long k = 0; k < c; k += LANES) {
                Ints v = (Ints)NAME(get)(g, k, c), place = get_bytes(from, k, c);
                NAME(put)(top, (Floats)(v & (place == 0)), k, c);
                NAME(put)(top + c, (Floats)(v & (place == 1)), k, c);
                NAME(put)(low, (Floats)(v & (place == 2)), k, c);
                NAME(put)(low + c, (Floats)(v & (place == 3)), k, c);
            }
        }
        if (w % 2) {
            memset(row + (w - 1) * c, 0, c * sizeof(T));
            memset(row + (2 * w - 1) * c, 0, c * sizeof(T));
        }
    }
    if (h % 2) memset(gx + (h - 1) * w * c, 0, w * c * sizeof(T));
}

// Add up over one image (rows, c): distances from stats[0..c] and their squares, or with `g` the gradient behind
// BatchNorm's ReLU and its product with the distance. Floats within the image, doubles over the images. Distances are from
// the mean, or while that is not known from a channel's first value: the squares of values that are all far from zero
// would cancel to nothing.
static void NAME(sum_image)(const T *restrict y, const T *restrict g, const float *stats, long rows, long c,
                            double *restrict sums) {
    for (long k = 0; k < c; k += LANES) {
        Floats first = {0}, second = {0}, middle = get_float32(stats, k, c), scale = {0}, shift = {0};
        if (g) scale = get_float32(stats + 2 * c, k, c), shift = get_float32(stats + 3 * c, k, c);
        for (long r = 0; r < rows; r++) {
            Floats v = NAME(get)(y + r * c, k, c);
            if (g) {
                Floats through = passed(NAME(get)(g + r * c, k, c), v * scale + shift);
                first += through;
                second += through * (v - middle);
            } else {
                v -= middle;
                first += v;
                second += v * v;
            }
        }
        for (long i = 0; i < LANES && k + i < c; i++) sums[k + i] += first[i], sums[c + k + i] += second[i];
    }
}

// out = ReLU(y * scale + shift) [+ residual], rounded as torch rounds after each operation, for `rows` pixels.
void NAME(affine)(const T *restrict y, const T *restrict residual, const float *stats, long rows, long c,
                  T *restrict out) {
    for (long k = 0; k < c; k += LANES) {
        Floats scale = get_float32(stats + 2 * c, k, c), shift = get_float32(stats + 3 * c, k, c);
        for (long r = 0; r < rows; r++) {
            Floats z = NAME(round)(NAME(get)(y + r * c, k, c) * scale + shift);
            z = passed(z, z);
            if (residual) z = NAME(round)(z + NAME(get)(residual + r * c, k, c));
            NAME(put)(out + r * c, z, k, c);
        }
    }
}

// The gradient of `affine` behind BatchNorm: gy = scale * g + slope * y + offset where the ReLU lets g through.
static void NAME(affine_backward)(const T *restrict g, const T *restrict y, const float *stats, const float *slope,
                                  const float *offset, long rows, long c, T *restrict gy) {
    for (long k = 0; k < c; k += LANES) {
        Floats scale = get_float32(stats + 2 * c, k, c), shift = get_float32(stats + 3 * c, k, c);
        Floats a = get_float32(slope, k, c), b = get_float32(offset, k, c);
        for (long r = 0; r < rows; r++) {
            Floats v = NAME(get)(y + r * c, k, c);
            Floats through = passed(NAME(get)(g + r * c, k, c), v * scale + shift);
            NAME(put)(gy + r * c, NAME(round)(scale * through + (a * v + b)), k, c);
        }
    }
}

void NAME(pool)(const T *x, long n, long h, long w, long c, long relu, T *out, uint8_t *from) {
    long in = h * w * c, pooled = (h / 2) * (w / 2) * c;
    for (long i = 0; i < n; i++) NAME(pool_image)(x + i * in, h, w, c, relu, out + i * pooled, from + i * pooled);
}

void NAME(pool_backward)(const T *g, const uint8_t *from, long n, long h, long w, long c, T *gx) {
    long in = h * w * c, pooled = (h / 2) * (w / 2) * c;
    for (long i = 0; i < n; i++) NAME(unpool_image)(g + i * pooled, from + i * pooled, h, w, c, gx + i * in);
}

// [2x2 max-pooling if `from`], BatchNorm over the batch, ReLU, [+ residual]. x (n, h, w, c); y gets the pooled maps,
// `stats` (4, c) mean, 1 / standard deviation, scale and shift. `running` is (mean, variance), updated in place.
void NAME(norm)(const T *x, long n, long h, long w, long c, T *y, uint8_t *from, const float *weight,
                const float *bias, float *running_mean, float *running_var, double momentum, double eps,
                const T *residual, double *sums, float *stats, T *out) {
    long rows = from ? (h / 2) * (w / 2) : h * w;
    memset(sums, 0, 2 * c * sizeof(double));
    for (long i = 0; i < n; i++) {
        if (from) NAME(pool_image)(x + i * h * w * c, h, w, c, 0, y + i * rows * c, from + i * rows * c);
        const T *values = from ? y : x;
        if (i == 0)
            for (long k = 0; k < c; k += LANES) put_float32(stats, NAME(get)(values, k, c), k, c);
        NAME(sum_image)(values + i * rows * c, 0, stats, rows, c, sums);
    }
    norm_stats(sums, n * rows, c, weight, bias, running_mean, running_var, momentum, eps, stats);
    for (long i = 0; i < n; i++) {
        long at = i * rows * c;
        NAME(affine)((from ? y : x) + at, residual ? residual + at : 0, stats, rows, c, out + at);
    }
}

// The gradients of `norm`: of x, of the weight (c) and of the bias (c). `line` holds 2 c floats and `image` one image.
void NAME(norm_backward)(const T *g, const T *y, const uint8_t *from, long n, long h, long w, long c,
                         const float *stats, double *sums, float *line, T *image, T *gx, float *gweight,
                         float *gbias) {
    long rows = from ? (h / 2) * (w / 2) : h * w;
    memset(sums, 0, 2 * c * sizeof(double));
    for (long i = 0; i < n; i++) NAME(sum_image)(y + i * rows * c, g + i * rows * c, stats, rows, c, sums);
    for (long k = 0; k < c; k++) {
        double mean = stats[k], inverse = stats[c + k], scale = stats[2 * c + k], count = (double)(n * rows);
        double slope = -scale * inverse * inverse * sums[c + k] / count;
        line[k] = (float)slope;
        line[c + k] = (float)(-scale * sums[k] / count - slope * mean);
        gweight[k] = (float)(sums[c + k] * inverse);
        gbias[k] = (float)sums[k];
    }
    for (long i = 0; i < n; i++) {
        long at = i * rows * c;
        T *gy = from ? image : gx + at;
        NAME(affine_backward)(g + at, y + at, stats, line, line + c, rows, c, gy);
        if (from) NAME(unpool_image)(gy, from + at, h, w, c, gx + i * h * w * c);
    }
}

// ReLU(y) [+ residual] and its gradient, for `count` values.
void NAME(relu)(const T *restrict y, const T *restrict residual, long count, T *restrict out) {
    for (long k = 0; k < count; k += LANES) {
        Floats v = NAME(get)(y, k, count);
        v = passed(v, v);
        if (residual) v = NAME(round)(v + NAME(get)(residual, k, count));
        NAME(put)(out, v, k, count);
    }
}

void NAME(relu_backward)(const T *restrict g, const T *restrict y, long count, T *restrict gy) {
    for (long k = 0; k < count; k += LANES)
        NAME(put)(gy, passed(NAME(get)(g, k, count), NAME(get)(y, k, count)), k, count);
}
