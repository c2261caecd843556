// The gradient of a convolution's weights in bfloat16 with float32 sums, for AMX.
//
// A tile instruction multiplies 16 x 32 by 32 x 16 values. The 32 values that it adds up here are the same pixel of 32
// images. So a shift by a filter position moves whole tiles, nothing is padded, and positions outside the image are left
// out instead of multiplied by zero. Each tile of `x` is loaded once for up to three filter positions side by side.
//
// Both maps are rearranged to one tile (1 KB) a pixel and 16 channels, a band of rows at a time, so that a band stays in
// the second-level cache.
#if defined(__AVX512BF16__) && defined(__linux__)
#include <immintrin.h>

#define AMX __attribute__((target("amx-tile,amx-bf16")))
// GCC's headers do not say that a tile is read from memory. Without this it may move a store behind the load, or drop it.
#define STORED(address) __asm__ volatile("" ::"r"(address) : "memory")
#define TILE 256  // words in a tile

// The eight tiles' sizes, as the processor reads them.
typedef struct {
    uint8_t palette, start, rest[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} Shapes;

static inline __attribute__((always_inline)) void transpose(__m512i *r) {
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

// The values of `x` where the mask is 1, as the low halves of words.
static inline __m512i get_words(const uint16_t *x, __mmask16 mask) {
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, x));
}

static inline __m512 low_floats(__m512i words) { return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16)); }

// A mask of the values `from` to `to` - 1 of 16.
static inline __mmask16 between(long from, long to) {
    uint32_t begin = from > 0 ? 0xffffu << from : 0xffffu, end = to < 16 ? (1u << to) - 1 : 0xffffu;
    return (__mmask16)(begin & end);
}

// What a tile has of a map (n, h, w, c).
enum Kind {
    CHANNELS,  // 16 channels of a pixel
    WINDOW,    // all channels of the `side` pixels of a row around it, at most 16 values
    POOLED     // 16 channels, where the pixel was the maximum: the map is (n, h/2, w/2, c), and `source` says what was
};

// Rearrange the rows `top` to `end` - 1 of `images` (at most 32) images to tiles. A row of a tile is a pair of images; if
// `turned`, a channel. Tile (k, pixel) is `stride` k + pixel tiles behind `out`. With `sums` (c) also add up each channel.
static inline __attribute__((always_inline)) void to_tiles(const enum Kind kind, const uint16_t *restrict x,
                                                           const uint8_t *restrict source, long images, long top,
                                                           long end, long h, long w, long c, long side,
                                                           const int turned, long stride, uint32_t *restrict out,
                                                           float *restrict sums) {
    long size = kind == POOLED ? h / 2 * (w / 2) * c : h * w * c;  // of an image
    for (long row = top; row < end; row++)
        for (long j = 0; j < w; j++, out += TILE)
            for (long k = 0; k < (kind == WINDOW ? 1 : c); k += LANES) {
                long at = (row * w + j) * c + k;
                __mmask16 mask = between(0, c - k);
                __m128i place = _mm_setzero_si128();
                if (kind == WINDOW) {
                    at -= side / 2 * c;
                    mask = between((side / 2 - j) * c, (w - j + side / 2) * c);
                }
                if (kind == POOLED) {
                    at = (row / 2 * (w / 2) + j / 2) * c + k;
                    place = _mm_set1_epi8((char)(row % 2 * 2 + j % 2));
                    if (row / 2 >= h / 2 || j / 2 >= w / 2) mask = 0;  // an odd last row or column is not pooled
                }
                __m512i words[16];
                __m512 sum = _mm512_setzero_ps();
                for (long pair = 0; pair < 16; pair++) {
                    __m512i values[2];
                    for (int odd = 0; odd < 2; odd++) {
                        long image = (2 * pair + odd) * size + at;
                        __mmask16 here = 2 * pair + odd < images ? mask : 0;
                        if (kind == POOLED && here)
                            here &= _mm_cmpeq_epi8_mask(_mm_maskz_loadu_epi8(here, source + image), place);
                        else __builtin_prefetch(x + image + c);
                        values[odd] = get_words(x + image, here);
                        if (sums) sum = _mm512_add_ps(sum, low_floats(values[odd]));
                    }
                    words[pair] = _mm512_or_si512(values[0], _mm512_slli_epi32(values[1], 16));
                }
                if (turned) transpose(words);
                for (int i = 0; i < 16; i++) _mm512_store_si512(out + k / LANES * stride * TILE + 16 * i, words[i]);
                if (sums) {
                    __m512 before = _mm512_maskz_loadu_ps(between(0, c - k), sums + k);
                    _mm512_mask_storeu_ps(sums + k, between(0, c - k), _mm512_add_ps(sum, before));
                }
            }
}

