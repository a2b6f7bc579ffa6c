"""The blocks of pixels that a graph merge starts from, and the edges between them, summed over pairs of pixels.

A pair of pixels (y, x) and (y + dy, x + dx) joins two blocks that lie as far apart as the step goes whole, or one more,
on each axis: ``planes`` are those four sums for each of four directions, of which a step of whole blocks needs one.
A row of pairs is worked on value by value in loops of one thing each, of which the compiler makes vector code.
"""

from __future__ import annotations

import numpy as np

from rtseg.compiled import compiled, compiled_in_place


@compiled
def block_parts(parts, m, blocks, members):  # type: ignore[no-untyped-def]
    """Give each m x m block the part that most of its pixels are in; ties go to the first met.

    Args:
        parts: (H, W) int32 part of each pixel, 0 for none.
        m: side of a block.
        blocks: (h, w) int32, zeros; on return the part of each block.
        members: (H, W) int32; on return the part of each pixel that is in its block's, else 0.
    """
    height, width = parts.shape
    for by in range(blocks.shape[0]):
        for bx in range(blocks.shape[1]):
            best = 0
            won = 0
            for y in range(by * m, min(by * m + m, height)):
                for x in range(bx * m, min(bx * m + m, width)):
                    part = parts[y, x]
                    if part == 0 or part == won:
                        continue
                    count = 0
                    for qy in range(by * m, min(by * m + m, height)):
                        for qx in range(bx * m, min(bx * m + m, width)):
                            count += parts[qy, qx] == part
                    if count > best:
                        best = count
                        won = part
            blocks[by, bx] = won
            for y in range(by * m, min(by * m + m, height)):
                for x in range(bx * m, min(bx * m + m, width)):
                    members[y, x] = won if parts[y, x] == won else 0


@compiled_in_place
def _mean(ahead, back, values):  # type: ignore[no-untyped-def]
    for i in range(values.size):
        values[i] = np.float32(0.5) * (ahead[i] + back[i])


@compiled_in_place
def _agree(here, there, agreement):  # type: ignore[no-untyped-def]
    for i in range(agreement.size):
        agreement[i] += here[i] * there[i]


@compiled_in_place
def _disagree(here, there, agreement):  # type: ignore[no-untyped-def]
    for i in range(agreement.size):
        agreement[i] = agreement[i] if here[i] == there[i] else np.float32(0.0)


@compiled_in_place
def _refine(agreement, sigma, rise, values):  # type: ignore[no-untyped-def]
    """Weigh values by what equation 6 makes of the agreement, between two entries of its table."""
    for i in range(values.size):
        at = np.float32(4096.0) * min(agreement[i], np.float32(1.0))
        low = min(int(at), 4095)
        values[i] *= np.float32(sigma[low] + (at - low) * rise[low])


@compiled_in_place
def _weigh(here, there, values, weights):  # type: ignore[no-untyped-def]
    """Give fixed-point weights of the pairs inside one part, and 0 of others."""
    for i in range(values.size):
        weight = np.int32(np.rint(values[i] * np.float32(16777216.0)))
        weights[i] = weight if (here[i] == there[i]) & (here[i] != 0) else np.int32(0)


@compiled_in_place
def _count(here, there, numbers):  # type: ignore[no-untyped-def]
    for i in range(numbers.size):
        numbers[i] = (here[i] == there[i]) & (here[i] != 0)


@compiled_in_place
def _add_up(pixels, m, begin, end, plane):  # type: ignore[no-untyped-def]
    """Add the columns begin..end of all blocks in a row of pixels to the blocks' sums."""
    for k in range(begin, end):
        for b in range(plane.size):
            plane[b] += pixels[b * m + k]


