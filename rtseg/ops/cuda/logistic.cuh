// exp(-x) and the logistic function in float steps that rtseg/ops/logistic.py repeats: CUDA's own differ from the host's
// in the last bit, which would be enough to swap two scores.
// No #pragma once: the tests put every kernel file, with its headers, into a namespace of its own.

// exp(-x) for x >= 0, to 2e-7 relative; 0 beyond 87.
__device__ __forceinline__ float exp_negative(float x) {
    if (!(x <= 87.0f)) return 0.0f;
    const float n = rintf(x * 1.44269504f);
    const float r = (n * 0.693359375f - x) - n * 2.12194440e-4f;
    float p = (float)(1.0 / 720.0) * r + (float)(1.0 / 120.0);
    p = p * r + (float)(1.0 / 24.0);
    p = p * r + (float)(1.0 / 6.0);
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * __int_as_float((127 - (int)n) << 23);
}

__device__ __forceinline__ float logistic(float x) {
    const float e = exp_negative(x < 0.0f ? -x : x);
    return x >= 0.0f ? 1.0f / (1.0f + e) : e / (1.0f + e);
}
