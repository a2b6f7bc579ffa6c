"""Pixel grids contracted tile by tile, then block by block, until the whole image is one graph.

A tile sees its own pixels and, of the world outside, only the strongest edge that leads out of each region. A region
whose best edge leads out waits; every contraction made is reciprocal-best in the graph of the whole image, so by the
theorem in `rtseg.grouping.gaec` the order of tiles, blocks and threads leaves no trace in the result. A tile's graph
stays in the cache, where a contraction costs a few times less than in the graph of a whole frame.
"""

from __future__ import annotations

import numpy as np

from rtseg.compiled import compiled
from rtseg.grouping.chains import add_edge, contract_graph, follow_chains, is_open, mark_open, start_node
from rtseg.ops.union_find import find_root


@compiled
def contract_tiles(weights, numbers, steps, mask, block, tile, threshold, root):  # type: ignore[no-untyped-def]  # noqa: C901
    """Contract every tile of one block on its own, mean linkage.

    Args:
        weights: (J, H, W) int32, summed fixed-point weights of the pair of pixel (y, x) and its neighbor at steps[j].
        numbers: (J,) int64, how many edges each weight stands for.
        steps: (J, 2) int64 (dy, dx), each to a later pixel, by increasing dy * W + dx.
        mask: (H, W) bool.
        block: (y0, y1, x0, x1).
        tile: side of the square tiles.
        threshold: fixed-point key.
        root: (H * W,) int32, written in this block: the name of each pixel's region.

    Returns:
        The edges that remain between regions of one tile, as names (m, 2) int32, sums (m,) float64, counts (m,) int32.
    """
    channels, height, width = weights.shape
    by0, by1, bx0, bx1 = block
    pixels = min(tile, by1 - by0) * min(tile, bx1 - bx0)
    edge = np.empty(8 * channels * pixels, dtype=np.uint32)
    value = edge.view(np.float64)
    count = np.empty(channels * pixels, dtype=np.int32)
    node = np.empty(8 * pixels, dtype=np.uint32)
    node_key = node.view(np.float64)
    bounds = np.empty(pixels, dtype=np.float64)
    parents = np.empty(pixels, dtype=np.int32)
    chain = np.empty(pixels + 1, dtype=np.uint32)
    room = 4096
    names = np.empty((room, 2), dtype=np.int32)
    sums = np.empty(room, dtype=np.float64)
    counts = np.empty(room, dtype=np.int32)
    used = 0
    for y0 in range(by0, by1, tile):
        for x0 in range(bx0, bx1, tile):
            y1 = min(y0 + tile, by1)
            x1 = min(x0 + tile, bx1)
            columns = x1 - x0
            n = (y1 - y0) * columns
            bound = bounds[:n]
            parent = parents[:n]
            for i in range(n):
                start_node(node, i, i)
                bound[i] = -1.0
                parent[i] = i
            edges = 0
            for y in range(y0, y1):
                for x in range(x0, x1):
                    if not mask[y, x]:
                        continue
                    a = (y - y0) * columns + (x - x0)
                    for j in range(channels):
                        dy = steps[j, 0]
                        dx = steps[j, 1]
                        number = numbers[j]
                        qy = y + dy
                        qx = x + dx
                        if qy < height and qx >= 0 and qx < width and mask[qy, qx]:
                            total = np.float64(weights[j, y, x])
                            if qy < y1 and qx >= x0 and qx < x1:
                                b = (qy - y0) * columns + (qx - x0)
                                add_edge(edge, value, count, node, edges, a, b, total, number)
                                edges += 1
                            else:
                                bound[a] = max(bound[a], total / number)
                        qy = y - dy
                        qx = x - dx
                        if (qy < y0 or qx < x0 or qx >= x1) and qy >= 0 and qx >= 0 and qx < width and mask[qy, qx]:
                            bound[a] = max(bound[a], weights[j, qy, qx] / number)
            follow_chains(edge, value, count, node, node_key, bound, threshold, parent, chain)
            base = y0 * width + x0
            for y in range(y0, y1):
                for x in range(x0, x1):
                    name = np.int64(node[8 * np.int64(find_root(parent, (y - y0) * columns + (x - x0))) + 2])
                    root[y * width + x] = base + (name // columns) * width + name % columns
            kept = mark_open(edge, value, edges, node, bound, threshold)
            if used + kept > room:
                room = 2 * (used + kept)
                more_names = np.empty((room, 2), dtype=np.int32)
                more_sums = np.empty(room, dtype=np.float64)
                more_counts = np.empty(room, dtype=np.int32)
                for i in range(used):  # assigning slices takes seconds to compile
                    more_names[i, 0], more_names[i, 1] = names[i, 0], names[i, 1]
                    more_sums[i] = sums[i]
                    more_counts[i] = counts[i]
                names, sums, counts = more_names, more_sums, more_counts
            for e in range(edges):
                if is_open(edge, node, e):
                    for end in range(2):
                        name = np.int64(node[8 * np.int64(edge[8 * e + 2 * end]) + 2])
                        names[used, end] = base + (name // columns) * width + name % columns
                    sums[used] = value[4 * e + 3]
                    counts[used] = count[e]
                    used += 1
    return names[:used].copy(), sums[:used].copy(), counts[:used].copy()


@compiled
def contract_block(  # type: ignore[no-untyped-def]  # noqa: C901
    weights, numbers, steps, mask, block, side, names, sums, counts, threshold, root, slot
):
    """Join the tiles of one block, mean linkage.

    Args:
        weights: as in `contract_tiles`.
        numbers: as in `contract_tiles`.
        steps: as in `contract_tiles`.
        mask: as in `contract_tiles`.
        block: as in `contract_tiles`.
        side: of the square parts that were contracted before; the block starts at a multiple of it.
        names: (m, 2) names of the edges that remain inside those parts.
        sums: (m,) their sums.
        counts: (m,) their counts.
        threshold: as in `contract_tiles`.
        root: (H * W,) int32; regions merged here are given their new names.
        slot: (H * W,) int32 scratch; this block's pixels only are touched.

    Returns:
        The edges that remain inside this block, as `contract_tiles` returns them.
    """
    channels, height, width = weights.shape
    y0, y1, x0, x1 = block
    for y in range(y0, y1):
        for x in range(x0, x1):
            slot[y * width + x] = -1
    # pass 0 counts pixel edges across parts, pass 1 collects them
    crossing = 0
    keys = np.empty(0, dtype=np.int64)
    cross_sums = np.empty(0, dtype=np.float64)
    cross_counts = np.empty(0, dtype=np.int32)
    table = np.empty(0, dtype=np.int32)
    for collect in range(2):
        if collect == 1:
            size = 256
            while size < 2 * crossing:
                size *= 2
            table = np.full(size, -1, dtype=np.int32)
            keys = np.empty(crossing, dtype=np.int64)
            cross_sums = np.zeros(crossing, dtype=np.float64)
            cross_counts = np.zeros(crossing, dtype=np.int32)
            crossing = 0
        for j in range(channels):
            dy = steps[j, 0]
            dx = steps[j, 1]
            for y in range(y0, min(y1, y1 - dy)):
                row_crosses = (y - y0) // side != (y + dy - y0) // side
                left = max(x0, x0 - dx)
                right = min(x1, x1 - dx)
                for part in range(x0, x1, side):
                    begin = max(left, part)
                    end = min(right, part + side)
                    if not row_crosses:  # only the columns that leave the part sideways
                        if dx > 0:
                            begin = max(begin, part + side - dx)
                        elif dx < 0:
                            end = min(end, part - dx)
                        else:
                            continue
                    for x in range(begin, end):
                        if not (mask[y, x] and mask[y + dy, x + dx]):
                            continue
                        if collect == 0:
                            crossing += 1
                            continue
                        a = find_root(root, y * width + x)
                        b = find_root(root, (y + dy) * width + x + dx)
                        key = (np.int64(min(a, b)) << 32) | np.int64(max(a, b))
                        at = ((key * np.int64(-7046029254386353131)) >> 20) & (table.size - 1)
                        while table[at] >= 0 and keys[table[at]] != key:
                            at = (at + 1) & (table.size - 1)
                        if table[at] < 0:
                            table[at] = crossing
                            keys[crossing] = key
                            crossing += 1
                        cross_sums[table[at]] += weights[j, y, x]
                        cross_counts[table[at]] += numbers[j]
    inner = names.shape[0]
    m = inner + crossing
    first = np.empty(m, dtype=np.int32)
    second = np.empty(m, dtype=np.int32)
    all_sums = np.empty(m, dtype=np.float64)
    all_counts = np.empty(m, dtype=np.int32)
    nodes = np.empty(min(2 * m, (y1 - y0) * (x1 - x0)), dtype=np.int32)
    n = 0
    for e in range(m):
        if e < inner:
            a = np.int64(names[e, 0])
            b = np.int64(names[e, 1])
            all_sums[e] = sums[e]
            all_counts[e] = counts[e]
        else:
            a = keys[e - inner] >> 32
            b = keys[e - inner] & 0xFFFFFFFF
            all_sums[e] = cross_sums[e - inner]
            all_counts[e] = cross_counts[e - inner]
        if slot[a] < 0:
            slot[a] = n
            nodes[n] = a
            n += 1
        if slot[b] < 0:
            slot[b] = n
            nodes[n] = b
            n += 1
        first[e] = slot[a]
        second[e] = slot[b]
    bound = np.full(n, -1.0)
    for j in range(channels):
        dy = steps[j, 0]
        dx = steps[j, 1]
        for y in range(y0, y1):
            for x in range(x0, x1):
                if dy <= y - y0 and y + dy < y1 and x >= x0 + abs(dx) and x < x1 - abs(dx):
                    continue
                if not mask[y, x]:
                    continue
                for sign in range(-1, 2, 2):
                    qy = y + sign * dy
                    qx = x + sign * dx
                    if qy < 0 or qy >= height or qx < 0 or qx >= width or not mask[qy, qx]:
                        continue
                    if qy >= y0 and qy < y1 and qx >= x0 and qx < x1:
                        continue
                    s = slot[find_root(root, y * width + x)]
                    if s >= 0:
                        w = weights[j, y, x] if sign > 0 else weights[j, qy, qx]
                        bound[s] = max(bound[s], w / numbers[j])
    parent, new_names, out_first, out_second, out_sums, out_counts = contract_graph(
        nodes[:n], bound, first, second, all_sums, all_counts, threshold
    )
    for i in range(n):
        root[nodes[i]] = new_names[find_root(parent, i)]
    kept = out_first.size
    out_names = np.empty((kept, 2), dtype=np.int32)
    for e in range(kept):
        out_names[e, 0] = new_names[out_first[e]]
        out_names[e, 1] = new_names[out_second[e]]
    return out_names, out_sums, out_counts


@compiled
def pixel_edges(weights, numbers, steps, mask):  # type: ignore[no-untyped-def]
    """List the edges between pixels, last pixels first: first, second pixel (m,) int32 and means (m,) float64."""
    channels, height, width = weights.shape
    first = np.empty(weights.size, dtype=np.int32)
    second = np.empty(weights.size, dtype=np.int32)
    means = np.empty(weights.size, dtype=np.float64)
    used = 0
    for y in range(height - 1, -1, -1):  # in the order of ties
        for x in range(width - 1, -1, -1):
            for j in range(channels - 1, -1, -1):
                qy = y + steps[j, 0]
                qx = x + steps[j, 1]
                if mask[y, x] and qy < height and qx >= 0 and qx < width and mask[qy, qx]:
                    first[used] = y * width + x
                    second[used] = qy * width + qx
                    means[used] = weights[j, y, x] / numbers[j]
                    used += 1
    return first[:used], second[:used], means[:used]


@compiled
def name_pixels(parent, names, root):  # type: ignore[no-untyped-def]
    """Write the name of each pixel's region."""
    for p in range(root.size):
        root[p] = names[find_root(parent, p)]
