// Greedy merging of regions by mean affinity, on a region graph kept in hash tables.
//
// A round gathers the edges of one table, merges regions, and writes the edges of what remains to the other table. The
// contract of rtseg/ops/adjacency.py decides: fixed-point sums, keys of one double division, names, ties. Two rules let
// an edge merge; neither changes what greedy additive edge contraction would end with:
//
// * Mutual: the edge comes first among those of both its regions.
// * Dominant: the edge e = (L, H) comes first at L; at every other neighbor of L all keys are strictly below that of e;
//   and L has the larger name. Then nothing around L can move before e's turn: keys only fall, so whatever merges until
//   then leaves L's edges alone, and L joins whatever H has become by then. Taking L in now gives H only edges with keys
//   below that of e, and leaves H its name, so nothing that comes before e's turn changes either. Without this rule a
//   road with a thousand specks, whose best neighbor is the road, would take a thousand rounds.
//
// A region none of whose edges reaches the threshold will never merge, for means of keys below it stay below it; its
// edges are dropped. So the tables run empty exactly when merging has ended.

#include "common.cuh"
#include "region_graph.cuh"

#define TAIL_THREADS 1024

// Empty tables unless they are, single regions. regions_found is the number of regions of the label image.
extern "C" __global__ void merge_clear(GRAPH_PARAMETERS, const int* regions_found) {
    const int first = blockIdx.x * blockDim.x + threadIdx.x, stride = gridDim.x * blockDim.x;
    const int found = *regions_found < regions ? *regions_found : regions;
    if (first == 0 && *regions_found > regions) atomicOr(status, REGION_OVERFLOW);
    for (i64 i = first; *dirty && i < 2ll * slots; i += stride) {
        keys[i] = EMPTY;
        sums[i] = 0;
        counts[i] = 0;
    }
    for (i64 i = first; i < 2ll * regions; i += stride) best[i] = tie[i] = rival[i] = 0;
    for (int i = first; i < regions; i += stride) parent[i] = i < found ? i : -1;
    if (first < 2) list_size[first] = 0;
}

// Every edge between pixels of two regions goes to table 0.
extern "C" __global__ void merge_gather(GRAPH_PARAMETERS, const float* affinity, int channels, int height, int width,
                                        const int* offsets, const int* labels) {
    const Graph graph = GRAPH;
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    const int pixel = y * width + x, here = labels[pixel];
    if (here == 0 || here > regions) return;
    for (int k = 0; k < channels; ++k) {
        const int other_x = x + offsets[2 * k + 1], other_y = y + offsets[2 * k];
        if (other_x < 0 || other_x >= width || other_y < 0 || other_y >= height) continue;
        const int there = labels[other_y * width + other_x];
        if (there == 0 || there == here || there > regions) continue;
        const u64 low = here < there ? here : there, high = here < there ? there : here;
        add_edge(graph, 0, low << 32 | high, (u64)fixed_point(affinity[k * ((i64)height * width) + pixel]), 1);
    }
}

struct Edge {
    int slot;
    int u, v;  // 0-based regions, u < v
    u64 pair;
    u64 rank;  // 1 + the bits of the key, 0 below the threshold: ordered as the keys are
};

__device__ __forceinline__ int edges_in(const Graph& graph, int table) {
    const int size = load_relaxed(graph.list_size + table);
    return size < graph.edges ? size : graph.edges;
}

__device__ __forceinline__ Edge read_edge(const Graph& graph, int table, int index, int threshold) {
    Edge edge;
    edge.slot = graph.list[(i64)table * graph.edges + index];
    const i64 at = (i64)table * graph.slots + edge.slot;
    edge.pair = graph.keys[at];
    edge.u = (int)(edge.pair >> 32) - 1;
    edge.v = (int)(edge.pair & 0xffffffffu) - 1;
    const double key = (double)graph.sums[at] / (double)graph.counts[at];
    edge.rank = key >= (double)threshold ? 1 + (u64)__double_as_longlong(key) : 0;  // bits of numbers >= 0 keep order
    return edge;
}

__device__ __forceinline__ void raise(u64* p, u64 value) {
    if (value > load_relaxed(p)) atomicMax(p, value);
}

// Phase 0: the highest key at each region.
__device__ __forceinline__ void find_best(const Graph& graph, int table, int threshold, int first, int stride) {
    if (first == 0) graph.list_size[1 - table] = 0;
    const int size = edges_in(graph, table);
    u64* best = graph.best + (i64)table * graph.regions;
    for (int i = first; i < size; i += stride) {
        const Edge edge = read_edge(graph, table, i, threshold);
        if (edge.rank == 0) continue;
        raise(best + edge.u, edge.rank);
        raise(best + edge.v, edge.rank);
    }
}

// Phase 1: of the edges with that key, the one with the largest pair of names.
__device__ __forceinline__ void break_ties(const Graph& graph, int table, int threshold, int first, int stride) {
    const int size = edges_in(graph, table);
    const u64* best = graph.best + (i64)table * graph.regions;
    u64* tie = graph.tie + (i64)table * graph.regions;
    for (int i = first; i < size; i += stride) {
        const Edge edge = read_edge(graph, table, i, threshold);
        if (edge.rank == 0) continue;
        if (best[edge.u] == edge.rank) raise(tie + edge.u, edge.pair);
        if (best[edge.v] == edge.rank) raise(tie + edge.v, edge.pair);
    }
}

