// Mean of every map channel over each region, summed in double precision: a warp adds up the runs of 32 pixels of a row
// by shuffles, and only the first lane of a run touches memory. The order of the atomics shows in the last bits at most.

#include "common.cuh"

#define FULL 0xffffffffu

// areas (n) and sums (n, channels) to 0.
extern "C" __global__ void means_clear(int* areas, double* sums, int count, int channels) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) areas[i] = 0;
    for (int k = i; k < count * channels; k += gridDim.x * blockDim.x) sums[k] = 0.0;
}

// blockDim.x is a multiple of 32; blockIdx.z is the channel.
extern "C" __global__ void __launch_bounds__(256)
    means_accumulate(const int* labels, const float* maps, int height, int width, int count, int channels, int* areas,
                     double* sums, int* status) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32, channel = blockIdx.z;
    const float* map = maps + (i64)channel * height * width;
    for (int y = blockIdx.y; y < height; y += gridDim.y) {
        const int label = x < width ? labels[(i64)y * width + x] : 0;
        double sum = x < width && label != 0 ? (double)map[(i64)y * width + x] : 0.0;
        const int before = __shfl_up_sync(FULL, label, 1);
        const u32 starts = __ballot_sync(FULL, lane == 0 || before != label);
        const u32 later = lane == 31 ? 0 : starts >> (lane + 1);
        const int left = later ? __ffs((int)later) : 32 - lane;  // pixels of the run from this lane on
        for (int step = 1; step < 32; step *= 2) {
            const double further = __shfl_down_sync(FULL, sum, step);
            if (step < left) sum += further;
        }
        if (!(starts >> lane & 1) || label == 0) continue;
        if (label < 0 || label > count) {
            atomicOr(status, BAD_LABEL);
            continue;
        }
        atomicAdd(sums + (i64)(label - 1) * channels + channel, sum);
        if (channel == 0) atomicAdd(areas + label - 1, left);
    }
}

extern "C" __global__ void means_finish(const int* areas, double* sums, int count, int channels) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count * channels) sums[i] /= (double)areas[i / channels];
}
