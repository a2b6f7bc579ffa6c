"""Pixel grids contracted tile by tile, then block by block, until the whole image is one graph.

A tile sees its own pixels and, of the world outside, only the strongest edge that leads out of each region. A region
whose best edge leads out waits; every contraction made is reciprocal-best in the graph of the whole image, so by the
theorem in `rtseg.grouping.gaec` the order of tiles, blocks and threads leaves no trace in the result. A tile's graph
stays in the cache, where a contraction costs a few times less than in the graph of a whole frame.
"""

from __future__ import annotations

import numpy as np

from rtseg.compiled import compiled
from rtseg.grouping.contraction import add_edge, contract, contract_graph, is_open, mark_open, queue
from rtseg.ops.union_find import find_root


@compiled
def contract_tiles(weights, numbers, steps, mask, block, tile_rows, tile_columns, threshold, plain, root):  # type: ignore[no-untyped-def]  # noqa: C901
    """Contract every tile of one block on its own.

    Args:
        weights: (J, H, W) int32, summed fixed-point weights of the pair of pixel (y, x) and its neighbor at steps[j].
        numbers: (J,) int64, how many edges each weight stands for.
        steps: (J, 2) int64 (dy, dx), each to a later pixel, by increasing dy * W + dx.
        mask: (H, W) bool.
        block: (y0, y1, x0, x1).
        tile_rows: height of a tile.
        tile_columns: width of a tile.
        threshold: fixed-point key.
        plain: linkage.
        root: (H * W,) int32, written in this block: the name of each pixel's region.

    Returns:
        The edges that remain between regions of one tile, as names, names, sums, counts.
    """
    channels, height, width = weights.shape
    by0, by1, bx0, bx1 = block
    pixels = min(tile_rows, by1 - by0) * min(tile_columns, bx1 - bx0)
    most = channels * pixels
    half = np.empty(8 * most, dtype=np.int32)
    edge = np.empty(4 * most, dtype=np.float64)
    keys = np.empty(most, dtype=np.int32)
    tie = np.empty(most, dtype=np.int64)
    node = np.empty(4 * pixels, dtype=np.int32)
    bounds = np.empty(pixels, dtype=np.float64)
    parents = np.empty(pixels, dtype=np.int32)
    order = np.empty(most, dtype=np.int32)
    scratch = np.empty(most, dtype=np.int32)
    heap_key = np.empty(most, dtype=np.float64)
    heap_edge = np.empty(most, dtype=np.int32)
    room = 4096
    names = np.empty((room, 2), dtype=np.int32)
    values = np.empty((room, 2), dtype=np.float64)
    used = 0
    for y0 in range(by0, by1, tile_rows):
        for x0 in range(bx0, bx1, tile_columns):
            y1 = min(y0 + tile_rows, by1)
            x1 = min(x0 + tile_columns, bx1)
            columns = x1 - x0
            n = (y1 - y0) * columns
            bound = bounds[:n]
            parent = parents[:n]
            for i in range(n):
                node[4 * i] = -1
                node[4 * i + 1] = 0
                node[4 * i + 2] = i
                node[4 * i + 3] = 0
                bound[i] = -1.0
                parent[i] = i
            edges = 0
            for y in range(y1 - 1, y0 - 1, -1):  # edges in the order of ties
                for x in range(x1 - 1, x0 - 1, -1):
                    if not mask[y, x]:
                        continue
                    a = (y - y0) * columns + (x - x0)
                    for j in range(channels - 1, -1, -1):
                        dy = steps[j, 0]
                        dx = steps[j, 1]
                        number = numbers[j]
                        qy = y + dy
                        qx = x + dx
                        if qy < height and qx >= 0 and qx < width and mask[qy, qx]:
                            total = np.float64(weights[j, y, x])
                            if qy < y1 and qx >= x0 and qx < x1:
                                b = (qy - y0) * columns + (qx - x0)
                                if plain:
                                    add_edge(half, edge, tie, node, edges, a, b, total / number, 1.0, threshold)
                                else:
                                    add_edge(half, edge, tie, node, edges, a, b, total, np.float64(number), threshold)
                                edges += 1
                            else:
                                bound[a] = max(bound[a], total / number)
                        qy = y - dy
                        qx = x - dx
                        if (qy < y0 or qx < x0 or qx >= x1) and qy >= 0 and qx >= 0 and qx < width and mask[qy, qx]:
                            bound[a] = max(bound[a], weights[j, qy, qx] / number)
            sorted_edges, ordered, queued = queue(
                edge, tie, edges, threshold, keys, order, scratch, heap_key, heap_edge
            )
            contract(
                half, edge, tie, node, edges, bound, parent, sorted_edges, ordered, heap_key, heap_edge, queued,
                threshold, plain,
            )  # fmt: skip
            base = y0 * width + x0
            for y in range(y0, y1):
                for x in range(x0, x1):
                    name = node[4 * find_root(parent, (y - y0) * columns + (x - x0)) + 2]
                    root[y * width + x] = base + (name // columns) * width + name % columns
            kept = mark_open(half, edge, edges, node, bound, threshold)
            if used + kept > room:
                room = 2 * (used + kept)
                more_names = np.empty((room, 2), dtype=np.int32)
                more_names[:used] = names[:used]
                names = more_names
                more_values = np.empty((room, 2), dtype=np.float64)
                more_values[:used] = values[:used]
                values = more_values
            for e in range(edges):
                if is_open(half, edge, node, e):
                    for end in range(2):
                        name = node[4 * half[8 * e + 4 * end] + 2]
                        names[used, end] = base + (name // columns) * width + name % columns
                        values[used, end] = edge[4 * e + end]
                    used += 1
    return names[:used].copy(), values[:used].copy()


@compiled
def contract_block(  # type: ignore[no-untyped-def]  # noqa: C901
    weights, numbers, steps, mask, block, side, names, values, threshold, root, slot
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
        values: (m, 2) their sums and counts.
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
    totals = np.empty((0, 2), dtype=np.float64)
    table = np.empty(0, dtype=np.int32)
    for collect in range(2):
        if collect == 1:
            size = 256
            while size < 2 * crossing:
                size *= 2
            table = np.full(size, -1, dtype=np.int32)
            keys = np.empty(crossing, dtype=np.int64)
            totals = np.empty((crossing, 2), dtype=np.float64)
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
                            totals[crossing] = 0.0
                            crossing += 1
                        totals[table[at], 0] += weights[j, y, x]
                        totals[table[at], 1] += numbers[j]
    inner = names.shape[0]
    m = inner + crossing
    first = np.empty(m, dtype=np.int32)
    second = np.empty(m, dtype=np.int32)
    sums = np.empty(m, dtype=np.float64)
    counts = np.empty(m, dtype=np.float64)
    nodes = np.empty(min(2 * m, (y1 - y0) * (x1 - x0)), dtype=np.int32)
    n = 0
    for e in range(m):
        if e < inner:
            a = np.int64(names[e, 0])
            b = np.int64(names[e, 1])
            sums[e] = values[e, 0]
            counts[e] = values[e, 1]
        else:
            a = keys[e - inner] >> 32
            b = keys[e - inner] & 0xFFFFFFFF
            sums[e] = totals[e - inner, 0]
            counts[e] = totals[e - inner, 1]
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
        nodes[:n], bound, first, second, sums, counts, threshold, False
    )
    for i in range(n):
        root[nodes[i]] = new_names[find_root(parent, i)]
    kept = out_first.size
    out_names = np.empty((kept, 2), dtype=np.int32)
    out_values = np.empty((kept, 2), dtype=np.float64)
    for e in range(kept):
        out_names[e, 0] = new_names[out_first[e]]
        out_names[e, 1] = new_names[out_second[e]]
        out_values[e, 0] = out_sums[e]
        out_values[e, 1] = out_counts[e]
    return out_names, out_values
