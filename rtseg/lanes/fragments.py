"""Fragments of lane lines: what each connected component of a color covers, row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled_in_place
from rtseg.ops import Runs

MAX_FRAGMENTS = 48  # the largest are kept: more than any road has, few enough that garbage costs no time


class Fragments:
    """Row sums of F fragments over H image rows; adding the rows of two fragments gives those of their union.

    Attributes:
        widths: (F, H) float32, pixels in the row.
        sums: (F, H) float64, sum of the pixels' x; ``sums / widths`` is the mean x of the paper's section V-A.
        left: (F, H) int32, leftmost x in the row; the image's width where the row is empty.
        right: (F, H) int32, rightmost x in the row plus one; 0 where the row is empty.
        runs: (r,) int32, the fragment of every run, -1 where it was too small.
    """

    def __init__(self, count: int, size: tuple[int, int], runs: NDArray[np.int32]) -> None:
        height, width = size
        self.widths = np.zeros((count, height), np.float32)
        self.sums = np.zeros((count, height), np.float64)
        self.left = np.full((count, height), width, np.int32)
        self.right = np.zeros((count, height), np.int32)
        self.runs = runs

    def __len__(self) -> int:
        return len(self.widths)

    def absorb(self, keep: int, drop: int) -> None:
        """Add the rows of fragment `drop` to those of `keep`."""
        self.widths[keep] += self.widths[drop]
        self.sums[keep] += self.sums[drop]
        np.minimum(self.left[keep], self.left[drop], out=self.left[keep])
        np.maximum(self.right[keep], self.right[drop], out=self.right[keep])

    def chosen(self, which: NDArray[np.intp]) -> Fragments:
        """Copies of the rows of some fragments; without runs."""
        part = Fragments(0, (self.widths.shape[1], 0), np.empty(0, np.int32))
        part.widths, part.sums = self.widths[which], self.sums[which]
        part.left, part.right = self.left[which], self.right[which]
        return part

    def put(self, which: NDArray[np.intp], part: Fragments) -> None:
        """Put back the rows that :meth:`chosen` gave."""
        self.widths[which], self.sums[which] = part.widths, part.sums
        self.left[which], self.right[which] = part.left, part.right


@compiled_in_place
def _areas(starts, ends, rows, components, areas, tops, bottoms):  # type: ignore[no-untyped-def]
    for y in range(len(rows) - 1):
        for run in range(rows[y], rows[y + 1]):
            component = components[run] - 1
            if areas[component] == 0:
                tops[component] = y
            bottoms[component] = y
            areas[component] += ends[run] - starts[run]


@compiled_in_place
def _number(areas, tops, bottoms, area, rows, table):  # type: ignore[no-untyped-def]
    """Number the regions that are large and tall enough from 0 on, at their labels in `table`; give how many."""
    count = 0
    for i in range(len(areas)):
        if areas[i] >= area and bottoms[i] - tops[i] + 1 >= rows:
            table[i + 1] = count
            count += 1
    return count


@compiled_in_place
def _add_rows(starts, ends, rows, fragments, widths, sums, left, right):  # type: ignore[no-untyped-def]
    for y in range(len(rows) - 1):
        for run in range(rows[y], rows[y + 1]):
            fragment = fragments[run]
            if fragment >= 0:
                length = ends[run] - starts[run]
                widths[fragment, y] += length
                sums[fragment, y] += 0.5 * length * (starts[run] + ends[run] - 1)
                left[fragment, y] = min(left[fragment, y], starts[run])
                right[fragment, y] = max(right[fragment, y], ends[run])


@compiled_in_place
def _fork(widths, left, right, rows, forked):  # type: ignore[no-untyped-def]
    """Write which fragments fork: `rows` of their rows are open, and a tenth of those they cover.

    A row is open where more lies between its outermost pixels than is covered; holes and ragged borders of nearly
    horizontal lines leave few such rows.
    """
    for i in range(len(widths)):
        covered, opened = 0, 0
        for y in range(widths.shape[1]):
            covered += widths[i, y] > 0
            opened += right[i, y] - left[i, y] > 2 * widths[i, y]
        forked[i] = opened >= max(rows, 0.1 * covered)


@compiled_in_place
def _split_strands(starts, ends, rows, fragments, forked, first_new, strands):  # type: ignore[no-untyped-def]
    """Number the strands of forked fragments: runs of neighboring rows that touch each other and nothing else.

    Writes the strand of every run of a forked fragment to `strands` from `first_new` on, and gives the next number.
    """
    following = first_new
    for y in range(len(rows) - 1):
        for run in range(rows[y], rows[y + 1]):
            fragment = fragments[run]
            if fragment < 0 or not forked[fragment]:
                continue
            above = -1
            count = 0
            if y > 0:
                for other in range(rows[y - 1], rows[y]):
                    if fragments[other] == fragment and starts[other] <= ends[run] and starts[run] <= ends[other]:
                        above = other
                        count += 1
            if count == 1:  # the run above must have no other run below it
                count = 0
                for other in range(rows[y], rows[y + 1]):
                    if fragments[other] == fragment and starts[other] <= ends[above] and starts[above] <= ends[other]:
                        count += 1
            if count == 1:
                strands[run] = strands[above]
            else:
                strands[run] = following
                following += 1
    return following


def _renumber(runs: Runs, regions: NDArray[np.int32], count: int, area: float, rows: float) -> NDArray[np.int32]:
    """Number the regions 1..count that are large and tall enough 0, 1, ...; -1 for the runs of the others."""
    areas, tops, bottoms = np.zeros((3, count), np.int64)
    table = np.full(count + 1, -1, np.int32)
    _areas(runs.starts, runs.ends, runs.rows, regions, areas, tops, bottoms)
    if _number(areas, tops, bottoms, area, rows, table) > MAX_FRAGMENTS:
        kept = np.flatnonzero(table >= 0)
        kept = np.sort(kept[np.argsort(-areas[kept - 1], kind="stable")[:MAX_FRAGMENTS]])
        table[:] = -1
        table[kept] = np.arange(len(kept))
    return table[regions]


def _measure(runs: Runs, numbers: NDArray[np.int32], size: tuple[int, int]) -> Fragments:
    found = Fragments(int(numbers.max(initial=-1)) + 1, size, numbers)
    _add_rows(runs.starts, runs.ends, runs.rows, numbers, found.widths, found.sums, found.left, found.right)
    return found


def find_fragments(runs: Runs, size: tuple[int, int], area: float, rows: float) -> Fragments:
    """Measure the components that may be parts of lane lines.

    A component that forks, such as two lines of one color that meet far ahead, is cut into its strands, for the mean x
    of a row would fall between the two.

    Args:
        runs: components of the color image.
        size: (H, W) of the image.
        area: pixels that a fragment must have.
        rows: rows that a fragment must span.
    """
    numbers = _renumber(runs, runs.components, runs.count, area, rows)
    found = _measure(runs, numbers, size)
    forked = np.empty(len(found), np.bool_)
    _fork(found.widths, found.left, found.right, rows, forked)
    if not forked.any():
        return found
    strands = (numbers + 1).astype(np.int32)
    count = _split_strands(runs.starts, runs.ends, runs.rows, numbers, forked, len(found) + 1, strands)
    return _measure(runs, _renumber(runs, strands, count - 1, area, rows), size)
