// Convolutions with 3 x 3 filters in float32 by Winograd's algorithm F(4 x 4, 3 x 3) (Lavin and Gray 2016), for AVX2.
//
// A tile of 4 x 4 outputs takes 36 products per pair of channels instead of 144. The 6 x 6 inputs that it sees are
// transformed, each of the 36 numbers is multiplied by that of the transformed filters, in 36 products of matrices,
// and the sums over input channels are transformed back. The gradient of the filters goes the other way round.
//
// Tiles of a few images are handled at a time: v (36, tiles, ci) and m (36, tiles, co) then stay in a cache.
#if defined(__FMA__) && !defined(__AVX512F__)
#include <immintrin.h>

#define POINTS 36
// Distance between two of the 36 matrices. A power of two would put all of them into the same places of a cache.
#define APART(tiles, c) ((tiles) * (c) + 16)

typedef __m256 V8;
static inline V8 load8(const float *x) { return _mm256_loadu_ps(x); }
static inline void store8(float *x, V8 v) { _mm256_storeu_ps(x, v); }
// b + factor a
static inline V8 plus(float factor, V8 a, V8 b) { return _mm256_fmadd_ps(_mm256_set1_ps(factor), a, b); }

// Six inputs in a row to six numbers, `to` apart.
static inline void transform_inputs(const V8 d[6], V8 *out, const int to) {
    V8 a = plus(-4, d[2], d[4]), b = plus(-4, d[1], d[3]), e = d[4] - d[2], f = d[3] - d[1];
    out[0] = plus(4, d[0], plus(-5, d[2], d[4]));
    out[to] = a + b;
    out[2 * to] = a - b;
    out[3 * to] = plus(2, f, e);
    out[4 * to] = plus(-2, f, e);
    out[5 * to] = plus(4, d[1], plus(-5, d[3], d[5]));
}

// Six sums to four outputs.
static inline void transform_sums(const V8 m[6], V8 *out, const int to) {
    V8 a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
    out[0] = m[0] + a + c;
    out[to] = plus(2, d, b);
    out[2 * to] = plus(4, c, a);
    out[3 * to] = plus(8, d, b) + m[5];
}

// Four gradients of outputs to six numbers: the transpose of `transform_sums`.
static inline void transform_gradients(const V8 g[4], V8 *out, const int to) {
    V8 a = g[0] + g[2], b = g[1] + g[3], c = plus(4, g[2], g[0]), d = plus(4, g[3], g[1]);
    out[0] = g[0];
    out[to] = a + b;
    out[2 * to] = a - b;
    out[3 * to] = plus(2, d, c);
    out[4 * to] = plus(-2, d, c);
    out[5 * to] = g[3];
}

static const float winograd_zeros[1024];

// The pixels of a tile that begins at (top, left), `side` in a row; zeros outside of the map x (h, w, c).
static inline void pixels_of(const float *x, long h, long w, long c, long top, long left, const int side,
                             const float **pixels) {
    for (int i = 0; i < side; i++)
        for (int j = 0; j < side; j++) {
            long row = top + i, column = left + j;
            int inside = row >= 0 && row < h && column >= 0 && column < w;
            pixels[i * side + j] = inside ? x + (row * w + column) * c : winograd_zeros;
        }
}

// Transform the tiles of x (images, h, w, c) to v (36, tiles, c): as inputs, or as gradients of outputs.
static inline __attribute__((always_inline)) void transform(const float *x, long images, long h, long w, long c,
                                                            long tiles, float *restrict v, const int side) {
    long apart = APART(tiles, c);
    for (long image = 0; image < images; image++, x += h * w * c)
        for (long top = 0; top < h; top += 4)
            for (long left = 0; left < w; left += 4, v += c) {
                const float *pixels[POINTS];
                long margin = side == 6;
                pixels_of(x, h, w, c, top - margin, left - margin, side, pixels);
                for (long k = 0; k < c; k += 8) {
                    V8 columns[POINTS], row[6];
                    for (int j = 0; j < side; j++) {
                        V8 d[6];
                        for (int i = 0; i < side; i++) d[i] = load8(pixels[i * side + j] + k);
                        if (side == 6) transform_inputs(d, columns + j, 6);
                        else transform_gradients(d, columns + j, 6);
                    }
                    for (int i = 0; i < 6; i++) {
                        if (side == 6) transform_inputs(columns + 6 * i, row, 1);
                        else transform_gradients(columns + 6 * i, row, 1);
                        for (int j = 0; j < 6; j++) store8(v + (6 * i + j) * apart + k, row[j]);
                    }
                }
            }
}