// Tiles 0 to 2 are sums, one a filter position. 3 to 5 are pixels of x, by their column modulo 3, and 6 a pixel of g.
#define ADD(sum, column)                                                  \
    switch ((column) % 3) {                                               \
        case 0: _tile_dpbf16ps(sum, 6, 3); break;                         \
        case 1: _tile_dpbf16ps(sum, 6, 4); break;                         \
        default: _tile_dpbf16ps(sum, 6, 5);                               \
    }
#define LOAD(column)                                                      \
    switch ((column) % 3) {                                               \
        case 0: _tile_loadd(3, x + (column) * TILE, 64); break;           \
        case 1: _tile_loadd(4, x + (column) * TILE, 64); break;           \
        default: _tile_loadd(5, x + (column) * TILE, 64);                 \
    }

// Add the products of one row of g with one row of x, shifted by `shift`, `shift` + 1 and, up to `taps`, so on.
AMX static inline __attribute__((always_inline)) void add_row(const uint32_t *x, const uint32_t *g, long w, long shift,
                                                              long taps) {
    for (long column = shift < 0 ? 0 : shift; column < shift + taps - 1 && column < w; column++) LOAD(column)
    for (long j = 0; j < w; j++, g += TILE) {
        long first = j + shift, last = first + taps - 1;
        if (last >= 0 && last < w) LOAD(last)
        _tile_loadd(6, g, 64);
        if (first >= 0 && first < w) ADD(0, first)
        if (taps > 1 && first + 1 >= 0 && first + 1 < w) ADD(1, first + 1)
        if (taps > 2 && first + 2 >= 0 && first + 2 < w) ADD(2, first + 2)
    }
}

// The same for tiles of x that have all positions of a filter's row: add the products of a row of g with up to three rows
// of x. A row outside the image is a null pointer.
AMX static inline __attribute__((always_inline)) void add_rows(const uint32_t *const x[3], const uint32_t *g, long w) {
    for (long j = 0; j < w * TILE; j += TILE) {
        _tile_loadd(6, g + j, 64);
        if (x[0]) {
            _tile_loadd(3, x[0] + j, 64);
            _tile_dpbf16ps(0, 6, 3);
        }
        if (x[1]) {
            _tile_loadd(4, x[1] + j, 64);
            _tile_dpbf16ps(1, 6, 4);
        }
        if (x[2]) {
            _tile_loadd(5, x[2] + j, 64);
            _tile_dpbf16ps(2, 6, 5);
        }
    }
}

// A band of rows of g and the rows of x that the filters see from there, as tiles.
typedef struct {
    const uint32_t *x, *g;
    long top, end, from, h, w, x_size, g_size, blocks, half;
} Band;

// Add to `sums`, `step` words apart, what the band gives for channels `in` and `out` and up to three filter positions
// from (ky, kx) on: in a row, or if `around` in a column.
AMX static inline __attribute__((always_inline)) void add_band(const Band *band, long in, long out, long ky, long kx,
                                                               const long taps, const int around, float *sums,
                                                               long step) {
    STORED(sums);
    _tile_loadd(0, sums, 64);
    if (taps > 1) { _tile_loadd(1, sums + step, 64); }
    if (taps > 2) { _tile_loadd(2, sums + 2 * step, 64); }
    for (long b = 0; b < band->blocks; b++)
        for (long row = band->top; row < band->end; row++) {
            const uint32_t *x[3] = {0}, *tiles = band->x + (in * band->blocks + b) * band->x_size * TILE;
            const uint32_t *g = band->g + ((out * band->blocks + b) * band->g_size + (row - band->top) * band->w) * TILE;
            for (long i = 0; i < (around ? taps : 1); i++) {
                long at = row + ky + i - band->half;
                if (at >= 0 && at < band->h) x[i] = tiles + (at - band->from) * band->w * TILE;
            }
            if (around) add_rows(x, g, band->w);
            else if (x[0]) add_row(x[0], g, band->w, kx - band->half, taps);
        }
    _tile_stored(0, sums, 64);
    if (taps > 1) { _tile_stored(1, sums + step, 64); }
    if (taps > 2) { _tile_stored(2, sums + 2 * step, 64); }
}

