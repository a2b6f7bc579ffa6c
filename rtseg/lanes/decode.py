"""From the colors of an L2C lane network to lane lines (L2C, sections III-A and V-A)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from rtseg.compiled import compiled_in_place
from rtseg.lanes.centerline import center_line
from rtseg.lanes.color_runs import ColorRuns
from rtseg.lanes.confidence import Calibration, check_calibration, share_of_right
from rtseg.lanes.fragments import Fragments, find_fragments
from rtseg.lanes.joining import join_fragments
from rtseg.ops import Runs
from rtseg.ops.order import greatest, median, select
from rtseg.results import bottom_x
from rtseg.settings import NonNegative, Probability, Settings, Share


class LaneDecoderSettings(Settings):
    """What makes a lane line; lengths are shares of the image, so that they hold at any size.

    Attributes:
        min_area: pixels of a fragment, as a share of the image's.
        min_rows: rows of a fragment, as a share of the height.
        min_length: length of a line, as a share of the height.
        join_distance: how far ends of one line may miss each other, as a share of the width.
        join_growth: how much further for each row of the gap, in pixels a row.
        join_gap: the longest gap bridged, as a share of the height.
        stroke: width of a line's stroke at most, as a share of the width.
        smoothing: rows to either side in the fit of a row's x, as a share of the height.
        min_confidence: lines less sure are left out.
        max_lines: no more lines than this, the surest first; at most 255.
        calibration: (offset, by evidence, by slenderness), what makes the share of right lines of what was measured of
            a line; see :func:`rtseg.lanes.confidence.share_of_right`. None leaves the confidence as it is.
    """

    min_area: Share = 0.0002
    min_rows: Share = 0.012
    min_length: Share = 0.06
    join_distance: Share = 0.012
    join_growth: NonNegative = 0.08
    join_gap: Share = 0.4
    stroke: Share = 0.04
    smoothing: Share = 0.05
    min_confidence: Probability = 0.0
    max_lines: Annotated[int, Field(ge=1, le=255)] = 16
    calibration: tuple[float, float, float] | None = None

    @field_validator("calibration")
    @classmethod
    def _is_a_calibration(cls, calibration: Calibration | None) -> Calibration | None:
        check_calibration(calibration)
        return calibration


@dataclass(frozen=True)
class DetectedLanes:
    """Lane lines of one image, from left to right by where they meet, or would meet, its bottom.

    Attributes:
        size: (H, W) of the image.
        confidence: (n,) float32 in [0, 1].
        polylines: n arrays (k, 2) float32 of (x, y) in pixels, one point a row, y increasing.
        measures: (n, 2) float32, what a calibration makes the confidence of: how probable all but the weakest tenth of
            the line is, times the share of its rows that have pixels; and how many strokes' widths the line is long.
        runs: of the image's pixels.
        lines: (r,) int32, the line of every run, -1 where it has none.
    """

    size: tuple[int, int]
    confidence: NDArray[np.float32]
    polylines: tuple[NDArray[np.float32], ...]
    measures: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 2), np.float32))
    runs: Runs | None = None
    lines: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))

    @property
    def mask(self) -> NDArray[np.uint8]:
        """(H, W) uint8, 1..n where a line is, 0 elsewhere; painted each time it is asked for."""
        return self.painted(np.arange(1, len(self.polylines) + 1, dtype=np.uint8))

    def painted(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Give the (H, W) mask that has ``values[i]`` where line i is, 0 elsewhere."""
        mask = np.zeros(self.size, np.uint8)
        if self.runs is not None:
            _paint(self.runs.starts, self.runs.ends, self.runs.rows, self.lines, values, mask)
        return mask


@compiled_in_place
def _foreground(logits, points, rows, columns, probability):  # type: ignore[no-untyped-def]
    """Write the probability of not being background (channel 0) at image points, from interpolated logits."""
    channels, height, width = logits.shape
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
        probability[i] = others / (1 + others)


