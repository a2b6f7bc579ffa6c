// Graph merge of GMIS without blocks and areas; follows rtseg/grouping/graph_merge.py step for step. Pixels are the first
// regions; every stage fills a region graph with the edges of its distances and those before, and merging.cu merges it.

#include "common.cuh"
#include "logistic.cuh"
#include "region_graph.cuh"

#define FULL 0xffffffffu
#define THREADS 1024
#define CHANNELS 56
#define SIGMA 4096  // steps of the table of equation 6

// Of semantic logits (classes, h, w): shares (classes, h, w), the softmax; groups (h, w), the super-class of each pixel,
// table (classes) naming those of the channels, 0 for none; votes (h, w), the best of the channels of objects; parent
// (h, w), a tree for every pixel of an object. Every value is checked.
extern "C" __global__ void __launch_bounds__(256)
    graph_pixels(const float* semantic, int classes, const float* affinity, int pixels, const int* table, int super_classes,
                 float* shares, u8* groups, u8* votes, int* parent, int* status) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pixels) return;
    bool finite = true, good = true;
    float greatest = semantic[i], total = 0.0f;
    for (int c = 0; c < classes; ++c) {
        const float value = semantic[(i64)c * pixels + i];
        finite = finite && value - value == 0.0f;
        greatest = value > greatest ? value : greatest;
    }
    for (int c = 0; c < classes; ++c) total += exp_negative(greatest - semantic[(i64)c * pixels + i]);
    int vote = -1;
    for (int c = 0; c < classes; ++c) {
        shares[(i64)c * pixels + i] = exp_negative(greatest - semantic[(i64)c * pixels + i]) / total;
        if (table[c] > 0 && (vote < 0 || shares[(i64)c * pixels + i] > shares[(i64)vote * pixels + i])) vote = c;
    }
    int group = 0;
    float best = 0.0f;
    for (int g = 0; g <= super_classes; ++g) {
        float sum = 0.0f;
        for (int c = 0; c < classes; ++c)
            if (table[c] == g) sum += shares[(i64)c * pixels + i];
        if (g == 0 || sum > best) {
            best = sum;
            group = g;
        }
    }
    for (int k = 0; k < CHANNELS; ++k) {
        const float value = affinity[(i64)k * pixels + i];
        good = good && is_affinity(value);
    }
    groups[i] = (u8)group;
    votes[i] = (u8)(vote < 0 ? 0 : vote);
    parent[i] = group > 0 ? i : -1;
    if (!finite) atomicOr(status, BAD_MAPS);
    if (!good) atomicOr(status, BAD_AFFINITY);
}

struct Maps {
    const float* affinity;  // (56, h, w)
    const float* shares;    // (classes, h, w)
    const u8* groups;       // (h, w)
    const int* table;       // (classes)
    const double* sigma;    // (SIGMA + 1)
    int classes, height, width, partition, refine;
};

#define MAP_PARAMETERS                                                                                                 \
    const float *affinity, const float *shares, const u8 *groups, const int *table, const double *sigma, int classes,  \
        int height, int width, int partition, int refine
#define MAPS {affinity, shares, groups, table, sigma, classes, height, width, partition, refine}

// The pixel that direction 4, 5, 6 or 7 leads to over a distance of channels `channel` and after; -1 where there is none
// or it is grouped apart.
__device__ __forceinline__ int other_end(const Maps& maps, int x, int y, int distance, int direction) {
    const int other_y = y + (direction == 4 ? 0 : distance);
    const int other_x = x + (direction == 4 ? distance : distance * (direction - 6));
    if (other_x < 0 || other_x >= maps.width || other_y >= maps.height) return -1;
    const int other = other_y * maps.width + other_x;
    const u8 here = maps.groups[y * maps.width + x], there = maps.groups[other];
    if (here == 0 || there == 0 || (maps.partition && here != there)) return -1;
    return other;
}

// The averaged and refined affinity of a pair (equations 5 and 6), in fixed point.
__device__ __forceinline__ i64 weight_of(const Maps& maps, int here, int there, int channel, int direction) {
    const i64 plane = (i64)maps.height * maps.width;
    float value = 0.5f * (maps.affinity[(channel + direction) * plane + here] +
                          maps.affinity[(channel + 7 - direction) * plane + there]);
    if (maps.refine) {
        float agreement = 0.0f;
        for (int c = 0; c < maps.classes; ++c)
            if (maps.table[c] > 0) agreement += maps.shares[c * plane + here] * maps.shares[c * plane + there];
        float at = (float)SIGMA * (agreement < 1.0f ? agreement : 1.0f);
        if (maps.groups[here] != maps.groups[there]) at = 0.0f;
        const int low = (int)at < SIGMA - 1 ? (int)at : SIGMA - 1;
        value *= (float)(maps.sigma[low] + ((double)at - (double)low) * (maps.sigma[low + 1] - maps.sigma[low]));
    }
    return (i64)rintf(value * 16777216.0f);
}

// Join the pixels that edges of `count` distances of at least `limit` join: parent (h, w), a tree for every pixel of an
// object.
extern "C" __global__ void __launch_bounds__(256)
    graph_unite(MAP_PARAMETERS, const int* distances, const int* channels, int count, int limit, int* parent) {
    const Maps maps = MAPS;
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    const int pixel = y * width + x;
    for (int i = 0; i < count; ++i)
        for (int direction = 4; direction < 8; ++direction) {
            const int other = other_end(maps, x, y, distances[i], direction);
            if (other >= 0 && weight_of(maps, pixel, other, channels[i], direction) >= limit) unite(parent, pixel, other);
        }
}

