"""The blocks of pixels that a graph merge starts from, and the edges between them, summed over pairs of pixels."""

from __future__ import annotations

import numpy as np

from rtseg.compiled import compiled


@compiled
def block_parts(parts, m, blocks):  # type: ignore[no-untyped-def]
    """Give each m x m block the part that most of its pixels are in; ties go to the first met."""
    height, width = parts.shape
    for by in range(blocks.shape[0]):
        for bx in range(blocks.shape[1]):
            best = 0
            for y in range(by * m, min(by * m + m, height)):
                for x in range(bx * m, min(bx * m + m, width)):
                    part = parts[y, x]
                    if part == 0 or part == blocks[by, bx]:
                        continue
                    count = 0
                    for qy in range(by * m, min(by * m + m, height)):
                        for qx in range(bx * m, min(bx * m + m, width)):
                            count += parts[qy, qx] == part
                    if count > best:
                        best = count
                        blocks[by, bx] = part


@compiled
def collect_block_edges(maps, channel, distance, classes, things, parts, groups, blocks, m, refine, sigma, inner):  # type: ignore[no-untyped-def]  # noqa: C901
    """Average, refine and sum by blocks the edges of one distance; edges inside a block go to `inner`."""
    height, width = parts.shape
    columns = blocks.shape[1]
    # a pixel step spans one of two block steps on each axis: how far it goes whole, or one more
    sums = np.zeros((4, 2, 2, blocks.size), dtype=np.int64)
    counts = np.zeros((4, 2, 2, blocks.size), dtype=np.int32)
    touched = np.zeros((4, 2, 2), dtype=np.bool_)
    agreement = np.empty(width, dtype=np.float32)
    for direction in range(4, 8):
        dy = distance * (0 if direction == 4 else 1)
        dx = distance * (1 if direction == 4 else direction - 6)
        ahead = channel + direction
        back = channel + 7 - direction
        for y in range(0, height - dy):
            left = max(0, -dx)
            right = min(width, width - dx)
            while left < right and (parts[y, left] == 0 or parts[y, left] != parts[y + dy, left + dx]):
                left += 1
            while left < right and (parts[y, right - 1] == 0 or parts[y, right - 1] != parts[y + dy, right - 1 + dx]):
                right -= 1
            if left == right:
                continue
            if refine:
                agreement[left:right] = 0.0
                for i in range(things.size):
                    c = things[i]
                    for x in range(left, right):
                        agreement[x] += classes[c, y, x] * classes[c, y + dy, x + dx]
            by = y // m
            cy = (y + dy) // m
            for x in range(left, right):
                part = parts[y, x]
                if part == 0 or parts[y + dy, x + dx] != part:
                    continue
                bx = x // m
                cx = (x + dx) // m
                if blocks[by, bx] != part or blocks[cy, cx] != part:
                    continue
                value = np.float32(0.5) * (maps[ahead, y, x] + maps[back, y + dy, x + dx])
                if refine:
                    at = np.float32(4096.0) * min(agreement[x], np.float32(1.0))
                    if groups[y, x] != groups[y + dy, x + dx]:
                        at = np.float32(0.0)
                    low = min(int(at), 4095)
                    value *= np.float32(sigma[low] + (at - low) * (sigma[low + 1] - sigma[low]))
                weight = np.int64(np.rint(value * np.float32(16777216.0)))
                if cy == by and cx == bx:
                    inner[0, by * columns + bx] += weight
                    inner[1, by * columns + bx] += 1
                    continue
                i = cy - by - dy // m
                j = cx - bx - dx // m
                sums[direction - 4, i, j, by * columns + bx] += weight
                counts[direction - 4, i, j, by * columns + bx] += 1
                touched[direction - 4, i, j] = True
    total = 0
    for d in range(16):
        if touched[d // 4, d // 2 % 2, d % 2]:
            for b in range(blocks.size):
                total += counts[d // 4, d // 2 % 2, d % 2, b] > 0
    keys = np.empty(total, dtype=np.int64)
    out_sums = np.empty(total, dtype=np.int64)
    out_counts = np.empty(total, dtype=np.int64)
    used = 0
    for d in range(16):
        direction, i, j = d // 4 + 4, d // 2 % 2, d % 2
        if not touched[direction - 4, i, j]:
            continue
        dy = distance * (0 if direction == 4 else 1)
        dx = distance * (1 if direction == 4 else direction - 6)
        step = (dy // m + i) * columns + dx // m + j
        for b in range(blocks.size):
            if counts[direction - 4, i, j, b] > 0:
                keys[used] = (np.int64(min(b, b + step)) << 32) | np.int64(max(b, b + step))
                out_sums[used] = sums[direction - 4, i, j, b]
                out_counts[used] = counts[direction - 4, i, j, b]
                used += 1
    return keys, out_sums, out_counts
