"""Cells between four source pixels of maps that are enlarged: what may be in one, and which channel leads where."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rtseg.compiled import compiled_in_place

WORD = 64
"""Columns of which a word's bits tell."""

_BLOCK = 16  # columns looked at at once
_AT_ONCE = np.uintp(_BLOCK)
_INT = ir.IntType(32)


@compiled_in_place
def corners_of(maps, top, left):  # type: ignore[no-untyped-def]
    """Give the source rows above and below a cell of (C, h, w) maps, and the columns to its left and to its right."""
    return top, min(top + 1, maps.shape[1] - 1), left, min(left + 1, maps.shape[2] - 1)


@compiled_in_place
def find_contenders(maps, top, below, left, right, peaks, contenders):  # type: ignore[no-untyped-def]
    """List the channels that may win somewhere between four source pixels, and count them.

    A channel that nowhere among them reaches what another never falls below cannot.
    """
    floor = np.float32(-np.inf)
    for c in range(maps.shape[0]):
        a, b, d, e = maps[c, top, left], maps[c, top, right], maps[c, below, left], maps[c, below, right]
        peaks[c] = max(max(a, b), max(d, e))
        floor = max(floor, min(min(a, b), min(d, e)))
    count = 0
    for c in range(maps.shape[0]):
        if peaks[c] >= floor:
            contenders[count] = c
            count += 1
    return count


@compiled_in_place
def line_of(maps, channel, top, below, left, right, v):  # type: ignore[no-untyped-def]
    """Interpolate a channel down to `v` between the rows: at the left column, and what it gains to the right."""
    start = maps[channel, top, left] + (maps[channel, below, left] - maps[channel, top, left]) * v
    end = maps[channel, top, right] + (maps[channel, below, right] - maps[channel, top, right]) * v
    return start, end - start


@compiled_in_place
def lean(maps, contenders, count, top, below, left, right, v, starts, slopes):  # type: ignore[no-untyped-def]
    """Interpolate the contenders down to `v` between the rows."""
    for k in range(count):
        starts[k], slopes[k] = line_of(maps, contenders[k], top, below, left, right, v)


@compiled_in_place
def leader_at(count, starts, slopes, u):  # type: ignore[no-untyped-def]
    """Give the contender with the greatest value at `u` between the columns."""
    best = starts[0] + slopes[0] * u
    leader = 0
    for k in range(1, count):
        value = starts[k] + slopes[k] * u
        leader = k if value > best else leader
        best = max(value, best)
    return leader


def _splat(builder, value):  # type: ignore[no-untyped-def]
    one = builder.insert_element(ir.Constant(ir.VectorType(value.type, _BLOCK), ir.Undefined), value, _INT(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_INT, _BLOCK), None))


