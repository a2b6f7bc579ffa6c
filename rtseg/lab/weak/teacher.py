"""Lane labels from a trained model, for self-training: lines that it finds alike in three ways become labels.

A line is trusted if the model is sure of it, finds it in the mirror image too, and follows it steadily through the
frames around. The others are written as ignored, so that a student is taught neither a line nor background there.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.counted import counted
from rtseg.errors import WeakSupervisionError
from rtseg.frame import Frame
from rtseg.lab.data.selection import evenly
from rtseg.lab.data.tusimple import LABELS, LabelledImage, write_labels
from rtseg.lab.render.sheet import lay_out
from rtseg.lanes import DetectedLanes, LaneDecoder, LaneTracker
from rtseg.lanes.interpreter import lane_settings, shown_lanes
from rtseg.media import FrameSource
from rtseg.media.images import write_image
from rtseg.results import Lanes
from rtseg.runtime import Pipeline

SHEET = "sheet.jpg"
_IMAGES = "images"
_PAUSE = 1_000_000_000  # nanoseconds without a frame
_ROWS = 72  # rows of a label, as TuSimple has on 720
_SHOWN, _TILE = 12, 426  # pictures of the sheet, and their width
_TRUSTED, _IGNORED = (90, 220, 60), (60, 60, 240)


@dataclass(frozen=True)
class TeacherSettings:
    """Which lines are trusted.

    Attributes:
        every: a label for at most each n-th frame; neighbors look alike.
        confidence: lines less sure are ignored.
        distance: mean distance, as a share of the width, at which two lines are still the same.
        overlap: share of its rows that a line must have in common with its match in the mirror image.
        window: frames before and after through which a line must keep its id.
    """

    every: int = 10
    confidence: float = 0.6
    distance: float = 0.008
    overlap: float = 0.7
    window: int = 3

    def __post_init__(self) -> None:
        for name in ("every", "window"):
            if getattr(self, name) < 1:
                raise WeakSupervisionError(f"expected {name} of 1 or more, got {getattr(self, name)}")
        for name in ("confidence", "distance", "overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise WeakSupervisionError(f"expected {name} from 0 to 1, got {getattr(self, name)}")


class NothingTrustedError(WeakSupervisionError):
    """A recording without a line that could be a label."""


@dataclass
class TeacherSummary:
    """What a teacher gave: labelled frames, trusted lines, and what was left out, by reason."""

    frames: int = 0
    labelled: int = 0
    lines: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


def label_lanes(
    source: FrameSource,
    pipeline: Pipeline,
    out: Path,
    settings: TeacherSettings | None = None,
    advance: Callable[[int, int], None] | None = None,
) -> TeacherSummary:
    """Write TuSimple-layout labels for frames of a recording: ``labels.json``, ``images/`` and ``sheet.jpg``.

    Args:
        source: frames in the order in which they were taken.
        pipeline: of a lane model.
        out: folder to write; it must not hold labels.
        settings: which lines are trusted.
        advance: told after each frame how many were read, and of how many (0 where that is not known).

    Returns:
        Counts of frames and lines.

    Raises:
        NothingTrustedError: no line of the recording is trusted.
        WeakSupervisionError: the model finds no lanes, or `out` holds labels.
        MediaError: a file cannot be written.
    """
    settings = settings or TeacherSettings()
    card = pipeline.card
    if card.task != "lanes":
        raise WeakSupervisionError(f"expected a lane model as teacher, got {card.name} for {card.task}")
    if (out / LABELS).exists():
        raise WeakSupervisionError(f"expected a folder without labels, {out} holds {LABELS}; name another")
    teacher, summary = _Teacher(pipeline), TeacherSummary()
    around: deque[tuple[Frame, Lanes]] = deque(maxlen=2 * settings.window + 1)
    next_label, labels, shown = settings.window, [], []
    for index, frame in enumerate(source):
        if around and (frame.stamp or 0) - (around[-1][0].stamp or 0) > _PAUSE:
            around.clear()  # these do not tell what is steady
        around.append((frame, teacher.follow(frame)))
        summary.frames += 1
        if advance:
            advance(summary.frames, source.count or 0)
        middle = index - settings.window
        if len(around) < 2 * settings.window + 1 or middle < next_label:
            continue
        next_label = middle + settings.every
        frame, lanes = around[settings.window]
        doubts = _doubts(frame, [entry for _, entry in around], teacher, settings)
        summary.ignored.update(doubt for doubt in doubts if doubt)
        if not len(lanes) or all(doubts):
            summary.left_out["no line that is trusted"] += 1
            continue
        name = f"{_IMAGES}/frame_{middle:06d}.jpg"
        labels.append(_label(out, name, lanes, doubts, frame.image.shape[0]))
        write_image(out / name, frame.image)
        summary.labelled += 1
        summary.lines += doubts.count("")
        shown.append(_draw(frame.image, lanes, doubts))
        if len(shown) > 4 * _SHOWN:
            shown = shown[::2]
    if not labels:
        raise NothingTrustedError(
            f"expected lines of {source.name} that {card.name} is sure of, in its mirror image and in "
            f"{2 * settings.window + 1} frames on end, found none in {counted(summary.frames, 'frame')}; is it a drive?"
        )
    summary.left_out.update({f"could not be read: {why}": number for why, number in source.skipped.items()})
    write_image(out / SHEET, lay_out(evenly(shown, _SHOWN), 3, _TILE))
    # Labels come last, so that an interrupted run leaves none that look whole.
    write_labels(labels, out)
    return summary


class _Teacher:
    """The model without what a driver is spared: every line that is found in a frame, none that is only carried on."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._output = pipeline.card.outputs[0].name
        decoding, tracking = lane_settings(pipeline.card)
        self._decoder = LaneDecoder(decoding)
        self._tracker = LaneTracker(tracking.replaced(show=0.0, carry=0.0))

    def find(self, frame: Frame) -> DetectedLanes:
        maps, _ = self._pipeline.head_maps(frame)
        return self._decoder(maps[self._output][0], frame.size)

    def follow(self, frame: Frame) -> Lanes:
        detected = self.find(frame)
        if frame.stamp is None:
            raise WeakSupervisionError("expected the frames of a drive, got stills; say how many a second with --fps")
        return shown_lanes(detected, self._tracker.update(detected, frame.stamp), frame)