// Phase 2: the highest key around each region, away from its first edge.
__device__ __forceinline__ void find_rivals(const Graph& graph, int table, int threshold, int first, int stride) {
    const int size = edges_in(graph, table);
    const u64* best = graph.best + (i64)table * graph.regions;
    const u64* tie = graph.tie + (i64)table * graph.regions;
    u64* rival = graph.rival + (i64)table * graph.regions;
    for (int i = first; i < size; i += stride) {
        const Edge edge = read_edge(graph, table, i, threshold);
        if (tie[edge.u] != edge.pair) raise(rival + edge.u, best[edge.v]);
        if (tie[edge.v] != edge.pair) raise(rival + edge.v, best[edge.u]);
    }
}

// Phase 3: merge over mutual and over dominant edges.
__device__ __forceinline__ void join(const Graph& graph, int table, int threshold, int first, int stride) {
    const int size = edges_in(graph, table);
    const u64* tie = graph.tie + (i64)table * graph.regions;
    const u64* rival = graph.rival + (i64)table * graph.regions;
    for (int i = first; i < size; i += stride) {
        const Edge edge = read_edge(graph, table, i, threshold);
        const bool first_of_u = tie[edge.u] == edge.pair, first_of_v = tie[edge.v] == edge.pair;
        if ((first_of_u && first_of_v) || (first_of_v && rival[edge.v] < edge.rank)) unite(graph.parent, edge.u, edge.v);
    }
}

// Phase 4: move what can still merge to the other table, and leave this one and the next round's entries empty.
__device__ __forceinline__ void contract(const Graph& graph, int table, int threshold, int first, int stride) {
    const int size = edges_in(graph, table), next = 1 - table;
    const u64* best = graph.best + (i64)table * graph.regions;
    const i64 ahead = (i64)next * graph.regions;
    for (int i = first; i < size; i += stride) {
        const Edge edge = read_edge(graph, table, i, threshold);
        const i64 at = (i64)table * graph.slots + edge.slot;
        const u64 sum = graph.sums[at];
        const u32 count = graph.counts[at];
        graph.keys[at] = EMPTY;
        graph.sums[at] = 0;
        graph.counts[at] = 0;
        if (best[edge.u] == 0 || best[edge.v] == 0) continue;
        const int u = find_root(graph.parent, edge.u), v = find_root(graph.parent, edge.v);
        if (u == v) continue;
        store_relaxed(graph.best + ahead + u, 0ull);
        store_relaxed(graph.best + ahead + v, 0ull);
        store_relaxed(graph.tie + ahead + u, 0ull);
        store_relaxed(graph.tie + ahead + v, 0ull);
        store_relaxed(graph.rival + ahead + u, 0ull);
        store_relaxed(graph.rival + ahead + v, 0ull);
        const u64 low = u < v ? u : v, high = u < v ? v : u;
        add_edge(graph, next, (low + 1) << 32 | (high + 1), sum, count);
    }
}

// One phase of one round over the whole device; `table` is the parity of the round.
extern "C" __global__ void __launch_bounds__(256) merge_phase(GRAPH_PARAMETERS, int phase, int table, int threshold) {
    const Graph graph = GRAPH;
    const int first = blockIdx.x * blockDim.x + threadIdx.x, stride = gridDim.x * blockDim.x;
    switch (phase) {
        case 0: find_best(graph, table, threshold, first, stride); break;
        case 1: break_ties(graph, table, threshold, first, stride); break;
        case 2: find_rivals(graph, table, threshold, first, stride); break;
        case 3: join(graph, table, threshold, first, stride); break;
        default: contract(graph, table, threshold, first, stride); break;
    }
}

// One block: the rounds that are left, few edges each, until none is left or `rounds` are done; then NOT_CONVERGED.
extern "C" __global__ void __launch_bounds__(TAIL_THREADS)
    merge_tail(GRAPH_PARAMETERS, int table, int threshold, int rounds) {
    const Graph graph = GRAPH;
    const int first = threadIdx.x, stride = blockDim.x;
    for (int round = 0; round < rounds && edges_in(graph, table) > 0; ++round) {
        __syncthreads();
        find_best(graph, table, threshold, first, stride);
        __syncthreads();
        break_ties(graph, table, threshold, first, stride);
        __syncthreads();
        find_rivals(graph, table, threshold, first, stride);
        __syncthreads();
        join(graph, table, threshold, first, stride);
        __syncthreads();
        contract(graph, table, threshold, first, stride);
        __syncthreads();
        table = 1 - table;
    }
    if (first != 0) return;
    if (edges_in(graph, table) > 0) atomicOr(graph.status, NOT_CONVERGED);
    *graph.dirty = (load_relaxed(graph.status) & (EDGE_OVERFLOW | NOT_CONVERGED)) != 0;
}

// labels = the id of each pixel's merged region; 0 stays 0.
extern "C" __global__ void merge_label(const int* superpixels, int pixels, int regions, const int* ids, int* labels) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pixels) return;
    const int superpixel = superpixels[i];
    labels[i] = superpixel == 0 || superpixel > regions ? 0 : ids[superpixel - 1];
}
