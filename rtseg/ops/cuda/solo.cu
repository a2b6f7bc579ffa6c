// Points, kernels and mask features to a label image; follows rtseg/grouping/solo.py step for step.

#include "common.cuh"
#include "logistic.cuh"

#define FULL 0xffffffffu
#define SLOTS 8  // masks that a thread of solo_draw makes at once, so that features are read once for all of them
#define SHAPE_TERMS 5
#define FIXED 65536.0f

extern "C" __global__ void __launch_bounds__(256) solo_check(const float* values, int count, int* status) {
    bool finite = true;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x)
        finite = finite && values[i] - values[i] == 0.0f;
    if (!finite) atomicOr(status, BAD_MAPS);
}

// Points of a level (height, width) whose score reaches the threshold and that no neighbor exceeds, in any order:
// `scores` and `codes`, base + raster index.
extern "C" __global__ void __launch_bounds__(256)
    solo_peaks(const float* cate, int height, int width, float threshold, int base, float* scores, int* codes,
               int* found) {
    const int p = blockIdx.x * blockDim.x + threadIdx.x;
    if (p >= height * width) return;
    const int y = p / width, x = p % width;
    const float logit = cate[p];
    const float score = logistic(logit);
    if (!(score >= threshold)) return;
    for (int ny = y > 0 ? y - 1 : 0; ny <= y + 1 && ny < height; ++ny)
        for (int nx = x > 0 ? x - 1 : 0; nx <= x + 1 && nx < width; ++nx) {
            const int q = ny * width + nx;
            if (cate[q] > logit || (cate[q] == logit && q < p)) return;
        }
    const int slot = atomicAdd(found, 1);
    scores[slot] = score;
    codes[slot] = base + p;
}

// The `most` best points in order of score, ties by code: `best_codes` and `best_scores`; `count` of them, and how many
// more there were.
extern "C" __global__ void __launch_bounds__(256)
    solo_select(const float* scores, const int* codes, const int* found, int most, int* best_codes, float* best_scores,
                int* count, int* dropped) {
    const int total = *found;
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i == 0) {
        *count = total < most ? total : most;
        *dropped = total > most ? total - most : 0;
    }
    if (i >= total) return;
    const float score = scores[i];
    const int code = codes[i];
    int rank = 0;
    for (int j = 0; j < total && rank < most; ++j)
        rank += scores[j] > score || (scores[j] == score && codes[j] < code);
    if (rank >= most) return;
    best_codes[rank] = code;
    best_scores[rank] = score;
}

// Kernels (terms, height, width) of the chosen points of one level, to weights (most, terms), and their x, y and stride.
extern "C" __global__ void __launch_bounds__(256)
    solo_gather(const float* kernels, int terms, int height, int width, int base, int stride, const int* codes,
                const int* count, float* weights, int* places) {
    const int slot = blockIdx.y;
    const int term = blockIdx.x * blockDim.x + threadIdx.x;
    if (slot >= *count || term >= terms) return;
    const int p = codes[slot] - base;
    if (p < 0 || p >= height * width) return;
    weights[(i64)slot * terms + term] = kernels[(i64)term * height * width + p];
    if (term == 0) {
        places[3 * slot] = p % width;
        places[3 * slot + 1] = p / width;
        places[3 * slot + 2] = stride;
    }
}

extern "C" __global__ void __launch_bounds__(256)
    solo_clear(int most, u64* areas, u64* likely, int* first) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= most) return;
    areas[i] = 0;
    likely[i] = 0;
    first[i] = 0x7fffffff;
}

// Masks of SLOTS points over features (channels, height, width): bits (most, words), areas, and sums of probabilities in
// fixed point. A warp makes one word of each mask. blockDim.x is a multiple of 32.
extern "C" __global__ void __launch_bounds__(256)
    solo_draw(const float* features, int channels, int height, int width, const float* weights, const int* places,
              const int* count, u32* bits, int words, u64* areas, u64* likely) {
    const int begin = blockIdx.y * SLOTS;
    if (begin >= *count) return;
    const int slots = *count - begin < SLOTS ? *count - begin : SLOTS;
    const int pixels = height * width;
    const int p = blockIdx.x * blockDim.x + threadIdx.x;
    const int terms = SHAPE_TERMS + channels;
    const float at_y = ((float)(p / width) + 0.5f) * 4.0f, at_x = ((float)(p % width) + 0.5f) * 4.0f;
    float sums[SLOTS];
    for (int s = 0; s < SLOTS; ++s) {
        sums[s] = 0.0f;
        if (s >= slots) continue;
        const float* kernel = weights + (i64)(begin + s) * terms;
        const int* place = places + 3 * (begin + s);
        const float stride = (float)place[2];
        const float scale = 0.5f / stride;
        const float v = (at_y - ((float)place[1] + 0.5f) * stride) * scale;
        const float u = (at_x - ((float)place[0] + 0.5f) * stride) * scale;
        const float base = (kernel[0] + kernel[2] * v) + kernel[4] * (v * v);
        sums[s] = base + (kernel[1] * u + kernel[3] * (u * u));
    }
    for (int d = 0; d < channels; ++d) {
        const float value = p < pixels ? features[(i64)d * pixels + p] : 0.0f;
        for (int s = 0; s < SLOTS; ++s)
            if (s < slots) sums[s] += weights[(i64)(begin + s) * terms + SHAPE_TERMS + d] * value;
    }
    for (int s = 0; s < slots; ++s) {
        const bool inside = p < pixels && sums[s] > 0.0f;
        const u32 word = __ballot_sync(FULL, inside);
        if (p % 32 == 0 && p / 32 < words) bits[(i64)(begin + s) * words + p / 32] = word;
        if (word == 0) continue;
        int part = inside ? (int)rintf(logistic(sums[s]) * FIXED) : 0;
        for (int step = 16; step > 0; step /= 2) part += __shfl_xor_sync(FULL, part, step);
        if (p % 32 == 0) {
            atomicAdd(areas + begin + s, (u64)__popc(word));
            atomicAdd(likely + begin + s, (u64)part);
        }
    }
}