// Transform m (36, tiles, c) back to y (images, h, w, c), and add the bias if there is one.
static void transform_back(const float *restrict m, long images, long h, long w, long c, long tiles,
                           const float *bias, float *restrict y) {
    long apart = APART(tiles, c);
    for (long image = 0; image < images; image++, y += h * w * c)
        for (long top = 0; top < h; top += 4)
            for (long left = 0; left < w; left += 4, m += c) {
                long rows = h - top < 4 ? h - top : 4, in_row = w - left < 4 ? w - left : 4;
                for (long k = 0; k < c; k += 8) {
                    V8 columns[24], row[4], b = load8((bias ? bias : winograd_zeros) + k);
                    for (int j = 0; j < 6; j++) {
                        V8 d[6];
                        for (int i = 0; i < 6; i++) d[i] = load8(m + (6 * i + j) * apart + k);
                        transform_sums(d, columns + j, 6);
                    }
                    for (int i = 0; i < rows; i++) {
                        transform_sums(columns + 6 * i, row, 1);
                        for (int j = 0; j < in_row; j++)
                            store8(y + ((top + i) * w + left + j) * c + k, row[j] + b);
                    }
                }
            }
}

// The sums over `count` of products of `rows` numbers of a with 8 `vectors` numbers of b, to out (rows, 8 vectors), whose
// rows are `ldo` apart. Row r of a begins r `next` behind the first; a moves on by lda, and b by ldb. With `adds`, the
// sums are added to what is in out: their error grows with the blocks that are added, not with all pixels of a batch.
static inline __attribute__((always_inline)) void product(const float *restrict a, long next, long lda,
                                                          const float *restrict b, long ldb, long count,
                                                          float *restrict out, long ldo, const int adds,
                                                          const int rows, const int vectors) {
    V8 sum[12];
    for (int r = 0; r < rows * vectors; r++) sum[r] = _mm256_setzero_ps();
    for (long k = 0; k < count; k++, a += lda, b += ldb) {
        V8 right[2];
        for (int j = 0; j < vectors; j++) right[j] = load8(b + 8 * j);
        for (int r = 0; r < rows; r++) {
            V8 left = _mm256_broadcast_ss(a + r * next);
            for (int j = 0; j < vectors; j++)
                sum[r * vectors + j] = _mm256_fmadd_ps(left, right[j], sum[r * vectors + j]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < vectors; j++) {
            float *to = out + r * ldo + 8 * j;
            store8(to, adds ? load8(to) + sum[r * vectors + j] : sum[r * vectors + j]);
        }
}

// Functions of their own: compilers that inline the loops run out of registers.
// Rows of a (rows, count), `next` apart, times b, which is packed as (count, 8 vectors).
#define ROWS_PRODUCT(rows, vectors)                                                                                \
    static __attribute__((noinline)) void rows_product_##rows##_##vectors(                                         \
        const float *a, long next, const float *b, long count, float *out, long ldo) {                             \
        product(a, next, 1, b, 8 * vectors, count, out, ldo, 0, rows, vectors);                                    \
    }
ROWS_PRODUCT(6, 2)
ROWS_PRODUCT(12, 1)

// Columns of a (count, rows) times b (count, 8 vectors), added to what is in out.
#define COLUMNS_PRODUCT(rows, vectors)                                                                             \
    static __attribute__((noinline)) void columns_product_##rows##_##vectors(                                      \
        const float *a, long lda, const float *b, long ldb, long count, float *out, long ldo) {                    \
        product(a, 1, lda, b, ldb, count, out, ldo, 1, rows, vectors);                                             \
    }