@compiled
def _collect_row(  # type: ignore[no-untyped-def]
    maps, channel, distance, classes, things, members, groups, m, refine, tables, y, rows, sums, counts
):
    """Add all pairs whose first pixel lies in row y to its row of blocks; give the blocks touched."""
    height, width = members.shape
    values, agreement, weights, numbers = rows
    touched_from, touched_to = width, 0
    for direction in range(4, 8):
        dy = distance * (0 if direction == 4 else 1)
        dx = distance * (1 if direction == 4 else direction - 6)
        if y + dy >= height:
            continue
        left = max(0, -dx)
        right = min(width, width - dx)
        while left < right and (members[y, left] == 0 or members[y, left] != members[y + dy, left + dx]):
            left += 1
        while left < right and members[y, right - 1] != members[y + dy, right - 1 + dx]:
            right -= 1
        if left >= right:
            continue
        touched_from, touched_to = min(touched_from, left), max(touched_to, right)
        n = right - left
        here, there = members[y, left:right], members[y + dy, left + dx : right + dx]
        _mean(
            maps[channel + direction, y, left:right],
            maps[channel + 7 - direction, y + dy, left + dx : right + dx],
            values[:n],
        )
        if refine:
            agreement[:n] = 0.0
            for c in things:
                _agree(classes[c, y, left:right], classes[c, y + dy, left + dx : right + dx], agreement[:n])
            _disagree(groups[y, left:right], groups[y + dy, left + dx : right + dx], agreement[:n])
            _refine(agreement[:n], tables[0], tables[1], values[:n])
        weights[:left] = 0
        weights[right:] = 0
        numbers[:left] = 0
        numbers[right:] = 0
        _weigh(here, there, values[:n], weights[left:right])
        _count(here, there, numbers[left:right])
        plane = 4 * (direction - 4) + 2 * (y % m + dy % m >= m)
        split = m - dx % m
        _add_up(weights, m, 0, split, sums[plane])
        _add_up(weights, m, split, m, sums[plane + 1])
        _add_up(numbers, m, 0, split, counts[plane])
        _add_up(numbers, m, split, m, counts[plane + 1])
    return touched_from // m, (touched_to + m - 1) // m


@compiled
def collect_block_edges(maps, channel, distance, classes, things, members, groups, shape, m, refine, sigma, inner):  # type: ignore[no-untyped-def]
    """Average, refine and sum by blocks the edges of one distance; edges inside a block go to `inner`.

    Args:
        maps: (56, H, W) float32 affinities.
        channel: first of the distance's eight.
        distance: in pixels.
        classes: (C, H, W) float32 class probabilities.
        things: channels of objects.
        members: (H, W) int32 from `block_parts`.
        groups: (H, W) int32 super-class of each pixel.
        shape: rows and columns of blocks.
        m: side of a block.
        refine: weigh by semantics.
        sigma: (4097,) float64, see `agreement_weights`.
        inner: (2, blocks) float64; sums and counts of the edges inside blocks are added.

    Returns:
        Keys ``smaller << 32 | larger`` of pairs of blocks, block by block; float64 fixed-point sums; int32 counts.
    """
    height, width = members.shape
    columns = shape[1]
    steps = np.zeros(16, dtype=np.int64)
    planes = np.zeros(16, dtype=np.int64)
    kinds = 0
    for d in range(16):
        dy = distance * (0 if d < 4 else 1)
        dx = distance * (1 if d < 4 else d // 4 - 2)
        if (dy % m or d // 2 % 2 == 0) and (dx % m or d % 2 == 0):
            planes[kinds] = d
            steps[kinds] = (dy // m + d // 2 % 2) * columns + dx // m + d % 2
            kinds += 1
    most = kinds * shape[0] * columns
    keys = np.empty(most, dtype=np.int64)  # memory that nothing is written to costs nothing
    out_sums = np.empty(most, dtype=np.float64)
    out_counts = np.empty(most, dtype=np.int32)
    rows = (
        np.empty(width, dtype=np.float32),
        np.empty(width, dtype=np.float32),
        np.zeros(columns * m, dtype=np.int32),
        np.zeros(columns * m, dtype=np.int32),
    )
    sums = np.zeros((16, columns), dtype=np.int64)
    counts = np.zeros((16, columns), dtype=np.int32)
    tables = (sigma, sigma[1:] - sigma[:-1])
    used = 0
    for by in range(shape[0]):
        begin, end = columns, 0
        for y in range(by * m, min(by * m + m, height)):
            first, last = _collect_row(
                maps, channel, distance, classes, things, members, groups, m, refine, tables, y, rows, sums, counts
            )
            begin, end = min(begin, first), max(end, last)
        used = _emit(
            by * columns, begin, end, planes[:kinds], steps, sums, counts, inner, keys, out_sums, out_counts, used
        )
    return keys[:used], out_sums[:used], out_counts[:used]


@compiled_in_place
def _emit(row, begin, end, planes, steps, sums, counts, inner, keys, out_sums, out_counts, used):  # type: ignore[no-untyped-def]
    """List the edges of a row of blocks, and clear their sums."""
    for column in range(begin, end):
        b = row + column
        for i in range(planes.size):
            d = planes[i]
            number = counts[d, column]
            if number == 0:
                continue
            total = np.float64(sums[d, column])
            counts[d, column] = 0
            sums[d, column] = 0
            if steps[i] == 0:
                inner[0, b] += total
                inner[1, b] += number
                continue
            other = b + steps[i]
            keys[used] = (np.int64(min(b, other)) << 32) | np.int64(max(b, other))
            out_sums[used] = total
            out_counts[used] = number
            used += 1
    return used
