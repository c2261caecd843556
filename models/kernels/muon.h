// Muon's steps beside its matrix products, in one pass over memory each, for one type of the matrices. kernels.c includes
// this file twice.

// Move the momentum m towards the gradient g, and write the direction (Nesterov's: one step further along the momentum)
// and the sum of its squares.
void NAME(muon_direction)(const float *restrict g, float *restrict m, long n, double momentum, T *restrict direction,
                          double *restrict square) {
    float share = (float)(1 - momentum), mu = (float)momentum;
    *square = 0;
    for (long start = 0; start < n; start += 4096) {
        Floats sum = {0};
        for (long k = start; k < n && k < start + 4096; k += LANES) {
            Floats gradient = get_float32(g, k, n), moment = get_float32(m, k, n);
            moment += share * (gradient - moment);
            put_float32(m, moment, k, n);
            Floats d = gradient + mu * (moment - gradient);
            sum += d * d;
            NAME(put)(direction, NAME(round)(d), k, n);
        }
        for (int i = 0; i < LANES; i++) *square += sum[i];
    }
}

// p keep - rate u.
void NAME(muon_update)(float *restrict p, const T *restrict u, long n, double keep, double rate) {
    float factor = (float)keep, r = (float)rate;
    for (long k = 0; k < n; k += LANES) put_float32(p, get_float32(p, k, n) * factor - r * NAME(get)(u, k, n), k, n);
}
