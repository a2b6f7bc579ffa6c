// Regions of a head map to instances: sums over each region, which regions belong together, what class each is.
//
// Sums are kept in fixed point, so that they do not depend on the order of the atomics. Tables hold a row a region; what
// is left of them is numbered in the order of the regions, which is that of their first pixels.

#include "common.cuh"
#include "logistic.cuh"

#define FULL 0xffffffffu
#define THREADS 1024
#define PROBABILITY 16777216.0f  // what 1 is in the sums of classes
#define EXTRA 1048576.0          // what 1 is in the sums of other maps
#define LARGEST 1048576.0f       // a value beyond which those sums could overflow

// sums (regions, channels), sizes (regions), boxes (regions, 4) to nothing.
extern "C" __global__ void region_clear(i64* sums, int* sizes, int* boxes, int regions, int channels) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < regions) {
        sizes[i] = 0;
        boxes[4 * i] = boxes[4 * i + 1] = 0x7fffffff;
        boxes[4 * i + 2] = boxes[4 * i + 3] = 0;
    }
    for (int k = i; k < regions * channels; k += gridDim.x * blockDim.x) sums[k] = 0;
}

__device__ __forceinline__ void add_run(i64* at, i64 value, int left, bool leads) {
    for (int step = 1; step < 32; step *= 2) {
        const i64 further = __shfl_down_sync(FULL, value, step);
        if (step < left) value += further;
    }
    if (leads && value != 0) atomicAdd((u64*)at, (u64)value);
}

// Softmax of semantic (classes, h, w), and extra (channels, h / factor, w / factor, rounded up), of which a pixel
// stands for `factor` squared, summed over labels (h, w) of 1..regions; blockDim is (32, n), a warp a stretch of a row.
// With a `stride` extra holds offsets in input pixels, to which the place of the map pixel is added. guide (2, h, w)
// gets the probability of background and, for kind 1, that of the best class, for kind 2 that of all classes. Maps that
// are not finite set BAD_MAPS; of extra, with `labelled`, only where there is a label.
extern "C" __global__ void __launch_bounds__(256)
    region_sums(const int* labels, const float* semantic, int classes, const float* extra, int channels, int factor,
                int stride, int labelled, int height, int width, int regions, i64* sums, int* sizes, int* boxes,
                float* guide, int kind, int* status) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    const int lane = threadIdx.x;
    const bool inside = x < width && y < height;
    const i64 pixel = (i64)y * width + x, plane = (i64)height * width;
    const int columns_of_extra = (width + factor - 1) / factor;
    const i64 extra_pixel = (i64)(y / factor) * columns_of_extra + x / factor;
    const i64 extra_plane = (i64)((height + factor - 1) / factor) * columns_of_extra;
    int label = inside ? labels[pixel] : 0;
    if (label < 0 || label > regions) {
        atomicOr(status, REGION_OVERFLOW);
        label = 0;
    }
    float greatest = 0.0f, total = 0.0f;
    bool good = true;
    if (inside) {
        greatest = semantic[pixel];
        for (int c = 0; c < classes; ++c) {
            const float value = semantic[c * plane + pixel];
            good = good && value - value == 0.0f;
            greatest = value > greatest ? value : greatest;
        }
        for (int c = 0; c < classes; ++c) total += exp_negative(greatest - semantic[c * plane + pixel]);
        if (kind) {
            float best = 0.0f, all = 0.0f;
            for (int c = 1; c < classes; ++c) {
                const float share = exp_negative(greatest - semantic[c * plane + pixel]) / total;
                best = share > best ? share : best;
                all += share;
            }
            guide[pixel] = exp_negative(greatest - semantic[pixel]) / total;
            guide[plane + pixel] = kind == 1 ? best : all;
        }
        if (!labelled || label > 0)
            for (int c = 0; c < channels; ++c) {
                const float value = extra[c * extra_plane + extra_pixel];
                good = good && value - value == 0.0f;
            }
        if (!good) atomicOr(status, BAD_MAPS);
    }
    if (!__any_sync(FULL, label > 0)) return;
    const int before = __shfl_up_sync(FULL, label, 1);
    const u32 starts = __ballot_sync(FULL, lane == 0 || before != label);
    const u32 later = lane == 31 ? 0 : starts >> (lane + 1);
    const int left = later ? __ffs((int)later) : 32 - lane;  // pixels of the run from this lane on
    const bool leads = (starts >> lane & 1) && label > 0;
    const int row = label > 0 ? label - 1 : 0, columns = classes + channels;
    for (int c = 0; c < classes; ++c) {
        const float share = label > 0 && good ? exp_negative(greatest - semantic[c * plane + pixel]) / total : 0.0f;
        add_run(sums + (i64)row * columns + c, (i64)rintf(share * PROBABILITY), left, leads);
    }
    for (int c = 0; c < channels; ++c) {
        float value = label > 0 && good ? extra[c * extra_plane + extra_pixel] : 0.0f;
        if (stride) value += (float)stride * ((float)(c == 0 ? x : y) + 0.5f) - 0.5f;
        if (!(value > -LARGEST && value < LARGEST)) {
            if (label > 0) atomicOr(status, REGION_OVERFLOW);
            value = 0.0f;
        }
        add_run(sums + (i64)row * columns + classes + c, (i64)rint((double)value * EXTRA), left, leads);
    }
    if (!leads) return;
    atomicAdd(sizes + row, left);
    if (x < load_relaxed(boxes + 4 * row)) atomicMin(boxes + 4 * row, x);
    if (y < load_relaxed(boxes + 4 * row + 1)) atomicMin(boxes + 4 * row + 1, y);
    if (x + left > load_relaxed(boxes + 4 * row + 2)) atomicMax(boxes + 4 * row + 2, x + left);
    if (y + 1 > load_relaxed(boxes + 4 * row + 3)) atomicMax(boxes + 4 * row + 3, y + 1);
}

