"""Which stage of lane detection loses what: truth in the place of one stage after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rtseg.frame import Frame
from rtseg.lab.render import Drive
from rtseg.lab.scores.lanes.evaluate import ImageScore, LaneEvaluation, score_lanes
from rtseg.lab.scores.lanes.samples import TUSIMPLE_WIDTH, LaneSample
from rtseg.lab.scores.lanes.tusimple import PIXEL_THRESHOLD
from rtseg.lab.scores.true_maps import true_lane_colors, true_lane_maps
from rtseg.lab.studies.lane_drives import DriveLog, DriveScore
from rtseg.lanes import DetectedLanes, LaneDecoder, LaneDecoderSettings, LaneTracker, LaneTrackerSettings
from rtseg.lanes.fragments import Fragments
from rtseg.lanes.interpreter import lane_settings, shown_lanes
from rtseg.ops import label_components, upsample_argmax
from rtseg.results import Lanes, lanes_at
from rtseg.runtime import Pipeline
from rtseg.runtime.card import ModelCard

_FOREIGN = 100  # added to the colors of pixels on no true line, which keeps them apart from those that are

STAGES = (
    "as it is",
    "true fit",
    "true joining and fit",
    "true colors, joining and fit",
    "and nothing made up",
    "true maps, all else ours",
    "true colors at full size, components, joining and fit ours",
    "true colors and joining, fit ours",
)
"""Rows of the budget: the later stages made true for the network's maps, then the earlier ones for our decoder."""

TRACKING = ("network, each frame alone", "network, tracked", "true maps, each frame alone", "true maps, tracked")
"""Rows of the budget over time."""


def lane_budget(pipeline: Pipeline, samples: Iterable[LaneSample]) -> dict[str, LaneEvaluation]:
    """Score a lane model's pictures with truth in the place of stages.

    Args:
        pipeline: a loaded lane model.
        samples: pictures with truth.

    Returns:
        Scores by the names in STAGES.
    """
    decoding, tracking = lane_settings(pipeline.card)
    rows: dict[str, list[ImageScore]] = {name: [] for name in STAGES}
    for sample in samples:
        maps, _ = pipeline.head_maps(Frame(sample.image))
        found = _by_stage(pipeline.card, maps[pipeline.card.outputs[0].name][0], sample, decoding)
        for name, detected in zip((n for n in STAGES if n != STAGES[4]), found, strict=True):
            lanes = _alone(detected, sample, tracking)
            rows[name].append(score_lanes(sample, lanes))
            if name == STAGES[3]:
                kept = np.flatnonzero(rows[name][-1].right)
                rows[STAGES[4]].append(score_lanes(sample, lanes_at(lanes, kept)))
    return {name: LaneEvaluation(tuple(images), name) for name, images in rows.items()}


def losses(budget: Mapping[str, LaneEvaluation]) -> dict[str, float]:
    """What each stage costs in points of F1, from what :func:`lane_budget` gave; below 0 where truth made it worse."""
    f1 = [100 * budget[name].culane.f1 for name in STAGES]
    steps = {
        "where lines are put": f1[1] - f1[0],
        "joining": f1[2] - f1[1],
        "colors and components": f1[3] - f1[2],
        "lines made up": f1[4] - f1[3],
        "lines not seen": 100 - f1[4],
    }
    steps["decoding true maps"] = 100 - f1[5]
    return steps


def drive_budget(pipeline: Pipeline, drives: Iterable[tuple[str, Drive]]) -> dict[str, DriveScore]:
    """Score drives with the network's maps and with true ones, with tracking and without.

    Args:
        pipeline: a loaded lane model.
        drives: (condition, drive).

    Returns:
        Scores by the names in TRACKING.
    """
    card = pipeline.card
    decoding, tracking = lane_settings(card)
    decode, name = LaneDecoder(decoding), card.outputs[0].name
    total = dict.fromkeys(TRACKING, DriveScore())
    for _, drive in drives:
        logs = [DriveLog() for _ in TRACKING]
        trackers = [LaneTracker(tracking) for _ in TRACKING]
        for road in drive:
            frame = Frame(road.image, road.stamp)
            maps, _ = pipeline.head_maps(frame)
            for k, logits in enumerate((maps[name][0], true_lane_maps(card, road.lanes, frame.size)[name][0])):
                detected = decode(logits, frame.size)
                for tracked in (0, 1):
                    if not tracked:
                        trackers[2 * k].reset()
                    shown = trackers[2 * k + tracked].update(detected, road.stamp)
                    logs[2 * k + tracked].update(shown_lanes(detected, shown, frame), road)
        total = {row: total[row] + log.score for row, log in zip(TRACKING, logs, strict=True)}
    return total


