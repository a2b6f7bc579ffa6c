// Union-find over affinities: pixels joined by an edge of at least the threshold share a label. Edges inside a tile are
// united in shared memory, those that leave it in global memory.

#include "common.cuh"

#define TILE_WIDTH 32
#define TILE_HEIGHT 16

// Whether the mean of five edges side by side, this one and two of its kind on either side, is at least `support`; those
// that leave the image or the mask do not count.
__device__ bool has_support(const float* edges, const u8* mask, int height, int width, int y, int x, int dy, int dx,
                            int support) {
    if (support == 0) return true;
    const bool flat = (i64)dx * dx >= (i64)dy * dy;
    int total = 0, number = 0;
    for (int side = -2; side <= 2; ++side) {
        const int from_y = flat ? y + side : y, from_x = flat ? x : x + side;
        const int to_y = from_y + dy, to_x = from_x + dx;
        if (from_y < 0 || from_y >= height || from_x < 0 || from_x >= width) continue;
        if (to_y < 0 || to_y >= height || to_x < 0 || to_x >= width) continue;
        const i64 from = (i64)from_y * width + from_x;
        if (!mask[from] || !mask[(i64)to_y * width + to_x]) continue;
        total += fixed_point(edges[from]);
        ++number;
    }
    return total >= support * number;
}

// affinity (K, height, width), offsets (K, 2) as (dy, dx), threshold and support fixed-point weights, mask (height,
// width) of 0 and 1. Every value is checked here, also of edges that leave the image: one that is no number in [0, 1]
// sets BAD_AFFINITY.
extern "C" __global__ void __launch_bounds__(TILE_WIDTH * TILE_HEIGHT)
    affinity_tile(const float* affinity, int channels, int height, int width, const int* offsets, int threshold,
                  int support, const u8* mask, int* parent, int* status) {
    __shared__ int root[TILE_WIDTH * TILE_HEIGHT];
    const int column = threadIdx.x, row = threadIdx.y, here = row * TILE_WIDTH + column;
    const int x = blockIdx.x * TILE_WIDTH + column, y = blockIdx.y * TILE_HEIGHT + row;
    const bool inside = x < width && y < height;
    const i64 pixel = (i64)y * width + x;
    root[here] = inside && mask[pixel] ? here : -1;
    __syncthreads();
    if (inside) {
        bool good = true;
        for (int k = 0; k < channels; ++k) {
            const float value = affinity[k * ((i64)height * width) + pixel];
            good = good && is_affinity(value);
            const int other_row = row + offsets[2 * k], other_column = column + offsets[2 * k + 1];
            if (other_row < 0 || other_row >= TILE_HEIGHT || other_column < 0 || other_column >= TILE_WIDTH) continue;
            const int other = other_row * TILE_WIDTH + other_column;
            if (load_relaxed(root + here) < 0 || load_relaxed(root + other) < 0) continue;
            if (fixed_point(value) < threshold) continue;
            if (has_support(affinity + k * ((i64)height * width), mask, height, width, y, x, offsets[2 * k],
                            offsets[2 * k + 1], support))
                unite(root, here, other);
        }
        if (!good) atomicOr(status, BAD_AFFINITY);
    }
    __syncthreads();
    if (!inside) return;
    int global = -1;
    if (root[here] >= 0) {
        const int first = find_root(root, here);
        global = (blockIdx.y * TILE_HEIGHT + first / TILE_WIDTH) * width + blockIdx.x * TILE_WIDTH + first % TILE_WIDTH;
    }
    parent[pixel] = global;
}

extern "C" __global__ void affinity_across(const float* affinity, int channels, int height, int width,
                                           const int* offsets, int threshold, int support, const u8* mask,
                                           int* parent) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    const int pixel = y * width + x;
    if (load_relaxed(parent + pixel) < 0) return;
    for (int k = 0; k < channels; ++k) {
        const int other_x = x + offsets[2 * k + 1], other_y = y + offsets[2 * k];
        if (other_x < 0 || other_x >= width || other_y < 0 || other_y >= height) continue;
        if (other_x / TILE_WIDTH == x / TILE_WIDTH && other_y / TILE_HEIGHT == y / TILE_HEIGHT) continue;
        const int other = other_y * width + other_x;
        const float* edges = affinity + k * ((i64)height * width);
        if (fixed_point(edges[pixel]) < threshold || load_relaxed(parent + other) < 0) continue;
        if (has_support(edges, mask, height, width, y, x, offsets[2 * k], offsets[2 * k + 1], support))
            unite(parent, pixel, other);
    }
}

// Every masked pixel a tree of its own: the start where no edge is to unite pixels beforehand.
extern "C" __global__ void affinity_single(const float* affinity, int channels, int pixels, const u8* mask, int* parent,
                                           int* status) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pixels) return;
    parent[i] = mask[i] ? i : -1;
    bool good = true;
    for (int k = 0; k < channels; ++k) {
        const float value = affinity[k * (i64)pixels + i];
        good = good && is_affinity(value);
    }
    if (!good) atomicOr(status, BAD_AFFINITY);
}
