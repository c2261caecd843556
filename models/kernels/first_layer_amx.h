// The first layer of a CNN with its pooling in bfloat16, for AMX: convolution, 2x2 max-pooling and, if asked for, ReLU.
//
// Images have few channels, so the convolution's output is many times as large as its input, and most of the time goes into
// writing it and reading it again. Here two rows of it exist at a time, in float32 in the first-level cache.
#ifdef AMX

// Compilers' tile instructions are macros of statements.
#define MULTIPLY(sum, right, at)              \
    {                                         \
        _tile_loadd(right, at, 64);           \
        _tile_dpbf16ps(sum, 4, right);        \
    }

AMX static inline __attribute__((always_inline)) void clear_sums(void) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

// Convolve a row: 16 pixels a tile, whose rows overlap in `image` (its first row of `side`, `pitch` values a row). `tiles`
// has the filters, [row of the filter][tile of outputs]. `out` is (w, padded), with room for pixels up to a multiple of 16.
AMX static void convolve_row(const uint16_t *image, long pitch, long w, long ci, long side, const uint32_t *tiles,
                             long padded, float *out) {
    STORED(image);
    for (long j = 0; j < w; j += 16)
        for (long o = 0; o < padded; o += 64) {
            long n = padded - o < 64 ? (padded - o) / 16 : 4;
            clear_sums();
            for (long ky = 0; ky < side; ky++) {
                const uint32_t *b = tiles + (ky * padded + o) / 16 * TILE;
                _tile_loadd(4, image + ky * pitch + j * ci, ci * 2);
                MULTIPLY(0, 5, b)
                if (n > 1) MULTIPLY(1, 6, b + TILE)
                if (n > 2) MULTIPLY(2, 7, b + 2 * TILE)
                if (n > 3) MULTIPLY(3, 5, b + 3 * TILE)
            }
            float *to = out + j * padded + o;
            _tile_stored(0, to, padded * 4);
            if (n > 1) { _tile_stored(1, to + 16, padded * 4); }
            if (n > 2) { _tile_stored(2, to + 32, padded * 4); }
            if (n > 3) { _tile_stored(3, to + 48, padded * 4); }
        }
}

// x (n, h, w, ci) with filters (co, side, side, ci) and a bias (co) or a null pointer to out (n, h/2, w/2, co). `from` is
// that of `pool_image` in between.h. side * ci must be at most 32. `image`, `tiles` and `line` are memory for a padded image
// (h + side - 1 rows of (w + side + 15) * ci + 32 values), for the filters and for two rows of the convolution.
AMX void first_pool_amx_bfloat16(const uint16_t *x, long n, long h, long w, long ci, const uint16_t *filters,
                                 const float *bias, long co, long side, long relu, uint16_t *image, uint32_t *tiles,
                                 float *line, uint16_t *out, uint8_t *from) {
    long count = side * ci, half = side / 2, padded = (co + 15) / 16 * 16, width = (w + 15) / 16 * 16;
    long pitch = (w + side + 15) * ci + 32;
    Shapes shapes = {.palette = 1};
    for (int i = 0; i < 8; i++) shapes.bytes[i] = 64, shapes.rows[i] = 16;
    shapes.bytes[4] = (count + 1) / 2 * 4;
    for (int i = 5; i < 8; i++) shapes.rows[i] = (count + 1) / 2;
    memset(tiles, 0, side * padded / 16 * TILE * 4);
    for (long o = 0; o < co; o++)
        for (long ky = 0; ky < side; ky++)
            for (long k = 0; k < count; k++)
                ((uint16_t *)(tiles + (ky * padded / 16 + o / 16) * TILE + k / 2 * 16 + o % 16))[k % 2] =
                    filters[(o * side + ky) * count + k];
    memset(image, 0, (h + side - 1) * pitch * 2);
    STORED(&shapes);
    _tile_loadconfig(&shapes);
    for (long i = 0; i < n; i++) {
        for (long row = 0; row < h; row++, x += w * ci) memcpy(image + (row + half) * pitch + half * ci, x, w * ci * 2);
        for (long row = 0; row < h / 2; row++) {
            for (long low = 0; low < 2; low++)
                convolve_row(image + (2 * row + low) * pitch, pitch, w, ci, side, tiles, padded,
                             line + low * width * padded);
            for (long j = 0; j < w / 2; j++, out += co, from += co)
                for (long k = 0; k < co; k += LANES) {
                    const float *top = line + 2 * j * padded + k, *low = top + width * padded;
                    Floats others[3] = {get_float32(top + padded, 0, LANES), get_float32(low, 0, LANES),
                                        get_float32(low + padded, 0, LANES)};
                    Ints place;
                    Floats best = maximum(get_float32(top, 0, LANES), others, &place);
                    if (bias) best += get_float32(bias, k, co);
                    if (relu) best = cut(best, &place);
                    put_bfloat16(out, round_bfloat16(best), k, co);
                    put_bytes(from, place, k, co);
                }
        }
    }
    _tile_release();
}
#endif
