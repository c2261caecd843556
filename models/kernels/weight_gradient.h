// The gradient of a convolution's weights in bfloat16 with float32 sums, for AVX512-BF16.
//
// The instruction multiplies pairs of bfloat16 and adds both products. The pairs here are the same pixel of two
// images: then a shift by a filter position moves whole pairs, nothing is padded, and positions outside the image
// are left out instead of multiplied by zero (40 % of all at 3 x 3 pixels, 18 % at 7 x 7).
//
// Blocks of image pairs are rearranged one after the other to [tile of channels][pixel][pair][channel of the tile],
// which the products then read in one stream each. A block fits the second-level cache, and the row of one tile the first.
#ifdef __AVX512BF16__
#include <immintrin.h>

// 16 accumulators: `outs` output channels by `vectors` vectors of 16 input channels
#define ACCUMULATORS 16

// Rearrange the images of x (n, pixels, c) to tiles of `size` channels, missing channels and a missing last image as
// zeros. With `sums` (c) also add up each channel.
static void rearrange(const uint16_t *restrict x, long n, long pixels, long c, long size, uint32_t *restrict out,
                      float *restrict sums) {
    long pairs = (n + 1) / 2, part = size < LANES ? size : LANES, padded = (c + size - 1) / size * size;
    for (long pair = 0; pair < pairs; pair++) {
        const uint16_t *even = x + 2 * pair * pixels * c, *odd = even + pixels * c;
        for (long k = 0; k < padded; k += LANES) {
            Floats sum = {0};
            for (long pixel = 0; pixel < pixels; pixel++) {
                if (k == 0) {
                    ahead(even + (2 * pixels + pixel) * c, c * 2);
                    ahead(odd + (2 * pixels + pixel) * c, c * 2);
                }
                Floats a = {0}, b = {0};
                if (k < c) a = get_bfloat16(even + pixel * c, k, c);
                if (k < c && 2 * pair + 1 < n) b = get_bfloat16(odd + pixel * c, k, c);
                sum += a + b;
                Words words = ((Words)a >> 16) | (Words)b;
                for (long i = 0; i < LANES && k + i < padded; i += part)
                    memcpy(out + (((k + i) / size * pixels + pixel) * pairs + pair) * size + (k + i) % size,
                           (uint32_t *)&words + i, part * 4);
            }
            if (sums)
                for (long i = 0; i < LANES && k + i < c; i++) sums[k + i] += sum[i];
        }
    }
}

// Add to sums (outs, 16 vectors): for `count` pairs the product of each output with each input channel.
static inline __attribute__((always_inline)) void add_products(const uint32_t *restrict x, const uint32_t *restrict g,
                                                               long count, const int outs, const int vectors,
                                                               float *restrict sums) {
    __m512 sum[ACCUMULATORS];
    for (int i = 0; i < ACCUMULATORS; i++) sum[i] = _mm512_loadu_ps(sums + 16 * i);
    for (long k = 0; k < count; k++, x += 16 * vectors, g += outs) {
        __m512bh inputs[4];
        for (int v = 0; v < vectors; v++) inputs[v] = (__m512bh)_mm512_loadu_si512(x + 16 * v);
        for (int o = 0; o < outs; o++) {
            __m512bh gradient = (__m512bh)_mm512_set1_epi32((int)g[o]);
            for (int v = 0; v < vectors; v++)
                sum[o * vectors + v] = _mm512_dpbf16_ps(sum[o * vectors + v], gradient, inputs[v]);
        }
    }
    for (int i = 0; i < ACCUMULATORS; i++) _mm512_storeu_ps(sums + 16 * i, sum[i]);
}

// x (n, h, w, ci) and g (n, h, w, co) to gw (co, side, side, ci) and, if asked for, gb (co). The filters are
// `side` x `side` with side / 2 pixels of padding. `vectors` is 1, 2 or 4. `block` is the number of pairs in a block,
// and xs, gs and sums are memory for one block of each map and for the sums.
void weight_gradient_bfloat16(const uint16_t *x, const uint16_t *g, long n, long h, long w, long ci, long co, long side,
                              long vectors, long block, uint32_t *xs, uint32_t *gs, float *sums, float *gw, float *gb) {
    long outs = ACCUMULATORS / vectors, ins = 16 * vectors, half = side / 2, pixels = h * w;
    long in_tiles = (ci + ins - 1) / ins, out_tiles = (co + outs - 1) / outs, tile = outs * ins;
    memset(sums, 0, side * side * in_tiles * out_tiles * tile * sizeof(float));
    if (gb) memset(gb, 0, co * sizeof(float));
    for (long first = 0; first < n; first += 2 * block) {
        long images = n - first < 2 * block ? n - first : 2 * block, pairs = (images + 1) / 2;
        rearrange(x + first * pixels * ci, images, pixels, ci, ins, xs, 0);
        rearrange(g + first * pixels * co, images, pixels, co, outs, gs, gb);
        for (long in = 0; in < in_tiles; in++)
            for (long row = 0; row < h; row++)
                for (long ky = 0; ky < side; ky++) {
                    long out_row = row - ky + half;
                    if (out_row < 0 || out_row >= h) continue;
                    for (long out = 0; out < out_tiles; out++)
                        for (long kx = 0; kx < side; kx++) {
                            long shift = kx - half, left = shift < 0 ? -shift : 0;
                            long count = (w - (shift < 0 ? -shift : shift)) * pairs;
                            if (count <= 0) continue;
                            const uint32_t *a = xs + (in * pixels + row * w + left + shift) * pairs * ins;
                            const uint32_t *b = gs + (out * pixels + out_row * w + left) * pairs * outs;
                            float *s = sums + (((ky * side + kx) * in_tiles + in) * out_tiles + out) * tile;
                            if (vectors == 4) add_products(a, b, count, 4, 4, s);
                            else if (vectors == 2) add_products(a, b, count, 8, 2, s);
                            else add_products(a, b, count, 16, 1, s);
                        }
                }
    }
    for (long o = 0; o < co; o++)
        for (long tap = 0; tap < side * side; tap++)
            for (long k = 0; k < ci; k += 16) {
                const float *s = sums + ((tap * in_tiles + k / ins) * out_tiles + o / outs) * tile;
                Floats v = get_float32(s + o % outs * ins + k % ins, 0, 16);
                put_float32(gw + (o * side * side + tap) * ci, v, k, ci);
            }
}
#endif