// labels = names of the regions, 0 stays 0.
extern "C" __global__ void region_rename(int* labels, int pixels, const int* names, int regions) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pixels) return;
    const int label = labels[i];
    labels[i] = label > 0 && label <= regions ? names[label - 1] : 0;
}

// Add the rows of a forest's trees up in those of their roots. One block; parent is flat afterwards.
__device__ __forceinline__ void add_trees(int* parent, int n, i64* sums, int columns, int* sizes) {
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        const int root = find_root(parent, i);
        if (root == i) continue;
        atomicAdd(sizes + root, sizes[i]);
        for (int c = 0; c < columns; ++c)
            atomicAdd((u64*)sums + (i64)root * columns + c, (u64)sums[(i64)i * columns + c]);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += blockDim.x) store_relaxed(parent + i, find_root(parent, i));
    __syncthreads();
}

// The channel from `first` on with the greatest sum; ties to the lower.
__device__ __forceinline__ int best_channel(const i64* sums, int first, int classes) {
    int best = first;
    for (int c = first + 1; c < classes; ++c)
        if (sums[c] > sums[best]) best = c;
    return best;
}

// Number those rows of 0..n-1 whose channel is above 0, and give each region the number of its root. One block.
__device__ __forceinline__ void number_rows(const int* parent, int n, const int* channels, const float* confidence,
                                            int* numbers, int* names, int most, int* class_ids, float* scores,
                                            int* count) {
    int before = 0;
    for (int first = 0; first < n; first += THREADS) {
        const int i = first + threadIdx.x;
        const bool counts = i < n && parent[i] == i && channels[i] > 0;
        int total;
        const int number = before + scan_block(counts, &total);
        if (i < n) numbers[i] = counts ? number + 1 : 0;
        if (counts && number < most) {
            class_ids[number] = channels[i] - 1;
            scores[number] = confidence[i];
        }
        before += total;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += THREADS) names[i] = parent[i] < 0 ? 0 : numbers[parent[i]];
    if (threadIdx.x == 0) *count = before;
}

#define TABLE_PARAMETERS                                                                                               \
    const int *found, int regions, int classes, int extras, i64 *sums, int *sizes, const int *boxes, int *parent,      \
        int *channels, float *confidence, int *numbers, int *names, int most, int *class_ids, float *scores,           \
        int *count, int *status

// L2C, one block: regions whose mean centers lie within settings[0] are one instance, transitively; settings[1] input
// pixels score 1, a map pixel being `area` of them. centers (regions, 2) is room for the means.

extern "C" __global__ void __launch_bounds__(THREADS)
    color_join(TABLE_PARAMETERS, double* centers, const double* settings, int least, int area) {
    const int n = *found < regions ? *found : regions, columns = classes + extras;
    if (threadIdx.x == 0 && *found > regions) atomicOr(status, REGION_OVERFLOW);
    for (int i = threadIdx.x; i < n; i += THREADS) {
        for (int axis = 0; axis < 2; ++axis)
            centers[2 * i + axis] = (double)sums[(i64)i * columns + classes + axis] / EXTRA / (double)sizes[i];
        parent[i] = i;
    }
    __syncthreads();
    const double distance = settings[0];
    for (int i = threadIdx.x / 32; i < n; i += THREADS / 32)
        for (int j = i + 1 + threadIdx.x % 32; j < n; j += 32) {
            const double dx = centers[2 * j] - centers[2 * i], dy = centers[2 * j + 1] - centers[2 * i + 1];
            if (dx * dx + dy * dy <= distance * distance) unite(parent, i, j);
        }
    __syncthreads();
    add_trees(parent, n, sums, columns, sizes);
    for (int i = threadIdx.x; i < n; i += THREADS) {
        channels[i] = parent[i] == i && sizes[i] >= least ? best_channel(sums + (i64)i * columns, 0, classes) : 0;
        const double score = (double)((i64)sizes[i] * area) / settings[1];
        confidence[i] = (float)(score < 1.0 ? score : 1.0);
    }
    __syncthreads();
    number_rows(parent, n, channels, confidence, numbers, names, most, class_ids, scores, count);
}

