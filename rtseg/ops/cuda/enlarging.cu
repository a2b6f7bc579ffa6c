// Labels of a head map at the size of the frame; follows rtseg/instances/upsampling.py step for step.

#include "common.cuh"

// labels and kinds (height, width), winners (rows, columns): the kind of every target pixel, as coloring.cu finds it. The
// low source index and the weight of the next one come a table an axis. kept (rows, columns) is 0 where nothing is to be
// found, and is not read where `masked` is 0. With `same` the labels are of the frame's size already. The labels go to
// `out` and, in 16 bits, to `packed`.
extern "C" __global__ void __launch_bounds__(256)
    enlarge_labels(const int* labels, const u8* kinds, int height, int width, const u8* winners, const int* y_low,
                   const float* y_weight, const int* x_low, const float* x_weight, int same, const u8* kept, int masked,
                   int* out, unsigned short* packed, int rows, int columns) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= columns || y >= rows) return;
    const i64 pixel = (i64)y * columns + x;
    const int top = y_low[y], below = top + 1 < height ? top + 1 : height - 1;
    const int left = x_low[x], right = left + 1 < width ? left + 1 : width - 1;
    const int at[4] = {top * width + left, top * width + right, below * width + left, below * width + right};
    const int names[4] = {labels[at[0]], labels[at[1]], labels[at[2]], labels[at[3]]};
    int label = names[0];
    if (!same && !(names[0] == names[1] && names[0] == names[2] && names[0] == names[3])) {
        const float v = y_weight[y], u = x_weight[x];
        const double up = 1.0 - (double)v, before = 1.0 - (double)u;
        const float weights[4] = {(float)(up * before), (float)(up * (double)u), (float)((double)v * before), v * u};
        const int kind = winners[pixel];
        float best = -1.0f;
        label = 0;
        if (kind > 0) {
            for (int i = 0; i < 4; ++i) {
                if (names[i] == 0 || kinds[at[i]] != kind) continue;
                float total = 0.0f;
                for (int j = 0; j < 4; ++j)
                    if (names[j] == names[i] && kinds[at[j]] == kind) total += weights[j];
                if (total > best || (total == best && names[i] < label)) {
                    best = total;
                    label = names[i];
                }
            }
        }
    }
    if (masked && !kept[pixel]) label = 0;
    out[pixel] = label;
    packed[pixel] = (unsigned short)label;
}

// One block: the status words and the rows of a table, one behind the other.
extern "C" __global__ void __launch_bounds__(1024)
    pack_table(const int* count, const int* first, const int* second, const int* third, const int* fourth, int rows,
               const int* class_ids, const float* scores, int* words, int* packed_ids, float* packed_scores) {
    for (int i = threadIdx.x; i < rows; i += blockDim.x) {
        packed_ids[i] = class_ids[i];
        packed_scores[i] = scores[i];
    }
    if (threadIdx.x != 0) return;
    words[0] = *count;
    words[1] = *first | *second | *third | *fourth;
}
