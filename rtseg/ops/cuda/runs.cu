// The runs of a color image with their components, in raster order: what the host needs of a segmented frame, about a
// hundredth of its pixels' bytes. Counted row by row, scanned by compact_scan, written row by row.

#include "common.cuh"

__device__ __forceinline__ bool run_begins(const u8* row, int x) {
    return row[x] != 0 && (x == 0 || row[x - 1] != row[x]);
}

// One block a row: counts[y] = runs of row y.
extern "C" __global__ void __launch_bounds__(256) runs_count(const u8* labels, int width, int* counts) {
    const u8* row = labels + (i64)blockIdx.x * width;
    int mine = 0;
    for (int x = threadIdx.x; x < width; x += blockDim.x) mine += run_begins(row, x);
    int total;
    scan_block(mine, &total);
    if (threadIdx.x == 0) counts[blockIdx.x] = total;
}

// One block a row, one stretch of it a thread; rows[y] is the first run of row y. Runs from `capacity` on are dropped.
extern "C" __global__ void __launch_bounds__(256)
    runs_write(const u8* labels, const int* components, int width, const int* rows, int* starts, int* ends, int* ids,
               int* colors, int capacity) {
    const u8* row = labels + (i64)blockIdx.x * width;
    const int stretch = (width + (int)blockDim.x - 1) / (int)blockDim.x;
    const int begin = (int)threadIdx.x * stretch < width ? (int)threadIdx.x * stretch : width;
    const int end = begin + stretch < width ? begin + stretch : width;
    int mine = 0;
    for (int x = begin; x < end; ++x) mine += run_begins(row, x);
    int total;
    int starting = rows[blockIdx.x] + scan_block(mine, &total);
    // A run that crosses the border of the stretch has started before it and not yet ended.
    int ending = starting - (begin > 0 && begin < width && row[begin] != 0 && row[begin - 1] == row[begin]);
    for (int x = begin; x < end; ++x) {
        if (row[x] == 0) continue;
        if (run_begins(row, x)) {
            if (starting < capacity) {
                starts[starting] = x;
                ids[starting] = components[(i64)blockIdx.x * width + x];
                colors[starting] = row[x];
            }
            ++starting;
        }
        if (x + 1 == width || row[x + 1] != row[x]) {
            if (ending < capacity) ends[ending] = x + 1;
            ++ending;
        }
    }
}
