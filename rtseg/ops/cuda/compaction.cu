// Consecutive ids for the roots of a forest, in the order of the nodes: roots are counted block by block, the counts are
// scanned by one block, and every root takes its rank. Three passes, so that no block waits for another.

#include "common.cuh"

#define COMPACT_THREADS 256
#define COMPACT_ITEMS 1024  // nodes a block
#define SCAN_THREADS 1024

// Point every node straight at its root and count the roots of each block.
extern "C" __global__ void compact_flatten(int* parent, int nodes, int* block_counts) {
    int roots = 0;
    for (int k = 0; k < COMPACT_ITEMS / COMPACT_THREADS; ++k) {
        const int i = blockIdx.x * COMPACT_ITEMS + k * COMPACT_THREADS + threadIdx.x;
        if (i >= nodes) continue;
        const int next = load_relaxed(parent + i);
        if (next < 0) continue;
        const int root = find_root(parent, next);
        if (root != next) store_relaxed(parent + i, root);
        roots += root == i;
    }
    int total;
    scan_block(roots, &total);
    if (threadIdx.x == 0) block_counts[blockIdx.x] = total;
}

// One block: turn counts into the number of roots before each block, and give the number of all roots.
extern "C" __global__ void __launch_bounds__(SCAN_THREADS)
    compact_scan(int* block_counts, int blocks, int* count, int capacity, int* status) {
    int before = 0;
    for (int first = 0; first < blocks; first += SCAN_THREADS) {
        const int i = first + threadIdx.x;
        int total;
        const int rank = scan_block(i < blocks ? block_counts[i] : 0, &total);
        if (i < blocks) block_counts[i] = before + rank;
        before += total;
    }
    if (threadIdx.x == 0) {
        *count = before;
        if (before > capacity) atomicOr(status, REGION_OVERFLOW);
    }
}

// ids[root] = 1, 2, ... in the order of the roots; other entries are left alone.
extern "C" __global__ void compact_rank(const int* parent, int nodes, const int* block_counts, int* ids) {
    int before = block_counts[blockIdx.x];
    for (int k = 0; k < COMPACT_ITEMS / COMPACT_THREADS; ++k) {
        const int i = blockIdx.x * COMPACT_ITEMS + k * COMPACT_THREADS + threadIdx.x;
        const bool root = i < nodes && parent[i] == i;
        int total;
        const int rank = scan_block(root, &total);
        if (root) ids[i] = before + rank + 1;
        before += total;
    }
}

// labels[i] = the id of i's root, 0 where there is no node.
extern "C" __global__ void compact_label(const int* parent, int nodes, const int* ids, int* labels) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= nodes) return;
    const int root = parent[i];
    labels[i] = root < 0 ? 0 : ids[root];
}
