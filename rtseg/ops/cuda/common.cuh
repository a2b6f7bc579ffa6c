// Shared by every kernel file: relaxed accesses, union-find, hashing, status bits.
//
// The files here include nothing of CUDA's or C++'s headers, so that NVRTC and a plain C++20 compiler behind the tests'
// shim take them unchanged. They are compiled with --fmad=false: results are bit for bit those of the ops on a CPU.
#pragma once

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

// Bits of a plan's status word; rtseg/ops/cuda/status.py gives them their sentences.
enum Status {
    REGION_OVERFLOW = 1,   // more regions than the buffers hold
    EDGE_OVERFLOW = 2,     // more edges between regions than the buffers hold
    NOT_CONVERGED = 4,     // merging was still going on after the last round
    BAD_AFFINITY = 8,      // an affinity that is NaN or outside [0, 1]
    BAD_LABEL = 16,        // a label below 0 or above the given count
    BAD_MAPS = 32,         // a map value that is NaN or infinite
};

#ifndef RTSEG_SHIM
// Words that other threads may change meanwhile are read and written whole, past the compiler and the L1 cache.
template <class T>
__device__ __forceinline__ T load_relaxed(const T* p) {
    return *(const volatile T*)p;
}
template <class T>
__device__ __forceinline__ void store_relaxed(T* p, T value) {
    *(volatile T*)p = value;
}
#endif

// A forest is an array in which parent[i] <= i names another node of i's tree, and a root names itself; -1 is no node.

__device__ __forceinline__ int find_root(const int* parent, int node) {
    for (;;) {
        const int next = load_relaxed(parent + node);
        if (next == node) return node;
        node = next;
    }
}

// Join the trees of a and b under the smaller root. Any number of threads may do so at once: a parent only ever gets
// smaller, and whoever replaces a parent goes on to join the one it replaced.
__device__ __forceinline__ void unite(int* parent, int a, int b) {
    a = find_root(parent, a);
    b = find_root(parent, b);
    while (a != b) {
        if (a < b) {
            const int swap = a;
            a = b;
            b = swap;
        }
        const int replaced = atomicMin(parent + a, b);
        if (replaced == a) return;
        a = find_root(parent, replaced);
    }
}

__device__ __forceinline__ u64 mix_bits(u64 x) {  // the finaliser of MurmurHash3: every input bit reaches every output bit
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdull;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

// Whether a value is an affinity: in [0, 1], or a little over 1, to which a sigmoid in float32 may be rounded.
__device__ __forceinline__ bool is_affinity(float value) { return value >= 0.0f && value <= 1.000001f; }

// An affinity as the fixed-point weight of rtseg/ops/adjacency.py, 0 for what is none.
__device__ __forceinline__ int fixed_point(float affinity) {
    return is_affinity(affinity) ? (int)rintf((affinity < 1.0f ? affinity : 1.0f) * 16777216.0f) : 0;
}

// Exclusive prefix sum over the threads of a block of any multiple of 32 threads; `total` gets the sum.
__device__ __forceinline__ int scan_block(int value, int* total) {
    __shared__ int warp_sums[32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    int sum = value;
    for (int step = 1; step < 32; step *= 2) {
        const int below = __shfl_up_sync(0xffffffffu, sum, step);
        if (lane >= step) sum += below;
    }
    __syncthreads();  // the last use of warp_sums is over
    if (lane == 31) warp_sums[warp] = sum;
    __syncthreads();
    int before = 0, all = 0;
    for (int i = 0; i < warps; ++i) {
        if (i == warp) before = all;
        all += warp_sums[i];
    }
    *total = all;
    return before + sum - value;
}
