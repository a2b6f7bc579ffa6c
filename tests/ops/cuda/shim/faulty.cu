// Kernels with the faults that the shim must bring out, and the same without the fault.

#include "common.cuh"

extern "C" __global__ void reverse_with_barrier(const int* in, int* out) {
    __shared__ int held[64];
    held[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = held[63 - threadIdx.x];
}

extern "C" __global__ void reverse_without_barrier(const int* in, int* out) {
    __shared__ int held[64];
    held[threadIdx.x] = in[threadIdx.x];
    out[threadIdx.x] = held[63 - threadIdx.x];
}

extern "C" __global__ void count_with_atomics(int* total) {
    atomicAdd(total, 1);
}

extern "C" __global__ void count_without_atomics(int* total) {
    store_relaxed(total, load_relaxed(total) + 1);
}

extern "C" __global__ void barrier_in_a_branch(int* out) {
    if (threadIdx.x < 40) __syncthreads();
    out[threadIdx.x] = 1;
}

extern "C" __global__ void shuffle_in_a_branch(int* out) {
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_up_sync(0xffffffffu, out[threadIdx.x], 1);
}

extern "C" __global__ void warp_sum(const int* in, int* out) {
    int sum = in[threadIdx.x];
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    out[threadIdx.x] = sum + (int)__ballot_sync(0xffffffffu, threadIdx.x % 2);
}