def _by_stage(
    card: ModelCard, logits: NDArray[np.float32], sample: LaneSample, settings: LaneDecoderSettings
) -> Iterator[DetectedLanes]:
    size = sample.image.shape[0], sample.image.shape[1]
    owners = line_owners(sample.truth, size)
    ours = LaneDecoder(settings)
    fit = OracleDecoder(settings, sample.truth, owners, joins=False)
    joining = OracleDecoder(settings, sample.truth, owners)
    yield ours(logits, size)
    yield fit(logits, size)
    yield joining(logits, size)
    yield joining.decode_colors(_recolored(upsample_argmax(logits, size), owners), logits)
    true = true_lane_maps(card, sample.truth, size)[card.outputs[0].name][0]
    yield ours(true, size)
    painted = true_lane_colors(card, sample.truth, size, size)
    yield ours.decode_colors(painted, true)
    yield OracleDecoder(settings, sample.truth, owners, fits=False).decode_colors(painted, true)


def _recolored(colors: NDArray[np.uint8], owners: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Foreground as it is, in the colors of the true lines.

    Pixels on no line go with most of their component; components that are mostly on none keep a color of their own.
    """
    components, count = label_components(colors.astype(np.int32), 8)
    votes = np.zeros((count + 1, 256), np.int64)
    np.add.at(votes, (components.ravel(), owners.ravel()), 1)
    most = votes.argmax(axis=1)
    most[votes[:, 0] > 0.5 * votes.sum(axis=1)] = 0
    rest = np.where(most[components] > 0, most[components], colors + np.uint8(_FOREIGN))
    belongs = np.where((owners > 0) & (most[components] > 0), owners, rest)
    return np.where(colors > 0, belongs, 0).astype(np.uint8)


def _alone(detected: DetectedLanes, sample: LaneSample, settings: LaneTrackerSettings) -> Lanes:
    return shown_lanes(detected, LaneTracker(settings).update(detected, 0), Frame(sample.image))


def line_owners(lines: Sequence[NDArray[np.float32]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Give each pixel the true line, 1..n, nearest to it in its row, if near enough for TuSimple's rule; else 0.

    Args:
        lines: polylines (k, 2) of (x, y) in pixels.
        size: (H, W).

    Returns:
        (H, W) uint8.
    """
    height, width = size
    rows, columns = np.arange(height), np.arange(width)
    owners, nearest = np.zeros(size, np.uint8), np.full(size, PIXEL_THRESHOLD * width / TUSIMPLE_WIDTH)
    for number, line in enumerate(lines, start=1):
        if len(line) < 2:
            continue
        x = np.interp(rows, line[:, 1], line[:, 0], left=np.nan, right=np.nan)
        slope = np.gradient(x)
        slope = np.where(np.isfinite(slope), slope, 0.0)
        distance = np.abs(columns - x[:, None]) / np.sqrt(1 + slope * slope)[:, None]
        closer = distance < nearest  # NaN is not
        owners[closer], nearest[closer] = number, distance[closer]
    return owners


class OracleDecoder(LaneDecoder):
    """A decoder that is told which fragments make a line, and where each line is.

    Args:
        settings: of the decoder that it stands for.
        lines: the true ones, polylines (k, 2).
        owners: as :func:`line_owners` gives them.
        joins: whether fragments of one true line are joined by truth.
        fits: whether a line's x is that of the true line, over the rows that both have.
    """

    def __init__(
        self,
        settings: LaneDecoderSettings,
        lines: Sequence[NDArray[np.float32]],
        owners: NDArray[np.uint8],
        joins: bool = True,
        fits: bool = True,
    ) -> None:
        super().__init__(settings)
        self._lines, self._owners, self._joins, self._fits = lines, owners, joins, fits

    def _join(self, fragments: Fragments, colors: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.int32]:
        if not self._joins:
            return super()._join(fragments, colors, size)
        owner = np.array([self._owner(fragments, i) for i in range(len(fragments))])
        line_of = np.arange(len(fragments), dtype=np.int32)
        for number in np.unique(owner[owner > 0]):
            keep, *rest = np.flatnonzero(owner == number)
            for drop in rest:
                fragments.absorb(int(keep), int(drop))
                line_of[drop] = keep
        loose = np.flatnonzero(owner == 0)
        if len(loose):
            part = fragments.chosen(loose)
            line_of[loose] = loose[super()._join(part, colors[loose], size)]
            fragments.put(loose, part)
        return line_of

    def _fit(self, fragments: Fragments, line: int, size: tuple[int, int]) -> NDArray[np.float32]:
        polyline = super()._fit(fragments, line, size)
        number = self._owner(fragments, line)
        if self._fits and number:
            true = self._lines[number - 1]
            x = np.interp(polyline[:, 1], true[:, 1], true[:, 0], left=np.nan, right=np.nan)
            polyline[:, 0] = np.where(np.isfinite(x), x, polyline[:, 0]).clip(0, size[1] - 1)
        return polyline

    def _owner(self, fragments: Fragments, line: int) -> int:
        """The true line that most of a fragment's rows lie on; 0 if that is none."""
        widths = fragments.widths[line]
        rows = np.flatnonzero(widths > 0)
        x = np.rint(fragments.sums[line][rows] / widths[rows]).astype(np.intp)
        return int(np.bincount(self._owners[rows, x]).argmax()) if len(rows) else 0