def _vector_at(context, builder, kind, array, at):  # type: ignore[no-untyped-def]
    data = context.make_array(kind)(context, builder, array).data
    place = builder.gep(data, [at])
    return builder.bitcast(place, ir.VectorType(place.type.pointee, _BLOCK).as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def _exceeds(context, weights, at, start, slope, other_start, other_slope):  # type: ignore[no-untyped-def]
    """Tell at sixteen columns from `at` on where a second line is above a first, a bit a column.

    Numba unrolls a loop of sixteen instead, at several times the time.
    """
    number = types.float32
    signature = types.uint64(weights, types.uintp, number, number, number, number)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        place = _vector_at(context, builder, signature.args[0], *arguments[:2])
        start, slope, other_start, other_slope = (_splat(builder, value) for value in arguments[2:])
        u = builder.load(place, align=4)
        value, other = (builder.fadd(a, builder.fmul(b, u)) for a, b in ((start, slope), (other_start, other_slope)))
        above = builder.bitcast(builder.fcmp_ordered(">", other, value), ir.IntType(_BLOCK))
        return builder.zext(above, ir.IntType(64))

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def _write(context, bits, first, second, out, at):  # type: ignore[no-untyped-def]
    """Write to sixteen columns of `out` from `at` on the second value where a bit is set, else the first."""
    kind = out.dtype
    signature = types.void(types.uint64, kind, kind, out, types.uintp)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        word, first, second, array, at = arguments
        bits = builder.bitcast(builder.trunc(word, ir.IntType(_BLOCK)), ir.VectorType(ir.IntType(1), _BLOCK))
        chosen = builder.select(bits, _splat(builder, second), _splat(builder, first))
        builder.store(chosen, _vector_at(context, builder, signature.args[3], array, at), align=kind.bitwidth // 8)
        return context.get_dummy_value()

    return signature, generate


@compiled_in_place
def second_leads(maps, pair, corners, v, x_weight, begin, end):  # type: ignore[no-untyped-def]
    """Tell of two channels where, in a row of a cell, the second is the greater.

    Args:
        maps: (C, h, w) float32.
        pair: the two channels; of equal values the first's counts.
        corners: the source rows above and below, the columns to the left and to the right.
        v: of the row, between the source rows.
        x_weight: (W,) of columns, between the source columns.
        begin: first column.
        end: after the last one, 64 columns further at most.

    Returns:
        uint64, of which bit i stands for column begin + i.
    """
    start, slope = line_of(maps, pair[0], *corners, v)
    other, other_slope = line_of(maps, pair[1], *corners, v)
    bits = np.uint64(0)
    first, stop = np.uintp(begin), np.uintp(end)  # unsigned: an index that may be negative is no vector load
    at = first
    while at < stop and at + _AT_ONCE <= x_weight.size:
        bits |= _exceeds(x_weight, at, start, slope, other, other_slope) << (at - first)
        at += _AT_ONCE
    while at < stop:
        u = x_weight[at]
        bits |= np.uint64(other + other_slope * u > start + slope * u) << (at - first)
        at += np.uintp(1)
    return bits & all_of(end - begin)


@compiled_in_place
def all_of(count):  # type: ignore[no-untyped-def]
    """Give a word in which so many bits are set, 1 to 64."""
    return ~np.uint64(0) >> np.uint64(WORD - count)


@compiled_in_place
def write_bits(bits, begin, end, first, second, out):  # type: ignore[no-untyped-def]
    """Write to the columns begin..end of a row the second value where bit i is set, else the first.

    Up to fifteen columns further it writes what is none.
    """
    at, stop = np.uintp(begin), np.uintp(end)
    while at < stop and at + _AT_ONCE <= out.size:
        _write(bits, first, second, out, at)
        bits >>= np.uint64(_BLOCK)
        at += _AT_ONCE
    while at < stop:
        out[at] = second if bits & np.uint64(1) else first
        bits >>= np.uint64(1)
        at += np.uintp(1)


@compiled_in_place
def color_cell(maps, contenders, count, corners, y_weight, x_weight, y, y_end, begin, end, starts, slopes, out, at_y):  # type: ignore[no-untyped-def]
    """Write the leaders between four source pixels to `out`, and up to fifteen columns further what is none.

    Args:
        maps: (C, h, w) float32.
        contenders: from `find_contenders`.
        count: how many.
        corners: the source rows above and below, the columns to the left and to the right.
        y_weight: (H,) of each row, between the source rows.
        x_weight: (W,) likewise of columns.
        y: first row.
        y_end: after the last one.
        begin: first column.
        end: after the last one.
        starts: (C,) float32, a buffer.
        slopes: likewise.
        out: (rows, W) uint8.
        at_y: the row of `out` that y is.
    """
    if count == 2:  # nearly always
        pair = contenders[0], contenders[1]
        for row in range(y, y_end):
            for at in range(begin, end, WORD):
                stop = min(at + WORD, end)
                bits = second_leads(maps, pair, corners, y_weight[row], x_weight, at, stop)
                write_bits(bits, at, stop, *pair, out[at_y + row - y])
        return
    for row in range(y, y_end):
        lean(maps, contenders, count, *corners, y_weight[row], starts, slopes)
        for x in range(begin, end):
            out[at_y + row - y, x] = contenders[leader_at(count, starts, slopes, x_weight[x])]


@compiled_in_place
def list_cells(low, begins):  # type: ignore[no-untyped-def]
    """List where targets between the same two source pixels begin, and at last where all end; count these cells."""
    count = 0
    for i in range(low.size):
        if i == 0 or low[i] != low[i - 1]:
            begins[count] = i
            count += 1
    begins[count] = low.size
    return count


@compiled_in_place
def most_rows(low):  # type: ignore[no-untyped-def]
    """Give the most targets that lie between the same two source pixels."""
    most = 0
    begin = 0
    for i in range(low.size):
        if low[i] != low[begin]:
            begin = i
        most = max(most, i + 1 - begin)
    return most


@compiled_in_place
def part_row(values, top, below, x_low, cells, count, stretches):  # type: ignore[no-untyped-def]
    """Part a row of cells into stretches of one value and single cells of several, and count them.

    Args:
        values: (h, w) integers, not negative.
        top: the source row above.
        below: the source row below.
        x_low: (W,) source column left of each target.
        cells: from `list_cells` of those.
        count: how many.
        stretches: (count, 3) int32, written: begin and end of target columns, and the value, -1 for several.
    """
    last = values.shape[1] - 1
    used = 0
    for cell in range(count):
        left = x_low[cells[cell]]
        right = min(left + 1, last)
        value = np.int32(values[top, left])
        if value != values[top, right] or value != values[below, left] or value != values[below, right]:
            value = np.int32(-1)
        if used == 0 or value < 0 or stretches[used - 1, 2] != value:
            stretches[used, 0], stretches[used, 2] = cells[cell], value
            used += 1
        stretches[used - 1, 1] = cells[cell + 1]
    return used


@compiled_in_place
def fill(out, y, y_end, begin, end, value):  # type: ignore[no-untyped-def]
    """Write a value to the columns begin..end of the rows y..y_end."""
    first, length = np.uint64(begin), np.uint64(end - begin)  # unsigned indices need no check for negative ones
    for row in range(y, y_end):
        for x in range(length):
            out[row, first + x] = value