// Category score times maskness; 0 for masks of fewer than `least` pixels.
extern "C" __global__ void __launch_bounds__(256)
    solo_score(const float* category, const u64* areas, const u64* likely, const int* count, int least, float* scores) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= *count) return;
    float score = 0.0f;
    if ((i64)areas[i] >= least)
        score = category[i] * (float)((double)(i64)likely[i] / ((double)(i64)areas[i] * 65536.0));
    scores[i] = score;
}

// Which masks are painted: by falling score those of at least `keep` of which at least `visible` is free of painted
// ones. One block; `taken` (words) are the pixels painted so far, each word the matter of one thread.
extern "C" __global__ void __launch_bounds__(1024)
    solo_paint(const u32* bits, int words, const float* scores, const int* order, const u64* areas, const int* count,
               float keep, float visible, u32* taken, int* painted) {
    __shared__ int free_pixels;
    for (int w = threadIdx.x; w < words; w += blockDim.x) taken[w] = 0;
    for (int i = threadIdx.x; i < *count; i += blockDim.x) painted[i] = 0;
    if (threadIdx.x == 0) free_pixels = 0;
    __syncthreads();
    for (int rank = 0; rank < *count; ++rank) {
        const int i = order[rank];
        if (!(scores[i] >= keep && scores[i] > 0.0f)) return;  // so are all after it
        int mine = 0;
        for (int w = threadIdx.x; w < words; w += blockDim.x) mine += __popc(bits[(i64)i * words + w] & ~taken[w]);
        if (mine) atomicAdd(&free_pixels, mine);
        __syncthreads();
        const int total = load_relaxed(&free_pixels);
        __syncthreads();
        if (threadIdx.x == 0) free_pixels = 0;
        if (total > 0 && (float)total >= visible * (float)(i64)areas[i]) {
            for (int w = threadIdx.x; w < words; w += blockDim.x) taken[w] |= bits[(i64)i * words + w];
            if (threadIdx.x == 0) painted[i] = 1;
        }
        __syncthreads();
    }
}

// labels (pixels): 1 + the best painted mask there, 0 where there is none; the first pixel of each.
extern "C" __global__ void __launch_bounds__(256)
    solo_label(const u32* bits, int words, int pixels, const float* scores, const int* order, const int* painted,
               const int* count, float keep, int* labels, int* first) {
    const int p = blockIdx.x * blockDim.x + threadIdx.x;
    if (p >= pixels) return;
    int label = 0;
    for (int rank = 0; rank < *count && label == 0; ++rank) {
        const int i = order[rank];
        if (!(scores[i] >= keep)) break;
        if (painted[i] && bits[(i64)i * words + p / 32] >> (p % 32) & 1) label = i + 1;
    }
    labels[p] = label;
    if (label && p < load_relaxed(first + label - 1)) atomicMin(first + label - 1, p);
}

// Numbers from 1 in raster order of first pixels, the scores in that order, and how many there are.
extern "C" __global__ void __launch_bounds__(256)
    solo_number(const int* first, const float* scores, const int* count, int* numbers, float* out, int* instances) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= *count || first[i] == 0x7fffffff) return;
    int number = 1;
    for (int j = 0; j < *count; ++j) number += first[j] < first[i];
    numbers[i] = number;
    out[number - 1] = scores[i];
    atomicMax(instances, number);
}

extern "C" __global__ void __launch_bounds__(256) solo_relabel(const int* numbers, int pixels, int* labels) {
    const int p = blockIdx.x * blockDim.x + threadIdx.x;
    if (p < pixels && labels[p]) labels[p] = numbers[labels[p] - 1];
}

// guide (2, pixels): 1 where nothing is, 1 where something is.
extern "C" __global__ void solo_guide(const int* labels, int pixels, float* guide) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pixels) return;
    guide[i] = labels[i] > 0 ? 0.0f : 1.0f;
    guide[pixels + i] = labels[i] > 0 ? 1.0f : 0.0f;
}
