// Non-maximum suppression of masks as bits; follows rtseg/ops/mask_nms.py step for step. `count` is how many masks there
// are at most `most`; it lies on the device, so that a captured graph serves frames with any number of them.

#include "common.cuh"
#include "logistic.cuh"

#define FULL 0xffffffffu
#define TILE 16  // masks a side of a block's tile of pairs
#define CHUNK 32  // words of each mask in shared memory at a time

// masks (most, pixels) 0 or 1 to bits (most, words), pixel p in bit p % 32 of word p / 32. blockDim.x is a multiple of 32.
extern "C" __global__ void __launch_bounds__(256)
    mask_pack(const u8* masks, int pixels, u32* bits, int words) {
    const int mask = blockIdx.y;
    const int p = blockIdx.x * blockDim.x + threadIdx.x;
    const bool set = p < pixels && masks[(i64)mask * pixels + p];
    const u32 word = __ballot_sync(FULL, set);
    if (p % 32 == 0 && p / 32 < words) bits[(i64)mask * words + p / 32] = word;
}

// shared (most, most): pixels in both masks. Blocks of TILE x TILE threads, one pair each; the lower triangle mirrored.
extern "C" __global__ void __launch_bounds__(TILE* TILE)
    mask_overlaps(const u32* bits, int words, const int* count, int most, int* shared) {
    __shared__ u32 rows[TILE][CHUNK + 1];
    __shared__ u32 columns[TILE][CHUNK + 1];
    const int top = blockIdx.y * TILE, left = blockIdx.x * TILE;
    const int used = *count < most ? *count : most;
    if (left > top || top >= used) return;
    const int i = top + threadIdx.y, j = left + threadIdx.x;
    int total = 0;
    for (int begin = 0; begin < words; begin += CHUNK) {
        for (int k = threadIdx.x; k < CHUNK; k += TILE) {
            const int word = begin + k;
            const int row = top + threadIdx.y, column = left + threadIdx.y;
            rows[threadIdx.y][k] = word < words && row < used ? bits[(i64)row * words + word] : 0;
            columns[threadIdx.y][k] = word < words && column < used ? bits[(i64)column * words + word] : 0;
        }
        __syncthreads();
        for (int k = 0; k < CHUNK; ++k) total += __popc(rows[threadIdx.y][k] & columns[threadIdx.x][k]);
        __syncthreads();
    }
    if (i >= used || j > i) return;
    shared[(i64)i * most + j] = total;
    shared[(i64)j * most + i] = total;
}

// order (most): masks from the highest score to the lowest, ties by index.
extern "C" __global__ void __launch_bounds__(256)
    score_order(const float* scores, const int* count, int most, int* order) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const int used = *count < most ? *count : most;
    if (i >= used) return;
    const float score = scores[i];
    int rank = 0;
    for (int j = 0; j < used; ++j) {
        const float other = scores[j];
        rank += other > score || (other == score && j < i);
    }
    order[rank] = i;
}

__device__ __forceinline__ float iou_of(const int* shared, int most, int i, int j) {
    const int both = shared[(i64)i * most + j];
    const int either = shared[(i64)i * most + i] + shared[(i64)j * most + j] - both;
    return either > 0 ? (float)both / (float)either : 0.0f;
}

// covered (most): by its place in the order, the greatest IoU of a mask with a better one.
extern "C" __global__ void __launch_bounds__(256)
    nms_cover(const int* shared, const int* order, const int* count, int most, float* covered) {
    const int b = blockIdx.x * blockDim.x + threadIdx.x;
    const int used = *count < most ? *count : most;
    if (b >= used) return;
    float greatest = 0.0f;
    for (int a = 0; a < b; ++a) {
        const float iou = iou_of(shared, most, order[a], order[b]);
        greatest = iou > greatest ? iou : greatest;
    }
    covered[b] = greatest;
}

// Matrix NMS: scores lowered by what covers them, gaussian or linear.
extern "C" __global__ void __launch_bounds__(256)
    nms_decay(const int* shared, const int* order, const float* covered, const float* scores, const int* count, int most,
              int gaussian, float sigma, float* decayed) {
    const int b = blockIdx.x * blockDim.x + threadIdx.x;
    const int used = *count < most ? *count : most;
    if (b >= used) return;
    const int j = order[b];
    float weight = 1.0f, exponent = 0.0f;
    for (int a = 0; a < b; ++a) {
        const float iou = iou_of(shared, most, order[a], j);
        if (gaussian) {
            const float more = iou * iou - covered[a] * covered[a];
            exponent = more > exponent ? more : exponent;
        } else if (covered[a] < 1.0f) {
            const float ratio = (1.0f - iou) / (1.0f - covered[a]);
            weight = ratio < weight ? ratio : weight;
        }
    }
    if (gaussian) weight = exp_negative(sigma * exponent);
    decayed[j] = scores[j] * weight;
}

// Fast NMS: the score stays where no better mask, kept or not, overlaps by more than the threshold, and is 0 elsewhere.
extern "C" __global__ void __launch_bounds__(256)
    nms_fast(const int* shared, const int* order, const float* covered, const float* scores, const int* count, int most,
             float threshold, float* kept) {
    const int b = blockIdx.x * blockDim.x + threadIdx.x;
    const int used = *count < most ? *count : most;
    if (b >= used) return;
    kept[order[b]] = covered[b] > threshold ? 0.0f : scores[order[b]];
}