// Every edge of `count` distances between two regions of labels (h, w) goes to table 0 of the graph. channels (count) is
// the first channel of each distance.
extern "C" __global__ void __launch_bounds__(256)
    graph_gather(GRAPH_PARAMETERS, MAP_PARAMETERS, const int* distances, const int* channels, int count,
                 const int* labels) {
    const Graph graph = GRAPH;
    const Maps maps = MAPS;
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    const int pixel = y * width + x, here = labels[pixel];
    if (here == 0 || here > regions) return;
    for (int i = 0; i < count; ++i)
        for (int direction = 4; direction < 8; ++direction) {
            const int other = other_end(maps, x, y, distances[i], direction);
            const int there = other < 0 ? 0 : labels[other];
            if (there == 0 || there == here || there > regions) continue;
            const u64 low = here < there ? here : there, high = here < there ? there : here;
            add_edge(graph, 0, low << 32 | high, (u64)weight_of(maps, pixel, other, channels[i], direction), 1);
        }
}

__device__ __forceinline__ i64 sum_of_run(i64 value, int left) {
    for (int step = 1; step < 32; step *= 2) {
        const i64 further = __shfl_down_sync(FULL, value, step);
        if (step < left) value += further;
    }
    return value;
}

extern "C" __global__ void graph_clear(i64* inner, int* sizes, int* ballots, int regions, int classes) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= regions) return;
    inner[2 * i] = inner[2 * i + 1] = 0;
    sizes[i] = 0;
    for (int c = 0; c < classes; ++c) ballots[i * classes + c] = 0;
}

// Of every region of labels: inner (regions, 2), sum and number of the edges inside; sizes; ballots (regions, classes).
// blockDim is (32, n). guide (2, h, w): the probability of background, and of all classes.
extern "C" __global__ void __launch_bounds__(256)
    graph_describe(MAP_PARAMETERS, const int* distances, const int* channels, int count, const int* labels,
                   const u8* votes, int regions, i64* inner, int* sizes, int* ballots, float* guide) {
    const Maps maps = MAPS;
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    const bool inside = x < width && y < height;
    const int pixel = inside ? y * width + x : 0, lane = threadIdx.x;
    const i64 plane = (i64)height * width;
    const int found = inside ? labels[pixel] : 0;
    const int label = found <= regions ? found : 0;
    if (inside) {
        float all = 0.0f;
        for (int c = 1; c < classes; ++c) all += shares[c * plane + pixel];
        guide[pixel] = shares[pixel];
        guide[plane + pixel] = all;
    }
    if (!__any_sync(FULL, label > 0)) return;
    i64 sum = 0, edges = 0;
    for (int i = 0; label > 0 && i < count; ++i)
        for (int direction = 4; direction < 8; ++direction) {
            const int other = other_end(maps, x, y, distances[i], direction);
            if (other < 0 || labels[other] != label) continue;
            sum += weight_of(maps, pixel, other, channels[i], direction);
            ++edges;
        }
    const int before = __shfl_up_sync(FULL, label, 1);
    const u32 starts = __ballot_sync(FULL, lane == 0 || before != label);
    const u32 later = lane == 31 ? 0 : starts >> (lane + 1);
    const int left = later ? __ffs((int)later) : 32 - lane;
    sum = sum_of_run(sum, left);
    edges = sum_of_run(edges, left);
    if (label == 0) return;
    atomicAdd(ballots + (i64)(label - 1) * classes + votes[pixel], 1);
    if (!(starts >> lane & 1)) return;
    atomicAdd(sizes + label - 1, left);
    atomicAdd((u64*)inner + 2 * (i64)(label - 1), (u64)sum);
    atomicAdd((u64*)inner + 2 * (i64)(label - 1) + 1, (u64)edges);
}

// One block: regions of `least` pixels or more become instances of the class that most of their pixels vote for, and the
// mean edge inside is their score.
extern "C" __global__ void __launch_bounds__(THREADS)
    graph_finish(const int* found, int regions, int classes, const i64* inner, const int* sizes, const int* ballots,
                 int least, int* names, int most, int* class_ids, float* scores, int* count, int* status) {
    const int n = *found < regions ? *found : regions;
    if (threadIdx.x == 0 && *found > regions) atomicOr(status, REGION_OVERFLOW);
    int before = 0;
    for (int first = 0; first < n; first += THREADS) {
        const int i = first + threadIdx.x;
        const bool counts = i < n && sizes[i] >= least;
        int total;
        const int number = before + scan_block(counts, &total);
        if (i < n) names[i] = counts ? number + 1 : 0;
        if (counts && number < most) {
            const int* mine = ballots + (i64)i * classes;
            int best = 1;
            for (int c = 2; c < classes; ++c)
                if (mine[c] > mine[best]) best = c;
            class_ids[number] = best - 1;
            const double edges = (double)inner[2 * i + 1];
            scores[number] = edges > 0.0 ? (float)((double)inner[2 * i] / edges / 16777216.0) : 0.0f;
        }
        before += total;
    }
    if (threadIdx.x == 0) *count = before;
}
