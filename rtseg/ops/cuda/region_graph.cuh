// A region graph in hash tables, which merging.cu merges and other kernels fill.
// No #pragma once: the tests put every kernel file, with its headers, into a namespace of its own.

#define EMPTY 0xffffffffffffffffull
#define MOST_PROBES 1024

// Both tables are cut from the same arrays: table t has the slots t * slots ... of keys, sums and counts, the entries
// t * edges ... of list, which names its used slots, and list_size[t]. Likewise best, tie and rival hold regions values a
// round parity. Regions are 1-based in keys.
struct Graph {
    u64* keys;      // (2, slots): smaller region << 32 | larger region
    u64* sums;      // (2, slots)
    u32* counts;    // (2, slots)
    int* list;      // (2, edges)
    int* list_size; // (2)
    int slots;      // a power of two
    int edges;
    u64* best;   // (2, regions): 1 + bits of the highest key of the region's edges, 0 where none reaches the threshold
    u64* tie;    // (2, regions): the name pair of the edge that comes first
    u64* rival;  // (2, regions): the highest `best` of the neighbors over all edges but the first
    int* parent; // (regions): forest of merged regions, 0-based
    int regions;
    int* status;
    int* dirty;  // (1): 0 where both tables are empty, as a run that has ended well leaves them
};

#define GRAPH_PARAMETERS                                                                                               \
    u64 *keys, u64 *sums, u32 *counts, int *list, int *list_size, int slots, int edges, u64 *best, u64 *tie,           \
        u64 *rival, int *parent, int regions, int *status, int *dirty
#define GRAPH {keys, sums, counts, list, list_size, slots, edges, best, tie, rival, parent, regions, status, dirty}

__device__ __forceinline__ void add_edge(const Graph& graph, int table, u64 pair, u64 sum, u32 count) {
    u64* keys = graph.keys + (i64)table * graph.slots;
    int slot = (int)(mix_bits(pair) & (u64)(graph.slots - 1));
    for (int probe = 0; probe < MOST_PROBES; ++probe) {
        u64 found = load_relaxed(keys + slot);
        if (found == EMPTY) {
            found = atomicCAS(keys + slot, EMPTY, pair);
            if (found == EMPTY) {
                const int at = atomicAdd(graph.list_size + table, 1);
                if (at < graph.edges) graph.list[(i64)table * graph.edges + at] = slot;
                else atomicOr(graph.status, EDGE_OVERFLOW);
                found = pair;
            }
        }
        if (found == pair) {
            atomicAdd(graph.sums + (i64)table * graph.slots + slot, sum);
            atomicAdd(graph.counts + (i64)table * graph.slots + slot, count);
            return;
        }
        slot = (slot + 1) & (graph.slots - 1);
    }
    atomicOr(graph.status, EDGE_OVERFLOW);
}