@compiled_in_place
def _paint(starts, ends, rows, lines, values, mask):  # type: ignore[no-untyped-def]
    for y in range(len(rows) - 1):
        for run in range(rows[y], rows[y + 1]):
            if lines[run] >= 0:
                mask[y, starts[run] : ends[run]] = values[lines[run]]


@compiled_in_place
def _length(polyline):  # type: ignore[no-untyped-def]
    length = 0.0
    for i in range(1, len(polyline)):
        x, y = polyline[i, 0] - polyline[i - 1, 0], polyline[i, 1] - polyline[i - 1, 1]
        length += np.sqrt(x * x + y * y)
    return length


@compiled_in_place
def _tenth(values):  # type: ignore[no-untyped-def]
    """The tenth percentile, as NumPy's; changes their order."""
    at = (len(values) - 1) * 0.1
    above = min(int(at) + 1, len(values) - 1)
    share = at - int(at)
    upper = select(values, above)
    lower = greatest(values[:above]) if above > int(at) else upper
    step = upper - lower
    return upper - step * (1 - share) if share >= 0.5 else lower + step * share


@compiled_in_place
def _measure_in(polyline, widths, logits, rows, columns, seen, points, probability, room):  # type: ignore[no-untyped-def]
    """Write what `_measure` gives of rows, and give how many probabilities there are, the evidence and the stroke."""
    strokes, values = room[0], room[1]
    count = 0
    for i in range(len(polyline)):
        width = widths[int(polyline[i, 1])]
        seen[i] = width > 0
        if seen[i]:
            strokes[count] = width
            count += 1
    at = 0
    for i in range(len(polyline)):
        if seen[i]:
            if at % 4 == 0:
                points[at // 4, 0], points[at // 4, 1] = polyline[i, 0], polyline[i, 1]
            at += 1
    known = -(-count // 4)
    _foreground(logits, points[:known], rows, columns, probability)
    for i in range(known):
        values[i] = probability[i]
    evidence = _tenth(values[:known]) * (count / len(polyline)) if count else 0.0
    for i in range(len(polyline) - 1):
        values[i] = abs(polyline[i + 1, 0] - polyline[i, 0])
    slope = median(values[: max(len(polyline) - 1, 0)])
    return known, evidence, median(strokes[:count]) / np.sqrt(1 + slope * slope)


def _measure(
    polyline: NDArray[np.float32], widths: NDArray[np.float32], logits: NDArray[np.float32], rows: int, columns: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64], float, float]:
    """The rows of a line that have pixels, the probability of foreground at every fourth of them and their stroke."""
    length, most = len(polyline), -(-len(polyline) // 4)
    seen, points, probability = np.empty(length, np.bool_), np.empty((most, 2), np.float32), np.empty(most)
    room = np.empty((2, length))
    known, evidence, stroke = _measure_in(polyline, widths, logits, rows, columns, seen, points, probability, room)
    return seen, probability[:known], evidence, stroke


class LaneDecoder:
    """Turns the logits of one image into lane lines; keeps nothing from image to image."""

    def __init__(self, settings: LaneDecoderSettings | None = None) -> None:
        self._settings = settings or LaneDecoderSettings()

    def __call__(self, logits: NDArray[np.float32], size: tuple[int, int]) -> DetectedLanes:
        """Decode the lanes of one image.

        The color of a pixel is the channel with the greatest interpolated logit, channel 0 being background; a line is
        one or more connected components of color (`rtseg.lanes.joining` says which), and its x at a row is the mean of
        its pixels there. Without a calibration, the confidence of a line is the mean probability of foreground along
        it, times the share of its rows that have pixels, times how much of a fifth of the image's height those rows
        make, at most 1.

        Args:
            logits: (n + 1, h, w) float32.
            size: (H, W) of the image that the lanes are wanted for.

        Raises:
            GroupingError: if the logits are not finite.
            ArgumentError: if they have the wrong shape.
        """
        return self.decode_runs(ColorRuns.of_logits(logits, size), size)

    def decode_colors(self, colors: NDArray[np.uint8], logits: NDArray[np.float32]) -> DetectedLanes:
        """Decode the lanes of an image whose pixels were colored elsewhere; see :meth:`decode_runs`.

        Args:
            colors: (H, W) uint8, the strongest output at each pixel.
            logits: (C, h, w) float32, of the network.
        """
        return self.decode_runs(ColorRuns.of(colors, logits), (colors.shape[0], colors.shape[1]))

    def decode_runs(self, image: ColorRuns, size: tuple[int, int]) -> DetectedLanes:
        """Decode the lanes of an image whose pixels were colored and labelled elsewhere, such as on a GPU.

        Args:
            image: the runs of equal color in its rows, and the logits.
            size: (height, width) of the image in pixels.
        """
        settings, runs = self._settings, image.runs
        height, width = size
        fragments = find_fragments(
            runs, (height, width), settings.min_area * height * width, max(2.0, settings.min_rows * height)
        )
        if not len(fragments):
            return DetectedLanes(size, np.empty(0, np.float32), ())
        line_of = self._join(fragments, _fragment_colors(image.colors, fragments.runs, len(fragments)), size)
        logits = np.ascontiguousarray(image.logits, dtype=np.float32)
        found = []
        for number in sorted(set(line_of.tolist())):
            polyline = self._fit(fragments, number, size)
            length = _length(polyline)
            if len(polyline) and length >= settings.min_length * height:
                found.append(self._measured(number, polyline, length, fragments.widths[number], logits, size))
        found = [line for line in found if line.confidence >= settings.min_confidence]
        found.sort(key=lambda line: -line.confidence)
        found = sorted(found[: settings.max_lines], key=lambda line: bottom_x(line.polyline, height))
        table = np.full(len(fragments) + 1, -1, np.int32)  # the last is that of runs without a fragment
        for i, line in enumerate(found):
            table[:-1][line_of == line.number] = i
        return DetectedLanes(
            size,
            np.array([line.confidence for line in found], np.float32),
            tuple(line.polyline for line in found),
            np.array([line.measures for line in found], np.float32).reshape(-1, 2),
            runs,
            table[fragments.runs],
        )

    # The two steps that an error budget puts truth in the place of (rtseg.lab.studies.lane_budget).

    def _join(self, fragments: Fragments, colors: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.int32]:
        """Arguments and result as :func:`rtseg.lanes.joining.join_fragments`."""
        settings, (height, width) = self._settings, size
        return join_fragments(
            fragments,
            colors,
            size,
            max(1.0, settings.join_distance * width),
            settings.join_growth,
            settings.join_gap * height,
            settings.stroke * width,
        )

    def _fit(self, fragments: Fragments, line: int, size: tuple[int, int]) -> NDArray[np.float32]:
        """The polyline of the joined fragment `line`."""
        height, width = size
        rows = fragments.widths[line], fragments.sums[line], fragments.left[line], fragments.right[line]
        return center_line(*rows, width, max(2, round(self._settings.smoothing * height)), 0.004 * width)

    def _measured(
        self,
        number: int,
        polyline: NDArray[np.float32],
        length: float,
        widths: NDArray[np.float32],
        logits: NDArray[np.float32],
        size: tuple[int, int],
    ) -> _Line:
        height, width = size
        seen, probability, evidence, stroke = _measure(polyline, widths, logits, height, width)
        measures, confidence = (evidence, length / stroke), 0.0
        if self._settings.calibration is not None:
            confidence = share_of_right(*measures, self._settings.calibration)
        elif seen.any():
            supported = polyline[seen]
            support = len(supported) / len(polyline)
            confidence = float(probability.mean()) * support * min(1.0, _length(supported) / (0.2 * height))
        return _Line(number, polyline, confidence, measures)


@dataclass(frozen=True)
class _Line:
    number: int
    polyline: NDArray[np.float32]
    confidence: float
    measures: tuple[float, float]


def _fragment_colors(colors: NDArray[np.uint8], fragments: NDArray[np.int32], count: int) -> NDArray[np.uint8]:
    result = np.zeros(count + 1, np.uint8)  # the last is that of runs without a fragment
    result[fragments] = colors
    return result[:-1]
