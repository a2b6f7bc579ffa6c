"""From the colours of an L2C lane network to lane lines (L2C, sections III-A and V-A)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rtseg.errors import GroupingError
from rtseg.lanes.centerline import center_line
from rtseg.lanes.fragments import find_fragments
from rtseg.lanes.joining import join_fragments
from rtseg.ops import Runs, label_runs, upsample_argmax


@dataclass(frozen=True)
class LaneDecoderSettings:
    """What makes a lane line; lengths are shares of the image, so that they hold at any size.

    Attributes:
        min_area: pixels of a fragment, as a share of the image's.
        min_rows: rows of a fragment, as a share of the height.
        min_length: length of a line, as a share of the height.
        join_distance: how far ends of one line may miss each other, as a share of the width.
        join_growth: how much further for each row of the gap, in pixels a row.
        join_gap: the longest gap bridged, as a share of the height.
        smoothing: rows to either side in the fit of a row's x, as a share of the height.
        min_confidence: lines less sure are left out.
        max_lines: no more lines than this, the surest first; at most 255.
    """

    min_area: float = 0.0002
    min_rows: float = 0.012
    min_length: float = 0.06
    join_distance: float = 0.012
    join_growth: float = 0.08
    join_gap: float = 0.4
    smoothing: float = 0.05
    min_confidence: float = 0.0
    max_lines: int = 16

    def __post_init__(self) -> None:
        if not 1 <= self.max_lines <= 255:
            raise GroupingError(f"expected max_lines from 1 to 255, got {self.max_lines}")
        for name in ("min_area", "min_rows", "min_length", "join_distance", "join_growth", "join_gap", "smoothing"):
            if not getattr(self, name) >= 0:
                raise GroupingError(f"expected {name} of 0 or more, got {getattr(self, name)}")


@dataclass(frozen=True)
class DetectedLanes:
    """Lane lines of one image, from left to right by where they meet, or would meet, its bottom.

    Attributes:
        mask: (H, W) uint8, 1..n where a line is, 0 elsewhere.
        confidence: (n,) float32 in [0, 1].
        polylines: n arrays (k, 2) float32 of (x, y) in pixels, one point a row, y increasing.
    """

    mask: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    polylines: tuple[NDArray[np.float32], ...]


@njit(cache=True, nogil=True)
def _foreground(logits, points, rows, columns):  # type: ignore[no-untyped-def]
    """Mean probability of not being background (channel 0) at image points, from interpolated logits."""
    channels, height, width = logits.shape
    total = 0.0
    for i in range(len(points)):
        x = min(max((points[i, 0] + 0.5) * width / columns - 0.5, 0.0), width - 1.0)
        y = min(max((points[i, 1] + 0.5) * height / rows - 0.5, 0.0), height - 1.0)
        x0, y0 = int(x), int(y)
        x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
        u, v = x - x0, y - y0
        background = 0.0
        others = 0.0
        for c in range(channels):
            upper = logits[c, y0, x0] * (1 - u) + logits[c, y0, x1] * u
            lower = logits[c, y1, x0] * (1 - u) + logits[c, y1, x1] * u
            value = upper * (1 - v) + lower * v
            if c == 0:
                background = value
            else:
                others += np.exp(min(value - background, 60.0))
        total += others / (1 + others)
    return total / len(points)


@njit(cache=True, nogil=True)
def _paint(starts, ends, rows, fragments, table, mask):  # type: ignore[no-untyped-def]
    for y in range(len(rows) - 1):
        for run in range(rows[y], rows[y + 1]):
            if fragments[run] >= 0:
                value = table[fragments[run]]
                for x in range(starts[run], ends[run]):
                    mask[y, x] = value


class LaneDecoder:
    """Turns the logits of one image into lane lines; keeps nothing from image to image."""

    def __init__(self, settings: LaneDecoderSettings | None = None) -> None:
        self._settings = settings or LaneDecoderSettings()

    def __call__(self, logits: NDArray[np.float32], size: tuple[int, int]) -> DetectedLanes:
        """Decode the lanes of one image.

        The colour of a pixel is the channel with the greatest interpolated logit, channel 0 being background; a line is
        one or more connected components of colour (`rtseg.lanes.joining` says which), and its x at a row is the mean of
        its pixels there. The confidence of a line is the mean probability of foreground along it, times the share of
        its rows that have pixels, times how much of a fifth of the image's height those rows make, at most 1.

        Args:
            logits: (n + 1, h, w) float32.
            size: (H, W) of the image that the lanes are wanted for.

        Raises:
            GroupingError: if the logits have the wrong shape or values that are not finite.
        """
        image = upsample_argmax(logits, size)
        runs = label_runs(image, 8)
        rows = np.repeat(np.arange(len(runs.rows) - 1), np.diff(runs.rows))
        return self.decode_runs(runs, image[rows, runs.starts], logits, size)

    def decode_runs(
        self, runs: Runs, colours: NDArray[np.uint8], logits: NDArray[np.float32], size: tuple[int, int]
    ) -> DetectedLanes:
        """Decode the lanes of an image whose pixels were coloured and labelled elsewhere, such as on a GPU.

        Args:
            runs: the 8-connected components of the colour image, as :func:`rtseg.ops.label_runs` gives them.
            colours: (r,) uint8 colour of each run.
            logits: (n + 1, h, w) finite float32 that the colours come from.
            size: (H, W) of the image.
        """
        settings = self._settings
        height, width = size
        mask = np.zeros((height, width), np.uint8)
        fragments = find_fragments(
            runs, (height, width), settings.min_area * height * width, max(2.0, settings.min_rows * height)
        )
        if not len(fragments):
            return DetectedLanes(mask, np.empty(0, np.float32), ())
        line_of = join_fragments(
            fragments,
            _fragment_colours(colours, fragments.runs, len(fragments)),
            (height, width),
            max(1.0, settings.join_distance * width),
            settings.join_growth,
            settings.join_gap * height,
        )
        logits = np.ascontiguousarray(logits, dtype=np.float32)
        found: list[tuple[float, float, int, NDArray[np.float32]]] = []
        for line in np.unique(line_of):
            rows = fragments.widths[line], fragments.sums[line], fragments.left[line], fragments.right[line]
            polyline = center_line(*rows, width, max(2, round(settings.smoothing * height)), 0.004 * width)
            if _length(polyline) < settings.min_length * height:
                continue
            supported = polyline[fragments.widths[line][polyline[:, 1].astype(np.intp)] > 0]
            probability = _foreground(logits, supported[::4], height, width)
            evidence = len(supported) / len(polyline) * min(1.0, _length(supported) / (0.2 * height))
            confidence = float(probability * evidence)
            if confidence >= settings.min_confidence:
                found.append((_bottom_x(polyline, height), confidence, int(line), polyline))
        found.sort(key=lambda item: -item[1])
        found = sorted(found[: settings.max_lines], key=lambda item: item[0])
        table = np.zeros(len(fragments), np.uint8)
        for number, (_, _, line, _) in enumerate(found, start=1):
            table[line_of == line] = number
        _paint(runs.starts, runs.ends, runs.rows, fragments.runs, table, mask)
        return DetectedLanes(mask, np.array([item[1] for item in found], np.float32), tuple(item[3] for item in found))


def _fragment_colours(colours: NDArray[np.uint8], fragments: NDArray[np.int32], count: int) -> NDArray[np.uint8]:
    result = np.zeros(count, np.uint8)
    kept = fragments >= 0
    result[fragments[kept]] = colours[kept]
    return result


def _length(polyline: NDArray[np.float32]) -> float:
    if len(polyline) < 2:
        return 0.0
    steps = np.diff(polyline, axis=0)
    return float(np.hypot(steps[:, 0], steps[:, 1]).sum())


def _bottom_x(polyline: NDArray[np.float32], height: int) -> float:
    """The x at which a line, drawn out straight from its lower part, meets the bottom of the image."""
    lower = polyline[-max(2, height // 12) :]
    (x0, y0), (x1, y1) = lower[0], lower[-1]
    slope = (x1 - x0) / (y1 - y0) if y1 > y0 else 0.0
    return float(x1 + slope * (height - 1 - y1))
