// Areas, boxes and coordinate sums of labelled regions. A warp reads 32 pixels of a row and cuts them into runs by a
// ballot; only the first lane of a run touches memory, with sums in closed form, so pixels cost no atomics of their own.
// Sums are integers, so the result does not depend on the order of the atomics.

#include "common.cuh"

#define FULL 0xffffffffu

// areas (n) and sums (n, 2) to 0, boxes (n, 4) to an empty box.
extern "C" __global__ void statistics_clear(i64* areas, int* boxes, i64* sums, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    areas[i] = 0;
    sums[2 * i] = sums[2 * i + 1] = 0;
    boxes[4 * i] = boxes[4 * i + 1] = 0x7fffffff;
    boxes[4 * i + 2] = boxes[4 * i + 3] = 0;
}

// The run of equal labels that the lane's pixel lies in: gives its length to its first lane, 0 to the others.
__device__ __forceinline__ int run_length(int label) {
    const int lane = threadIdx.x % 32;
    const int before = __shfl_up_sync(FULL, label, 1);
    const u32 starts = __ballot_sync(FULL, lane == 0 || before != label);
    if (!(starts >> lane & 1)) return 0;
    const u32 later = lane == 31 ? 0 : starts >> (lane + 1);
    return later ? __ffs((int)later) : 32 - lane;
}

__device__ __forceinline__ void lower(int* p, int value) {  // most runs lie inside the box so far: look first
    if (value < load_relaxed(p)) atomicMin(p, value);
}
__device__ __forceinline__ void raise(int* p, int value) {
    if (value > load_relaxed(p)) atomicMax(p, value);
}

// blockDim.x is a multiple of 32; a warp goes down the rows of 32 columns. Labels above count set BAD_LABEL.
extern "C" __global__ void __launch_bounds__(256)
    statistics_accumulate(const int* labels, int height, int width, int count, i64* areas, int* boxes, i64* sums,
                          int* status) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    for (int y = blockIdx.y; y < height; y += gridDim.y) {
        const int label = x < width ? labels[(i64)y * width + x] : 0;
        const int length = run_length(label);
        if (length == 0 || label == 0) continue;
        if (label < 0 || label > count) {
            atomicOr(status, BAD_LABEL);
            continue;
        }
        const int i = label - 1;
        const i64 sum_x = (i64)length * (2 * x + length - 1) / 2;
        atomicAdd((u64*)areas + i, (u64)length);
        atomicAdd((u64*)sums + 2 * i, (u64)sum_x);
        atomicAdd((u64*)sums + 2 * i + 1, (u64)length * (u64)y);
        lower(boxes + 4 * i, x);
        lower(boxes + 4 * i + 1, y);
        raise(boxes + 4 * i + 2, x + length);
        raise(boxes + 4 * i + 3, y + 1);
    }
}

// centers (n, 2) = sums / areas; a label without pixels gets the box 0, 0, 0, 0 and the center NaN.
extern "C" __global__ void statistics_finish(const i64* areas, int* boxes, const i64* sums, double* centers, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const double area = (double)areas[i];
    centers[2 * i] = (double)sums[2 * i] / area;
    centers[2 * i + 1] = (double)sums[2 * i + 1] / area;
    if (areas[i] == 0) boxes[4 * i] = boxes[4 * i + 1] = 0;
}