COLUMNS_PRODUCT(6, 2)
COLUMNS_PRODUCT(4, 2)
COLUMNS_PRODUCT(2, 2)
COLUMNS_PRODUCT(8, 1)

// m (tiles, co) = v (tiles, ci) times u, which is packed as (co / 8 vectors, ci, 8 vectors). `tiles` is a multiple of
// 12 / vectors.
static void tiles_product(const float *v, const float *u, long tiles, long ci, long co, float *m, long vectors) {
    long rows = 12 / vectors;
    for (long o = 0; o < co; o += 8 * vectors)
        for (long t = 0; t < tiles; t += rows) {
            const float *a = v + t * ci, *b = u + o * ci;
            float *out = m + t * co + o;
            if (vectors == 2) rows_product_6_2(a, ci, b, ci, out, co);
            else rows_product_12_1(a, ci, b, ci, out, co);
        }
}

// x (n, h, w, ci) to y (n, h, w, co) with filters u, transformed and packed for `vectors` (1 or 2) vectors of 8 channels.
// `images` are handled at a time; v and m are memory for their tiles, rounded up to 12 / vectors.
void winograd_float32(const float *x, const float *u, const float *bias, long n, long h, long w, long ci, long co,
                      long vectors, long images, float *v, float *m, float *y) {
    long in_image = (h + 3) / 4 * ((w + 3) / 4), rows = 12 / vectors;
    for (long first = 0; first < n; first += images, x += images * h * w * ci, y += images * h * w * co) {
        long count = n - first < images ? n - first : images;
        long tiles = (count * in_image + rows - 1) / rows * rows;
        transform(x, count, h, w, ci, tiles, v, 6);
        for (int p = 0; p < POINTS; p++) {
            float *left = v + p * APART(tiles, ci), *out = m + p * APART(tiles, co);
            const float *right = u + p * ci * co;
            memset(left + count * in_image * ci, 0, (tiles - count * in_image) * ci * sizeof(float));
            tiles_product(left, right, tiles, ci, co, out, vectors);
        }
        transform_back(m, count, h, w, co, tiles, bias, y);
    }
}

// x (n, h, w, ci) and g (n, h, w, co) to sums (36, ci, co), the gradient of the transformed filters.
void winograd_gradient_float32(const float *x, const float *g, long n, long h, long w, long ci, long co, long vectors,
                               long images, float *v, float *m, float *sums) {
    long in_image = (h + 3) / 4 * ((w + 3) / 4);
    memset(sums, 0, POINTS * ci * co * sizeof(float));
    for (long first = 0; first < n; first += images, x += images * h * w * ci, g += images * h * w * co) {
        long count = n - first < images ? n - first : images, tiles = count * in_image;
        transform(x, count, h, w, ci, tiles, v, 6);
        transform(g, count, h, w, co, tiles, m, 4);
        for (int p = 0; p < POINTS; p++)
            for (long o = 0; o < co; o += 8 * vectors)
                for (long i = 0; i < ci;) {
                    const float *a = v + p * APART(tiles, ci) + i, *b = m + p * APART(tiles, co) + o;
                    float *s = sums + (p * ci + i) * co + o;
                    if (vectors == 1) columns_product_8_1(a, ci, b, co, tiles, s, co), i += 8;
                    else if (ci - i >= 6) columns_product_6_2(a, ci, b, co, tiles, s, co), i += 6;
                    else if (ci - i >= 4) columns_product_4_2(a, ci, b, co, tiles, s, co), i += 4;
                    else columns_product_2_2(a, ci, b, co, tiles, s, co), i += 2;
                }
    }
}
#endif
