// What an epoch spends on memory rather than on products, in few passes over it. Loaded by models/kernels/__init__.py,
// which compiles nothing: setup.py builds this file once for each kind of processor.
//
// Nothing here depends on the width of the vector unit. All builds give the same bits if the compiler does not
// contract products and sums (-ffp-contract=off), except convolutions and their gradients, each of which only one of
// them has.
#include <math.h>
#include <stdint.h>
#include <string.h>

// What models/kernels/sources.py returned when this was compiled.
const char kernels_sources[] = SOURCES;

// Sixteen channels at a time. Compilers split these into whatever the processor has.
#define LANES 16
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));
typedef uint8_t Bytes __attribute__((vector_size(16)));

static inline Floats chosen(Ints mask, Floats a, Floats b) { return (Floats)((mask & (Ints)a) | (~mask & (Ints)b)); }

// What a ReLU of `z` lets through of `v`: zero where z <= 0. NaN is let through, as in torch.
static inline Floats passed(Floats v, Floats z) { return (Floats)(~(z <= 0) & (Ints)v); }

// The maximum of `first` and three others, and its place among them, 0 to 3. As in torch, the first of equal values wins
// and NaN beats all.
static inline Floats maximum(Floats first, const Floats others[3], Ints *place) {
    *place = (Ints){0};
    for (int p = 0; p < 3; p++) {
        Ints wins = (others[p] > first) | (others[p] != others[p]);
        first = chosen(wins, others[p], first);
        *place = (wins & (p + 1)) | (~wins & *place);
    }
    return first;
}

// ReLU of a maximum. Place 4 says that it cuts the gradient off.
static inline Floats cut(Floats best, Ints *place) {
    Ints below = best <= 0;
    *place = (below & 4) | (~below & *place);
    return passed(best, best);
}

// Ask for `bytes` from `at` on, which will be read or written soon. The processor does not do so by itself where a
// kernel reads two rows at once. It may ask behind the end of a map.
static inline void ahead(const void *at, long bytes) {
    for (long i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)at + i);
}

// The channels k .. k + LANES - 1 of a pixel of c channels; those from c on are zeros.
#define READ(V, x, k, c)                               \
    V v = {0};                                 \
    if (k + LANES <= c) memcpy(&v, x + k, sizeof v);       \
    else for (long i = k; i < c; i++) v[i - k] = x[i];
#define WRITE(x, v, k, c)                              \
    if (k + LANES <= c) memcpy(x + k, &v, sizeof v);       \
    else for (long i = k; i < c; i++) x[i] = v[i - k];

static inline Floats get_bfloat16(const uint16_t *x, long k, long c) {
    READ(Halves, x, k, c)
    return (Floats)(__builtin_convertvector(v, Words) << 16);
}
// To the nearest bfloat16, of two equally near ones the even one, still as a float.
static inline Floats round_bfloat16(Floats value) {
    Words bits = (Words)value;
    bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
    return chosen(value == value, (Floats)bits, (Floats)((Words){0} + 0x7fc00000));
}
// The value must be a bfloat16 already.
static inline void put_bfloat16(uint16_t *x, Floats value, long k, long c) {
    Halves v = __builtin_convertvector((Words)value >> 16, Halves);
    WRITE(x, v, k, c)
}
static inline Floats get_float32(const float *x, long k, long c) {
    READ(Floats, x, k, c)
    return v;
}
static inline Floats round_float32(Floats value) { return value; }
static inline void put_float32(float *x, Floats v, long k, long c) { WRITE(x, v, k, c) }
static inline Ints get_bytes(const uint8_t *x, long k, long c) {
    READ(Bytes, x, k, c)
    return __builtin_convertvector(v, Ints);
}
static inline void put_bytes(uint8_t *x, Ints value, long k, long c) {
    Bytes v = __builtin_convertvector(value, Bytes);
    WRITE(x, v, k, c)
}

// BatchNorm's numbers of a batch from the sums of distances from stats[0..c] and of their squares: see `norm` in between.h.
static void norm_stats(const double *sums, long count, long c, const float *weight, const float *bias,
                       float *running_mean, float *running_var, double momentum, double eps, float *stats) {
    for (long k = 0; k < c; k++) {
        double distance = sums[k] / count, mean = stats[k] + distance, variance = sums[c + k] / count - distance * distance;
        if (variance < 0) variance = 0;
        double inverse = 1 / sqrt(variance + eps), scale = weight[k] * inverse;
        running_mean[k] += (float)(momentum * (mean - running_mean[k]));
        running_var[k] += (float)(momentum * (variance * count / (count - 1) - running_var[k]));
        stats[k] = (float)mean;
        stats[c + k] = (float)inverse;
        stats[2 * c + k] = (float)scale;
        stats[3 * c + k] = (float)(bias[k] - mean * scale);
    }
}

#define T uint16_t
#define NAME(f) f##_bfloat16
#include "between.h"
#include "muon.h"
#undef T
#undef NAME
#define T float
#define NAME(f) f##_float32
#include "between.h"
#include "muon.h"
#include "optimizer.h"
#include "weight_gradient.h"
#include "weight_gradient_amx.h"
#include "first_layer_amx.h"
#include "winograd.h"
