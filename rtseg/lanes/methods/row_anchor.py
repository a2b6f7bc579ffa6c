"""Row-anchor networks: for each line and each of some fixed rows, in which cell of the row it is, or that it is not.

Ultra-Fast-Lane-Detection [Qin et al., ECCV 2020] has one output of kind ``row_anchors``, (1, cells + 1, rows, lines),
whose last cell stands for "no line here". Its second version [TPAMI 2022] has ``row_cells`` (1, cells, rows, lines) and
``row_exists`` (1, 2, rows, lines), and for lines that run flat ``column_cells`` and ``column_exists``, likewise with
columns in place of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from rtseg.errors import GroupingError, ModelError
from rtseg.lanes import DetectedLanes
from rtseg.lanes.color_runs import ColorRuns
from rtseg.lanes.methods.method import LaneMethod, TrackedParameters, listed_outputs
from rtseg.results import bottom_x
from rtseg.runtime.card import ModelCard
from rtseg.runtime.ignore import IgnoreMask
from rtseg.runtime.interpreter import DeviceForm, HeadMaps
from rtseg.settings import Probability

_KINDS = ("row_cells", "row_exists", "column_cells", "column_exists")
_SHIFT = 3  # masks are drawn with eighths of a pixel


def _rising_span(span: tuple[float, float]) -> tuple[float, float]:
    if not span[0] < span[1]:
        raise ValueError("expected the first before the last")
    return span


Share = Annotated[float, Field(ge=0, le=1.2)]
Span = Annotated[tuple[Share, Share], AfterValidator(_rising_span)]


class RowAnchorParameters(TrackedParameters):
    """Where the anchors lie, and what of the lines counts.

    Attributes:
        rows: first and last row, as shares of the frame's whole height; the others lie evenly between them.
        columns: likewise the columns of the second version, as shares of the width.
        row_lines: lines of the second version that are read from rows.
        column_lines: those that are read from columns.
        min_anchors: a line that exists at a smaller share of its anchors is left out.
        stroke: width of the lines in the mask, as a share of the frame's.
        min_confidence: lines less sure are left out.
    """

    rows: Span
    columns: Span = (0.0, 1.0)
    row_lines: tuple[Annotated[int, Field(ge=0)], ...] = (1, 2)
    column_lines: tuple[Annotated[int, Field(ge=0)], ...] = (0, 3)
    min_anchors: Probability = 0.1
    stroke: Annotated[float, Field(gt=0, le=0.2)] = 0.012
    min_confidence: Probability = 0.0


@dataclass(frozen=True)
class _Anchored:
    """A line at its anchors: (k,) position across them in shares of the seen frame, probability of being there."""

    along_rows: bool
    positions: NDArray[np.float64]
    probabilities: NDArray[np.float64]


class RowAnchors:
    """The line at each anchor is the expectation over cells (paper, equations 2 and 3)."""

    device_form: DeviceForm[list[_Anchored]] | None = None

    def __init__(self, card: ModelCard, parameters: RowAnchorParameters, ignored: IgnoreMask | None = None) -> None:
        self._ignored = ignored
        named = {output.kind: output for output in card.outputs}
        sides = {kind: output.sides(card.input) for kind, output in named.items()}
        self._first_version = "row_anchors" in named
        wanted = ("row_anchors",) if self._first_version else _KINDS
        fits = len(named) == len(card.outputs) == len(wanted) and all(len(sides.get(kind, ())) == 4 for kind in wanted)
        if fits and not self._first_version:
            fits = all(
                sides[exists] == (1, 2, *sides[cells][2:])
                for cells, exists in (("row_cells", "row_exists"), ("column_cells", "column_exists"))
            )
            lines = (*parameters.row_lines, *parameters.column_lines)
            most = max(sides["row_cells"][3] if fits else 0, 0)
            if fits and (len(set(lines)) != len(lines) or not lines or max(lines) >= most):
                raise ModelError(
                    f"the card of {card.name} does not fit: grouping.parameters.row_lines and column_lines: expected "
                    f"each line below {most} once at most, got {lines}"
                )
        fits = fits and all(sides[kind][1] >= 2 + self._first_version for kind in wanted if "exists" not in kind)
        if not fits or card.input.fit != "stretch":
            raise ModelError(
                f"the card of {card.name} asks for {card.grouping.method}, expected a stretched input and an output of "
                f"kind row_anchors (1, cells + 1, rows, lines), or four of {', '.join(_KINDS)}, got "
                f"{listed_outputs(card)}"
            )
        self._names = {kind: named[kind].name for kind in wanted}
        self._sides, self._parameters, self._top = sides, parameters, card.input.top

    def group(self, maps: HeadMaps, size: tuple[int, int]) -> list[_Anchored]:
        """Read each line at its anchors."""
        values = {kind: maps[name][0] for kind, name in self._names.items()}
        if not all(np.isfinite(array.sum()) for array in values.values()):
            raise GroupingError("expected finite anchors, got NaN or infinite values; check the network's weights")
        if self._first_version:
            cells = values["row_anchors"]
            chances = _softmax(cells)
            positions = _expected(cells[:-1], len(cells))
            there = 1 - chances[-1]
            there[cells.argmax(axis=0) == len(cells) - 1] = 0
            return [_Anchored(True, positions[:, i], there[:, i]) for i in range(cells.shape[2])]
        found = []
        for along_rows, kind, lines in (
            (True, "row", self._parameters.row_lines),
            (False, "column", self._parameters.column_lines),
        ):
            cells, exists = values[f"{kind}_cells"], _softmax(values[f"{kind}_exists"])[1]
            positions = _expected(cells, 1)
            there = np.where(exists > 0.5, exists, 0.0)
            found += [_Anchored(along_rows, positions[:, i], there[:, i]) for i in lines]
        return found

    def decode(self, found: list[_Anchored], size: tuple[int, int]) -> DetectedLanes:
        """Make lane lines of what is at the anchors."""
        height, width = size
        lines = []
        for anchored in found:
            line, confidence = self._line(anchored, size)
            if len(line) >= 2 and confidence >= self._parameters.min_confidence:
                lines.append((line, confidence))
        lines.sort(key=lambda pair: bottom_x(pair[0], height))
        mask, stroke = np.zeros(size, np.uint8), max(1, round(self._parameters.stroke * width))
        for number, (line, _) in enumerate(lines, start=1):
            points = np.rint(line * (1 << _SHIFT)).astype(np.int32)[:, None]
            cv2.polylines(mask, [points], False, number, stroke, cv2.LINE_8, _SHIFT)
        if self._ignored is not None:
            mask[self._ignored.at(size)] = 0
        measures = [
            (confidence, float(np.hypot(*np.diff(line, axis=0).T).sum()) / stroke) for line, confidence in lines
        ]
        painted = ColorRuns.of(mask, np.empty((0, 0, 0), np.float32))
        return DetectedLanes(
            size,
            np.array([confidence for _, confidence in lines], np.float32),
            tuple(line for line, _ in lines),
            np.array(measures, np.float32).reshape(-1, 2),
            painted.runs,
            painted.colors.astype(np.int32) - 1,
        )

    def warm_up_maps(self) -> HeadMaps:
        """Two upright lines."""
        maps = {}
        for kind, name in self._names.items():
            values = maps[name] = np.zeros(self._sides[kind], np.float32)
            if kind == "row_anchors":
                values[:, -1] = 5.0
            lines = range(values.shape[3])[:2] if kind == "row_anchors" else self._parameters.row_lines[:2]
            for number, line in enumerate(lines):
                if kind in ("row_anchors", "row_cells"):
                    values[:, (number + 1) * (values.shape[1] - 1) // 3, :, line] = 9.0
                elif kind == "row_exists":
                    values[:, 1, :, line] = 9.0
        return maps

    def _line(self, anchored: _Anchored, size: tuple[int, int]) -> tuple[NDArray[np.float32], float]:
        """A polyline with a point in each row, and how sure it is; empty where there is none."""
        height, width = size
        settings = self._parameters
        span = settings.rows if anchored.along_rows else settings.columns
        anchors, across = np.linspace(*span, len(anchored.probabilities)), anchored.positions
        if anchored.along_rows:
            x, y = across * width, (anchors - self._top) / (1 - self._top) * height
        else:
            x, y = anchors * width, across * height
        exists = anchored.probabilities > 0
        if self._ignored is not None:
            at_x, at_y = (np.clip(at, 0, side - 1).astype(np.intp) for at, side in ((x, width), (y, height)))
            exists &= ~self._ignored.at(size)[at_y, at_x]
        there = np.flatnonzero(exists)
        if len(there) < max(2, settings.min_anchors * len(anchored.probabilities)):
            return np.empty((0, 2), np.float32), 0.0
        rows, columns = _rising(y[there] - 0.5, x[there] - 0.5)
        at = np.arange(max(0, int(np.ceil(rows[0]))), min(height - 1, int(rows[-1])) + 1)
        line = np.stack([np.interp(at, rows, columns), at], axis=1).astype(np.float32)
        line = line[(line[:, 0] >= 0) & (line[:, 0] <= width - 1)]
        # A row that the line leaves and comes back to lies between two that are kept.
        if len(line) and len(line) < line[-1, 1] - line[0, 1] + 1:
            at = np.arange(int(line[0, 1]), int(line[-1, 1]) + 1)
            line = np.stack([np.interp(at, line[:, 1], line[:, 0]), at], axis=1).astype(np.float32)
        return line, float(anchored.probabilities[there].mean())


def _rising(y: NDArray[np.float64], x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points in the order of their rows, one a row: the mean of those in the same."""
    order = np.argsort(y, kind="stable")
    rows, start = np.unique(np.round(y[order], 3), return_index=True)
    counts = np.diff(np.append(start, len(y)))
    return rows, np.add.reduceat(x[order], start) / counts


def _softmax(values: NDArray[np.float32]) -> NDArray[np.float64]:
    powers = np.exp(values.astype(np.float64) - values.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0))


def _expected(cells: NDArray[np.float32], reach: int) -> NDArray[np.float64]:
    """Expected position over the cells (c, anchors, lines) that lie within `reach` of the best, as a share of the side.

    Cells are as wide as their number less one divides the side, and a line is in the middle of its cell.
    """
    number = np.arange(len(cells))[:, None, None]
    near = np.abs(number - cells.argmax(axis=0)) <= reach
    chances = np.where(near, np.exp(cells.astype(np.float64) - cells.max(axis=0)), 0.0)
    expected = (chances * number).sum(axis=0) / chances.sum(axis=0)
    return np.asarray((expected + 0.5) / (len(cells) - 1))


METHOD = LaneMethod(name="row_anchor", parameters=RowAnchorParameters, reading=RowAnchors)
