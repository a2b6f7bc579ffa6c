"""Multi-label connected components by runs and union-find.

Every row is cut into runs of equal, non-zero labels; runs of neighboring rows that touch and have the same label are
united. The parent of a run is never a later run, so the root of a component is its first run in raster order: numbering
the roots in order gives ids in raster order of first pixels, and strips of rows labelled on their own and then united
along their seams give the identical result. Pictures of runs of a few pixels go pixel by pixel
(`rtseg.ops.pixel_components`), with the same ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled, compiled_in_place
from rtseg.errors import ArgumentError
from rtseg.ops.bits import trailing_zeros
from rtseg.ops.pixel_components import is_thin, label_pixels
from rtseg.ops.threads import run_strips, strip_bounds

_MAX_STRIPS = 16
_BLOCK = np.uintp(16)  # pixels painted at once


@dataclass(frozen=True)
class Runs:
    """The foreground of a label image as horizontal runs, in raster order.

    Attributes:
        starts: (r,) int32 column of each run's first pixel.
        ends: (r,) int32 column after each run's last pixel.
        rows: (H + 1,) int32; the runs of row y are ``rows[y]`` to ``rows[y + 1]``.
        components: (r,) int32 component id, 1..count.
        count: number of components.
    """

    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    rows: NDArray[np.int32]
    components: NDArray[np.int32]
    count: int


# Indices are unsigned in what follows: for a signed one Numba first asks whether it counts from the end.


@compiled(inline="always")
def _find(parent, run):  # type: ignore[no-untyped-def]
    above = np.uintp(parent[run])
    while above != run:
        grand = parent[above]
        parent[run] = grand
        run = above
        above = np.uintp(grand)
    return run


@compiled(inline="always")
def _unite(parent, a, b):  # type: ignore[no-untyped-def]
    a = _find(parent, a)
    b = _find(parent, b)
    if a < b:
        parent[b] = a
    elif b < a:
        parent[a] = b


@compiled_in_place
def unite_rows(values, reach, starts, ends, parent, above, above_end, here, here_end):  # type: ignore[no-untyped-def]
    """Unite touching runs of equal value of a row (`here`..`here_end`) and the one above (`above`..`above_end`)."""
    one = np.uintp(1)
    above, above_end, here, here_end = np.uintp(above), np.uintp(above_end), np.uintp(here), np.uintp(here_end)
    while above < above_end and here < here_end:
        # Runs [s, e) touch over the edge when they share a column; over a corner too when they are one column apart.
        end_above, end_here = ends[above], ends[here]
        touch = (starts[above] < end_here + reach) & (starts[here] < end_above + reach)
        if touch & (values[above] == values[here]):
            _unite(parent, above, here)
        # The run that ends first touches nothing further, except over a corner where both end in the same column: then
        # the next run below is met after the step, and the next run above here.
        if end_above < end_here:
            above += one
            continue
        if reach == 1 and end_above == end_here:
            after = above + one
            if after < above_end and starts[after] == end_here and values[after] == values[here]:
                _unite(parent, after, here)
        here += one


@compiled_in_place
def _label_strip(labels, y0, y1, reach, base, starts, ends, values, rows, row_ends, parent, edge, words):  # type: ignore[no-untyped-def]
    """Find the runs of rows y0..y1, number them from `base`, and unite them within the strip.

    `edge` is a buffer of one byte a pixel, 1 where a run begins, and `words` the same memory as 8-byte words: stretches
    without an edge are passed eight pixels at a time.
    """
    width = labels.shape[1]
    zero = labels.dtype.type(0)
    one = np.uint64(1)
    run = np.uintp(base)
    for y in range(y0, y1):
        row = labels[y]
        for x in range(1, width):
            edge[x] = row[x] != row[x - 1]
        rows[y] = run
        begin = 0
        value = row[0]
        for word in range(len(words)):
            bits = words[word]
            while bits != 0:
                x = 8 * word + (trailing_zeros(bits) >> 3)
                bits &= bits - one
                # Written without a branch on the label: a background run is overwritten by the next run.
                starts[run] = begin
                ends[run] = x
                values[run] = value
                parent[run] = run
                run += np.uintp(value != zero)
                value = row[np.uintp(x)]
                begin = x
        if value != zero:
            starts[run] = begin
            ends[run] = width
            values[run] = value
            parent[run] = run
            run += np.uintp(1)
        row_ends[y] = run
        if y > y0:
            unite_rows(values, reach, starts, ends, parent, rows[y - 1], row_ends[y - 1], rows[y], run)
    return run


@compiled_in_place
def _unite_seams(values, bounds, reach, starts, ends, rows, row_ends, parent):  # type: ignore[no-untyped-def]
    for i in range(1, len(bounds) - 1):
        y = bounds[i]
        if bounds[i - 1] < y < bounds[i + 1]:
            unite_rows(values, reach, starts, ends, parent, rows[y - 1], row_ends[y - 1], rows[y], row_ends[y])


@compiled_in_place
def number_roots(rows, row_ends, bounds, parent):  # type: ignore[no-untyped-def]
    """Turn parents into ids 1..count in place; a parent is numbered before its children since it comes first."""
    count = 0
    for i in range(len(bounds) - 1):
        if bounds[i] == bounds[i + 1]:
            continue
        for run in range(rows[bounds[i]], row_ends[bounds[i + 1] - 1]):
            if parent[run] == run:
                count += 1
                parent[run] = count
            else:
                parent[run] = parent[parent[run]]
    return count


@compiled(inline="always")
def _paint_over(out, begin, end, value):  # type: ignore[no-untyped-def]
    """Write `value` sixteen at a time, up to fifteen past `end`: what comes after is painted later."""
    at, stop = np.uintp(begin), np.uintp(end)  # unsigned: an index that may be negative is no vector store
    while at < stop:
        for k in range(_BLOCK):
            out[at + k] = value
        at += _BLOCK


@compiled_in_place
def _paint_strip(y0, y1, width, starts, ends, rows, row_ends, ids, out):  # type: ignore[no-untyped-def]
    """Paint rows y0..y1 of the flat `out` in order; the last ones exactly, for another thread paints what follows."""
    last = y1 * width
    for y in range(y0, y1):
        base = y * width
        done = base
        careful = last - base < width + 16
        for run in range(rows[y], row_ends[y]):
            begin, end = base + starts[run], base + ends[run]
            if careful:
                out[done:begin] = 0
                out[begin:end] = ids[run]
            else:
                _paint_over(out, done, begin, 0)
                _paint_over(out, begin, end, ids[run])
            done = end
        out[done : base + width] = 0


def _as_labels(labels: object) -> NDArray[np.integer]:
    """Check a label image and give it as a C-contiguous uint8, int32 or int64 array with the same equalities."""
    if not isinstance(labels, np.ndarray) or labels.ndim != 2 or labels.dtype.kind not in "bui":
        what = (
            f"{labels.dtype} array of shape {labels.shape}" if isinstance(labels, np.ndarray) else type(labels).__name__
        )
        raise ArgumentError(f"expected an (H, W) integer or bool label image, got {what}; cast it to int32 first")
    if labels.size >= 2**31:
        raise ArgumentError(
            f"expected fewer than 2**31 pixels, since component ids are int32, got "
            f"{labels.shape[0]}x{labels.shape[1]}; label it in tiles"
        )
    if not labels.dtype.isnative:
        labels = labels.astype(labels.dtype.newbyteorder("="))
    if labels.dtype.itemsize == 1:
        return np.ascontiguousarray(labels).view(np.uint8)
    if labels.dtype.itemsize == 2:
        return np.ascontiguousarray(labels, dtype=np.int32)
    return np.ascontiguousarray(labels).view(np.int32 if labels.dtype.itemsize == 4 else np.int64)


def _strips(labels: NDArray[np.integer], connectivity: int, strips: int) -> list[int]:
    if connectivity not in (4, 8):
        raise ArgumentError(
            f"expected connectivity 4 or 8, got {connectivity!r}; pass 4 (edges) or 8 (edges and corners)"
        )
    height, width = labels.shape
    if width == 0:
        height = 0
    return strip_bounds(height, max(1, min(strips, height, _MAX_STRIPS)))


def _find_runs(labels: NDArray[np.integer], connectivity: int, bounds: list[int]):  # type: ignore[no-untyped-def]
    width = labels.shape[1]
    strips = len(bounds) - 1
    reach = 1 if connectivity == 8 else 0
    # Room for the worst case, a run a pixel: pages that are never written are never mapped.
    starts, ends, parent = (np.empty(labels.size, np.int32) for _ in range(3))
    values = np.empty(labels.size, labels.dtype)
    rows, row_ends = np.zeros(labels.shape[0], np.int32), np.zeros(labels.shape[0], np.int32)

    def label(i: int) -> None:
        edge = np.zeros(-(-width // 8) * 8, np.uint8)
        _label_strip(
            labels, bounds[i], bounds[i + 1], reach, bounds[i] * width, starts, ends, values, rows, row_ends,
            parent, edge, edge.view(np.uint64),
        )  # fmt: skip

    run_strips(label, strips)
    edges = np.array(bounds)
    if strips > 1:
        _unite_seams(values, edges, reach, starts, ends, rows, row_ends, parent)
    count = int(number_roots(rows, row_ends, edges, parent))
    return starts, ends, rows, row_ends, parent, count


def label_components(
    labels: NDArray[np.integer], connectivity: int = 8, threads: int = 1
) -> tuple[NDArray[np.int32], int]:
    """Label the connected components of a label image: neighboring pixels join when they are equal and not 0.

    Args:
        labels: (H, W) integer or bool, 0 is background.
        connectivity: 4 (neighbors over edges) or 8 (over corners too).
        threads: strips of rows worked on in parallel; the result does not depend on it.

    Returns:
        (H, W) int32 components, 0 where `labels` is 0, else 1..count in raster order of first pixels; and the count.

    Raises:
        ArgumentError: if `labels` is not a 2-D integer array of under 2**31 pixels or the connectivity is neither.

    Example:
        >>> components, count = label_components(np.array([[5, 5, 0], [0, 0, 5]]), connectivity=4)
        >>> components.tolist(), count
        ([[1, 1, 0], [0, 0, 2]], 2)
    """
    image = _as_labels(labels)
    bounds = _strips(image, connectivity, threads)
    _compile_both(image.dtype, image.flags.writeable)
    return (label_pixels if is_thin(image) else _paint_runs)(image, connectivity, bounds)


def _paint_runs(labels: NDArray[np.integer], connectivity: int, bounds: list[int]) -> tuple[NDArray[np.int32], int]:
    starts, ends, rows, row_ends, ids, count = _find_runs(labels, connectivity, bounds)
    components = np.empty(labels.shape, np.int32)
    flat = components.reshape(-1)

    def paint(i: int) -> None:
        _paint_strip(bounds[i], bounds[i + 1], labels.shape[1], starts, ends, rows, row_ends, ids, flat)

    run_strips(paint, len(bounds) - 1)
    return components, count


@cache
def _compile_both(kind: np.dtype[np.integer], writeable: bool) -> None:
    """Compile both ways for a type of labels: the next picture may need the one that this does not."""
    labels = np.ones((2, 1), kind)
    labels.flags.writeable = writeable
    for label in (label_pixels, _paint_runs):
        label(labels, 8, [0, 1, 2])


def label_runs(labels: NDArray[np.integer], connectivity: int = 8) -> Runs:
    """Like :func:`label_components`, but leave the components as runs: cheap where little is foreground.

    Args:
        labels: (H, W) integer or bool, 0 is background.
        connectivity: 4 or 8.

    Raises:
        ArgumentError: as :func:`label_components`.
    """
    image = _as_labels(labels)
    starts, ends, rows, row_ends, ids, count = _find_runs(image, connectivity, _strips(image, connectivity, 1))
    total = int(row_ends[-1]) if len(row_ends) else 0
    return Runs(starts[:total], ends[:total], np.append(rows, np.int32(total)), ids[:total], count)
