// Multi-label connected components: union-find inside tiles in shared memory, then across tile borders in global memory
// (the block-based scheme of Playne and Hawick, 2018). The root of a component is its first pixel in raster order.

#include "common.cuh"

#define TILE_WIDTH 32
#define TILE_HEIGHT 16

// One warp a row of the tile: a row is first cut into runs by a ballot, so that only runs need uniting.
template <class Label>
__device__ __forceinline__ void unite_tile(const Label* labels, int height, int width, int eight, int* parent) {
    __shared__ int root[TILE_WIDTH * TILE_HEIGHT];
    __shared__ Label value[TILE_WIDTH * TILE_HEIGHT];
    const int column = threadIdx.x, row = threadIdx.y, here = row * TILE_WIDTH + column;
    const int x = blockIdx.x * TILE_WIDTH + column, y = blockIdx.y * TILE_HEIGHT + row;
    const bool inside = x < width && y < height;
    const Label mine = inside ? labels[(i64)y * width + x] : Label(0);
    const Label left = __shfl_up_sync(0xffffffffu, mine, 1);
    const Label right = __shfl_down_sync(0xffffffffu, mine, 1);
    const bool goes_on = column > 0 && left == mine;
    const u32 starts = __ballot_sync(0xffffffffu, !goes_on);
    const int start = 31 - __clz((int)(starts & (0xffffffffu >> (31 - column))));
    value[here] = mine;
    root[here] = row * TILE_WIDTH + start;
    __syncthreads();
    if (mine != Label(0) && row > 0) {
        const int above = here - TILE_WIDTH;
        const bool up = value[above] == mine;
        const bool up_left = column > 0 && value[above - 1] == mine;
        if (up) {
            if (!(goes_on && up_left)) unite(root, here, above);  // else the pixel to the left joined the same two runs
        } else if (eight) {
            if (up_left && !goes_on) unite(root, here, above - 1);
            const bool up_right = column < TILE_WIDTH - 1 && value[above + 1] == mine;
            if (up_right && right != mine) unite(root, here, above + 1);
        }
    }
    __syncthreads();
    if (!inside) return;
    int global = -1;
    if (mine != Label(0)) {
        const int first = find_root(root, here);
        global = (blockIdx.y * TILE_HEIGHT + first / TILE_WIDTH) * width + blockIdx.x * TILE_WIDTH + first % TILE_WIDTH;
    }
    parent[(i64)y * width + x] = global;
}

template <class Label>
__device__ __forceinline__ void unite_if_equal(const Label* labels, int height, int width, int x, int y, int nx, int ny,
                                               int* parent) {
    if (nx < 0 || nx >= width || ny < 0 || ny >= height) return;
    const int here = y * width + x, there = ny * width + nx;
    if (labels[here] == labels[there]) unite(parent, here, there);
}

// A thread a pixel of every tile's top row (but the image's), then a thread a pixel of every tile's left column.
template <class Label>
__device__ __forceinline__ void unite_borders(const Label* labels, int height, int width, int eight, int* parent) {
    const int rows = (height - 1) / TILE_HEIGHT, columns = (width - 1) / TILE_WIDTH;
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < rows * width) {
        const int x = i % width, y = (i / width + 1) * TILE_HEIGHT;
        const Label mine = labels[y * width + x];
        if (mine == Label(0)) return;
        if (labels[(y - 1) * width + x] == mine) {
            const bool joined = x > 0 && labels[y * width + x - 1] == mine && labels[(y - 1) * width + x - 1] == mine;
            if (!joined) unite(parent, y * width + x, (y - 1) * width + x);
        } else if (eight) {
            unite_if_equal(labels, height, width, x, y, x - 1, y - 1, parent);
            unite_if_equal(labels, height, width, x, y, x + 1, y - 1, parent);
        }
    } else if (i < rows * width + columns * height) {
        const int j = i - rows * width;
        const int x = (j / height + 1) * TILE_WIDTH, y = j % height;
        if (labels[y * width + x] == Label(0)) return;
        unite_if_equal(labels, height, width, x, y, x - 1, y, parent);
        if (eight) {
            unite_if_equal(labels, height, width, x, y, x - 1, y - 1, parent);
            unite_if_equal(labels, height, width, x, y, x - 1, y + 1, parent);
        }
    }
}

extern "C" __global__ void __launch_bounds__(TILE_WIDTH * TILE_HEIGHT)
    components_tile_u8(const u8* labels, int height, int width, int eight, int* parent) {
    unite_tile(labels, height, width, eight, parent);
}
extern "C" __global__ void __launch_bounds__(TILE_WIDTH * TILE_HEIGHT)
    components_tile_i32(const int* labels, int height, int width, int eight, int* parent) {
    unite_tile(labels, height, width, eight, parent);
}
extern "C" __global__ void __launch_bounds__(TILE_WIDTH * TILE_HEIGHT)
    components_tile_i64(const i64* labels, int height, int width, int eight, int* parent) {
    unite_tile(labels, height, width, eight, parent);
}
extern "C" __global__ void components_borders_u8(const u8* labels, int height, int width, int eight, int* parent) {
    unite_borders(labels, height, width, eight, parent);
}
extern "C" __global__ void components_borders_i32(const int* labels, int height, int width, int eight, int* parent) {
    unite_borders(labels, height, width, eight, parent);
}
extern "C" __global__ void components_borders_i64(const i64* labels, int height, int width, int eight, int* parent) {
    unite_borders(labels, height, width, eight, parent);
}