__device__ __forceinline__ double nearness(const double* boxes, int u, int v, double beta) {
    double factor = 1.0;
    for (int axis = 0; axis < 2; ++axis) {
        const double side_u = boxes[4 * u + axis + 2] - boxes[4 * u + axis];
        const double side_v = boxes[4 * v + axis + 2] - boxes[4 * v + axis];
        const double side = side_u > side_v ? side_u : side_v;
        const double apart = 0.5 * fabs(boxes[4 * u + axis] + boxes[4 * u + axis + 2] - boxes[4 * v + axis] -
                                        boxes[4 * v + axis + 2]);
        if (0.5 * side < apart) factor *= pow(0.5 * side / apart, beta);
    }
    return factor;
}

// The best partner of segment k among those after it, ties to the lower; -1 if none is left.
__device__ __forceinline__ int best_after(const double* priority, const int* alive, int k, int m) {
    int best = -1;
    double highest = 0.0;
    for (int j = k + 1; j < m; ++j) {
        const double value = priority[(i64)j * m + k];
        if (alive[j] && (best < 0 || value > highest)) {
            best = j;
            highest = value;
        }
    }
    return best;
}

// DaffNet, one block: regions of `smallest` map pixels or more; of those the `segments` largest joined by embedding,
// classes and position as rtseg/grouping/position_aware.py joins them (settings: threshold, beta, alpha; no extras, no
// joining); the class is the most probable one. Room: ranked (regions); and for each of `segments` mean embedding and
// classes (extras + classes + 1), places (4); affinity and priority (segments, segments).
extern "C" __global__ void __launch_bounds__(THREADS)
    affinity_join(TABLE_PARAMETERS, const double* settings, int smallest, int least, int segments, int limited,
                  int* ranked, double* means, double* places, double* affinity, double* priority) {
    __shared__ int chosen[THREADS];
    __shared__ int alive[THREADS];
    __shared__ int group[THREADS];
    __shared__ int best[THREADS];
    __shared__ double leading[32];
    __shared__ int leader[32];
    __shared__ int joined[2];
    const int n = *found < regions ? *found : regions, columns = classes + extras, k = threadIdx.x;
    if (k == 0 && *found > regions) atomicOr(status, REGION_OVERFLOW);
    int m = 0;
    for (int first = 0; first < n; first += THREADS) {  // what is large enough, in order
        const int i = first + k;
        const bool counts = i < n && sizes[i] >= smallest;
        int total;
        const int at = m + scan_block(counts, &total);
        if (i < n) parent[i] = counts ? i : -1;
        if (counts) ranked[at] = i;
        m += total;
    }
    __syncthreads();
    if (extras > 0) {
        if (m > segments) {
            if (!limited && k == 0) atomicOr(status, REGION_OVERFLOW);
            int used = 0;
            for (int first = 0; first < m; first += THREADS) {  // the largest, of equals the first, in order
                int rank = segments;
                if (first + k < m) {
                    rank = 0;
                    const int i = ranked[first + k];
                    for (int j = 0; j < m; ++j)
                        rank += sizes[ranked[j]] > sizes[i] || (sizes[ranked[j]] == sizes[i] && ranked[j] < i);
                }
                int total;
                const int at = used + scan_block(rank < segments, &total);
                if (rank < segments) chosen[at] = ranked[first + k];
                used += total;
            }
            m = segments;
        } else if (k < m) {
            chosen[k] = ranked[k];
        }
        __syncthreads();
        const int width = columns + 1;
        if (k < m) {
            const i64* row = sums + (i64)chosen[k] * columns;
            double* mine = means + (i64)k * width;
            const double size = (double)sizes[chosen[k]];
            double total = 0.0, entropy = 0.0;
            for (int c = 0; c < classes; ++c) total += (double)row[c];
            for (int c = 0; c < classes; ++c) {
                mine[c] = total > 0.0 ? (double)row[c] / total : 1.0 / classes;
                if (mine[c] > 0.0) entropy -= mine[c] * log2(mine[c]);
            }
            for (int c = classes; c < columns; ++c) mine[c] = (double)row[c] / EXTRA / size;
            mine[columns] = entropy;
            for (int c = 0; c < 4; ++c) places[4 * k + c] = (double)boxes[4 * chosen[k] + c];
            alive[k] = 1;
            group[k] = k;
        }
        __syncthreads();
        for (i64 pair = k; pair < (i64)m * m; pair += THREADS) {
            const int i = (int)(pair / m), j = (int)(pair % m);
            if (j <= i) continue;
            const double *a = means + (i64)i * width, *b = means + (i64)j * width;
            double square = 0.0, divergence = 0.0, mixed = 0.0;
            for (int c = classes; c < columns; ++c) square += (a[c] - b[c]) * (a[c] - b[c]);
            const double alike = exp(-settings[2] * square);
            if (alike > 1e-6) {
                for (int c = 0; c < classes; ++c) {
                    const double q = 0.5 * (a[c] + b[c]);
                    if (q > 0.0) mixed -= q * log2(q);
                }
                divergence = mixed - 0.5 * (a[columns] + b[columns]);
                divergence = divergence < 0.0 ? 0.0 : divergence > 1.0 ? 1.0 : divergence;
            }
            const double value = alike * (1.0 - divergence);
            affinity[(i64)i * m + j] = affinity[(i64)j * m + i] = value;
            priority[(i64)i * m + j] = priority[(i64)j * m + i] = value * nearness(places, i, j, settings[1]);
        }
        __syncthreads();
        if (k < m) best[k] = best_after(priority, alive, k, m);
        __syncthreads();
        for (int round = 0; round < m; ++round) {
            double highest = -1.0;  // the best pair: the highest priority, of equals the lower first segment
            int row = -1;
            if (k < m && alive[k] && best[k] >= 0) {
                highest = priority[(i64)best[k] * m + k];
                row = k;
            }
            for (int step = 1; step < 32; step *= 2) {
                const double other = __shfl_down_sync(FULL, highest, step);
                const int at = __shfl_down_sync(FULL, row, step);
                if (at >= 0 && (row < 0 || other > highest || (other == highest && at < row))) {
                    highest = other;
                    row = at;
                }
            }
            if (k % 32 == 0) {
                leading[k / 32] = highest;
                leader[k / 32] = row;
            }
            __syncthreads();
            if (k == 0) {
                for (int warp = 1; warp < THREADS / 32; ++warp)
                    if (leader[warp] >= 0 && (row < 0 || leading[warp] > highest)) {
                        highest = leading[warp];
                        row = leader[warp];
                    }
                joined[0] = row >= 0 && highest >= settings[0] ? row : -1;
                joined[1] = joined[0] < 0 ? -1 : best[row];
                if (joined[0] >= 0) {
                    const int u = joined[0], v = joined[1];
                    group[v] = u;
                    alive[v] = 0;
                    for (int axis = 0; axis < 2; ++axis) {
                        const double low = places[4 * v + axis], high = places[4 * v + axis + 2];
                        if (low < places[4 * u + axis]) places[4 * u + axis] = low;
                        if (high > places[4 * u + axis + 2]) places[4 * u + axis + 2] = high;
                    }
                }
            }
            __syncthreads();
            const int u = joined[0], v = joined[1];
            if (u < 0) break;
            if (k < m && alive[k] && k != u) {
                const double value = 0.5 * (affinity[(i64)u * m + k] + affinity[(i64)v * m + k]);
                affinity[(i64)u * m + k] = affinity[(i64)k * m + u] = value;
                priority[(i64)u * m + k] = priority[(i64)k * m + u] = value * nearness(places, u, k, settings[1]);
            }
            __syncthreads();
            if (k < m && k < v && alive[k]) {
                if (k == u || best[k] == u || best[k] == v) {
                    best[k] = best_after(priority, alive, k, m);
                } else if (k < u) {
                    const double ahead = priority[(i64)u * m + k] - priority[(i64)best[k] * m + k];
                    if (ahead > 0.0 || (ahead == 0.0 && u < best[k])) best[k] = u;
                }
            }
            __syncthreads();
        }
        if (k < m && group[k] != k) {
            int root = group[k];
            while (group[root] != root) root = group[root];
            parent[chosen[k]] = chosen[root];
        }
        __syncthreads();
    }
    for (int i = k; i < n; i += THREADS)  // a small region is a tree without a row
        if (parent[i] < 0) {
            parent[i] = i;
            sizes[i] = 0;
        }
    __syncthreads();
    add_trees(parent, n, sums, columns, sizes);
    for (int i = k; i < n; i += THREADS) {
        const i64* row = sums + (i64)i * columns;
        const bool counts = parent[i] == i && sizes[i] >= least && sizes[i] > 0;
        channels[i] = counts ? best_channel(row, 1, classes) : 0;
        const double mean = counts ? (double)row[channels[i]] / (double)PROBABILITY / (double)sizes[i] : 0.0;
        confidence[i] = (float)(mean < 1.0 ? mean : 1.0);
    }
    __syncthreads();
    number_rows(parent, n, channels, confidence, numbers, names, most, class_ids, scores, count);
}
