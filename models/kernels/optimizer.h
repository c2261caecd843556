// Optimizer steps that read bfloat16 gradients and leave bfloat16 copies of the weights, in one pass over memory.
//
// Weights `p` and moments are float. The gradient `g` is bfloat16, and so is `copy`, which gets the new weights. `decay`
// times the weight is added to the gradient; the weight shrinks by the factor 1 - `shrink` (AdamW's decay).

// The arithmetic is torch's (aten/src/ATen/native/cpu/FusedAdamKernel.cpp). `rate` is the learning rate by the first
// moment's correction, `root` the square root of the second moment's.
void adam_bfloat16(float *restrict p, float *restrict m, float *restrict v, const uint16_t *restrict g,
                   uint16_t *restrict copy, long n, double beta1, double beta2, double eps, double decay, double shrink,
                   double rate, double root) {
    float b1 = (float)(1 - beta1), b2 = (float)beta2, rest = (float)(1 - beta2), e = (float)eps, d = (float)decay;
    float keep = (float)(1 - shrink), r = (float)rate, s = (float)root;
    for (long k = 0; k < n; k += LANES) {
        Floats weight = get_float32(p, k, n), gradient = get_bfloat16(g, k, n) + d * weight, denominator;
        weight *= keep;
        Floats first = get_float32(m, k, n), second = get_float32(v, k, n);
        first += b1 * (gradient - first);
        second = second * b2 + rest * gradient * gradient;
        for (int i = 0; i < LANES; i++) denominator[i] = sqrtf(second[i]);
        weight -= r * first / (denominator / s + e);
        put_float32(p, weight, k, n), put_float32(m, first, k, n), put_float32(v, second, k, n);
        put_bfloat16(copy, round_bfloat16(weight), k, n);
    }
}

// SGD with momentum, or without if `m` is null. In the first step (`first`) the momentum is the gradient.
void sgd_bfloat16(float *restrict p, float *restrict m, const uint16_t *restrict g, uint16_t *restrict copy, long n,
                  double lr, double momentum, long nesterov, double decay, long first) {
    float r = (float)lr, mu = (float)momentum, d = (float)decay;
    for (long k = 0; k < n; k += LANES) {
        Floats weight = get_float32(p, k, n), gradient = get_bfloat16(g, k, n) + d * weight;
        if (m) {
            Floats moment = first ? gradient : get_float32(m, k, n) * mu + gradient;
            put_float32(m, moment, k, n);
            gradient = nesterov ? gradient + mu * moment : moment;
        }
        weight -= r * gradient;
        put_float32(p, weight, k, n);
        put_bfloat16(copy, round_bfloat16(weight), k, n);
    }
}