// See weight_gradient.h. `blocks` times 32 images and `rows` rows of g are rearranged at once; xs, gs and sums are memory
// for them. If `around`, side * ci must be at most 16. If `source` is given, g is (n, h/2, w/2, co): the gradient of the
// maxima, which came from there.
AMX void weight_gradient_amx_bfloat16(const uint16_t *x, const uint16_t *g, const uint8_t *source, long n, long h, long w,
                                      long ci, long co, long side, long around, long blocks, long rows, uint32_t *xs,
                                      uint32_t *gs, float *sums, float *gw, float *gb) {
    Shapes shapes = {.palette = 1};
    for (int i = 0; i < 7; i++) shapes.bytes[i] = 64, shapes.rows[i] = 16;
    STORED(&shapes);
    _tile_loadconfig(&shapes);
    long half = side / 2, in_tiles = around ? 1 : (ci + 15) / 16, out_tiles = (co + 15) / 16;
    long columns = around ? 1 : side, step = in_tiles * out_tiles * TILE;
    memset(sums, 0, side * columns * step * sizeof(float));
    if (gb) memset(gb, 0, co * sizeof(float));
    for (long image = 0; image < n; image += 32 * blocks)
        for (long top = 0; top < h; top += rows) {
            Band band = {xs, gs, top, top + rows < h ? top + rows : h, top < half ? 0 : top - half, h, w, .half = half};
            long to = band.end + half < h ? band.end + half : h;
            band.blocks = (n - image + 31) / 32 < blocks ? (n - image + 31) / 32 : blocks;
            band.x_size = (to - band.from) * w, band.g_size = (band.end - top) * w;
            for (long b = 0; b < band.blocks; b++) {
                long first = image + 32 * b, images = n - first < 32 ? n - first : 32;
                const uint16_t *images_x = x + first * h * w * ci;
                uint32_t *to_x = xs + b * band.x_size * TILE, *to_g = gs + b * band.g_size * TILE;
                long stride_x = band.blocks * band.x_size, stride_g = band.blocks * band.g_size;
                if (around) to_tiles(WINDOW, images_x, 0, images, band.from, to, h, w, ci, side, 0, stride_x, to_x, 0);
                else to_tiles(CHANNELS, images_x, 0, images, band.from, to, h, w, ci, side, 0, stride_x, to_x, 0);
                if (source) {
                    long before = first * (h / 2) * (w / 2) * co;
                    to_tiles(POOLED, g + before, source + before, images, top, band.end, h, w, co, side, 1, stride_g,
                             to_g, gb);
                } else to_tiles(CHANNELS, g + first * h * w * co, 0, images, top, band.end, h, w, co, side, 1, stride_g,
                                to_g, gb);
            }
            for (long in = 0; in < in_tiles; in++)
                for (long out = 0; out < out_tiles; out++) {
                    float *s = sums + (in * out_tiles + out) * TILE;
                    if (around)
                        for (long ky = 0; ky < side; ky += 3) {
                            if (side - ky == 1) add_band(&band, in, out, ky, 0, 1, 1, s + ky * step, step);
                            else if (side - ky == 2) add_band(&band, in, out, ky, 0, 2, 1, s + ky * step, step);
                            else add_band(&band, in, out, ky, 0, 3, 1, s + ky * step, step);
                        }
                    else
                        for (long ky = 0; ky < side; ky++)
                            for (long kx = 0; kx < side; kx += 3) {
                                float *tap = s + (ky * side + kx) * step;
                                if (side - kx == 1) add_band(&band, in, out, ky, kx, 1, 0, tap, step);
                                else if (side - kx == 2) add_band(&band, in, out, ky, kx, 2, 0, tap, step);
                                else add_band(&band, in, out, ky, kx, 3, 0, tap, step);
                            }
                }
        }
    _tile_release();
    long count = around ? side * ci : ci;  // values that lie side by side in a row of tiles and in gw
    for (long o = 0; o < co; o++)
        for (long tap = 0; tap < side * columns; tap++)
            for (long k = 0; k < count; k += 16) {
                const float *s = sums + tap * step + (k / 16 * out_tiles + o / 16) * TILE;
                Floats v = get_float32(s + o % 16 * 16, 0, 16);
                put_float32(gw + (o * side * columns + tap) * count, v, k, count);
            }
}
#endif
