// Bilinear upsampling of head maps and argmax over their channels in one kernel: nothing of full size but the winners is
// ever written. Follows rtseg/ops/coloring.py step for step, whose shortcuts (cells with one winner, channels that
// cannot win) are part of the result where rounding makes ties.

#include "common.cuh"

#define PIXELS 4  // neighbors in a row that one thread colors; under upsampling they share cells

struct Cell {  // four source pixels around a target pixel: above left, above right, below left, below right
    i64 a, b, d, e;
};

__device__ __forceinline__ float larger(float x, float y) {
    return x > y ? x : y;
}
__device__ __forceinline__ float smaller(float x, float y) {
    return x < y ? x : y;
}
__device__ __forceinline__ float largest(const float* map, const Cell& cell) {
    return larger(larger(map[cell.a], map[cell.b]), larger(map[cell.d], map[cell.e]));
}

// maps (channels, height, width), out (rows, columns); the low source index and the weight of the next one come a table
// an axis. A value that is not finite sets BAD_MAPS.
extern "C" __global__ void __launch_bounds__(256)
    upsample_argmax(const float* maps, int channels, int height, int width, const int* y_low, const float* y_weight,
                    const int* x_low, const float* x_weight, u8* out, int rows, int columns, int* status) {
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    const int x_begin = (blockIdx.x * blockDim.x + threadIdx.x) * PIXELS;
    if (y >= rows || x_begin >= columns) return;
    const i64 plane = (i64)height * width;
    const int above = y_low[y], below = above + 1 < height ? above + 1 : height - 1;
    const float v = y_weight[y];
    bool finite = true, mixed = false;
    int cell_at = -1, winner = 0;
    float floor = 0;
    Cell cell = {0, 0, 0, 0};
    for (int x = x_begin; x < x_begin + PIXELS && x < columns; ++x) {
        const int at = x_low[x];
        if (at != cell_at) {
            cell_at = at;
            const int right = at + 1 < width ? at + 1 : width - 1;
            cell.a = (i64)above * width + at;
            cell.b = (i64)above * width + right;
            cell.d = (i64)below * width + at;
            cell.e = (i64)below * width + right;
            float best_a = maps[cell.a], best_b = maps[cell.b], best_d = maps[cell.d], best_e = maps[cell.e];
            int win_a = 0, win_b = 0, win_d = 0, win_e = 0;
            floor = -__int_as_float(0x7f800000);
            for (int c = 0; c < channels; ++c) {
                const float* map = maps + c * plane;
                const float a = map[cell.a], b = map[cell.b], d = map[cell.d], e = map[cell.e];
                const float nothing = ((a - a) + (b - b)) + ((d - d) + (e - e));  // 0, or NaN from NaN and infinities
                finite = finite && nothing == 0.0f;
                floor = larger(floor, smaller(smaller(a, b), smaller(d, e)));
                if (a > best_a) best_a = a, win_a = c;
                if (b > best_b) best_b = b, win_b = c;
                if (d > best_d) best_d = d, win_d = c;
                if (e > best_e) best_e = e, win_e = c;
            }
            mixed = !(win_a == win_b && win_a == win_d && win_a == win_e);
            winner = win_a;
        }
        int leader = winner;
        if (mixed) {
            const float u = x_weight[x];
            float best = 0;
            leader = -1;
            for (int c = 0; c < channels; ++c) {
                const float* map = maps + c * plane;
                if (!(largest(map, cell) >= floor)) continue;
                const float left = map[cell.a] + (map[cell.d] - map[cell.a]) * v;
                const float end = map[cell.b] + (map[cell.e] - map[cell.b]) * v;
                const float value = left + (end - left) * u;
                if (leader < 0 || value > best) {
                    best = value;
                    leader = c;
                }
            }
            if (leader < 0) leader = 0;  // only where values are not finite
        }
        out[(i64)y * columns + x] = (u8)leader;
    }
    if (!finite) atomicOr(status, BAD_MAPS);
}