def _doubts(frame: Frame, around: list[Lanes], teacher: _Teacher, settings: TeacherSettings) -> list[str]:
    """Why each line of the middle frame is not trusted, "" where it is."""
    height, width = frame.image.shape[:2]
    rows = np.linspace(0, height - 1, _ROWS)
    lanes, first, last = around[settings.window], around[0], around[-1]
    found = teacher.find(Frame(np.ascontiguousarray(frame.image[:, ::-1])))
    numbers = np.arange(1, 1 + len(found.polylines), dtype=np.int32)
    mirrored = Lanes(found.mask, numbers, found.confidence, found.polylines)
    x = lanes.sample(rows)
    mirrored_x = width - 1 - mirrored.sample(rows)
    step, limit = rows[1] - rows[0], settings.distance * width
    doubts = []
    for line, identity, sureness in zip(x, lanes.ids.tolist(), lanes.confidence.tolist(), strict=True):
        if sureness < settings.confidence:
            doubts.append("not sure")
        elif not any(_same(line, other, step, limit, settings.overlap) for other in mirrored_x):
            doubts.append("not in the mirror image")
        elif any(identity not in entry.ids for entry in around):
            doubts.append("not in the frames around")
        else:
            ends = [entry.sample(rows)[entry.ids == identity][0] for entry in (first, last)]
            doubts.append(
                "" if _same(line, np.mean(ends, axis=0), step, limit, 0.5 * settings.overlap) else "not steady"
            )
    return doubts


def _same(line: NDArray[np.float64], other: NDArray[np.float64], step: float, limit: float, overlap: float) -> bool:
    """Whether two lines, x at the same rows `step` apart, share enough rows and lie close to each other there."""
    shared = np.isfinite(line) & np.isfinite(other)
    if shared.sum() < max(2, overlap * np.isfinite(line).sum()):
        return False
    # Across the line: far ones lie flat in the picture.
    slope = np.gradient(line[shared]) / step
    return float((np.abs(line - other)[shared] / np.sqrt(1 + slope * slope)).mean()) <= limit


def _label(out: Path, name: str, lanes: Lanes, doubts: list[str], height: int) -> LabelledImage:
    rows = np.unique(np.linspace(0, height - 1, _ROWS).round())
    x = np.nan_to_num(lanes.sample(rows).round(1), nan=-2.0)
    doubted = np.array([bool(doubt) for doubt in doubts], np.bool_)
    return LabelledImage(out / name, name, name, x[~doubted], rows, x[doubted])


def _draw(image: NDArray[np.uint8], lanes: Lanes, doubts: list[str]) -> NDArray[np.uint8]:
    scale = _TILE / image.shape[1]
    canvas = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for line, doubt in zip(lanes.polylines, doubts, strict=True):
        points = np.round(line * scale).astype(np.int32)[:, None]
        cv2.polylines(canvas, [points], False, _IGNORED if doubt else _TRUSTED, 2, cv2.LINE_AA)
    return np.asarray(canvas, np.uint8)
