"""Scores on the frames that a configuration keeps back of its sets: each set by group, by what its labels tell.

Full labels give the benchmarks' scores. Labels of the own lane's boundaries, or lines traced from paint, cannot tell a
wrong lane from one that is not labelled; they tell which share of the labelled points was found. On roads without lines
every lane is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from rtseg.counted import counted
from rtseg.errors import ConfigError
from rtseg.files import write_text
from rtseg.frame import Frame
from rtseg.lab.data.tusimple import LabelledImage, read_labels
from rtseg.lab.scores.lanes import culane, tusimple
from rtseg.lab.scores.lanes.culane import CulaneScore
from rtseg.lab.scores.lanes.evaluate import LanePipeline
from rtseg.lab.scores.lanes.samples import TUSIMPLE_WIDTH, labelled_picture
from rtseg.lab.scores.lanes.tusimple import TusimpleScore
from rtseg.lab.training.config import LaneSetConfig
from rtseg.lab.training.lanes.sets import find_set, split_set
from rtseg.progress import Bars
from rtseg.results import Lanes


@dataclass(frozen=True)
class FrameScore:
    """What was found of one labelled frame.

    Attributes:
        group: of the label.
        points: labelled points in the picture.
        right: those of them that some lane passes, one lane for each line, within TuSimple's distance.
        lanes: that were found.
        tusimple: the benchmark's scores; they mean something for full labels only.
        culane: the same.
    """

    group: str
    points: int
    right: int
    lanes: int
    tusimple: TusimpleScore
    culane: CulaneScore


@dataclass(frozen=True)
class SetScore:
    """Scores of a set's frames that were kept back, or of one group of them."""

    name: str
    supervision: str
    frames: tuple[FrameScore, ...]

    @property
    def found(self) -> float:
        """Share of the labelled points that were found; NaN without points."""
        points = sum(frame.points for frame in self.frames)
        return sum(frame.right for frame in self.frames) / points if points else float("nan")

    @property
    def lanes(self) -> float:
        """Lanes a frame."""
        return float(np.mean([frame.lanes for frame in self.frames])) if self.frames else float("nan")

    def by_group(self) -> list[SetScore]:
        """The scores of each group, where there are several."""
        groups = sorted({frame.group for frame in self.frames})
        if len(groups) < 2:
            return []
        return [SetScore(g, self.supervision, tuple(f for f in self.frames if f.group == g)) for g in groups]

    def metrics(self) -> dict[str, float]:
        """What the labels allow to say, by metric."""
        if self.supervision == "none":
            return {"false lanes a frame": self.lanes}
        metrics = {"labelled points found": self.found}
        if self.supervision == "lines":
            benchmark = tusimple.mean_score([frame.tusimple for frame in self.frames if frame.points])
            f1 = sum((frame.culane for frame in self.frames), CulaneScore()).f1
            metrics |= {
                "accuracy": benchmark.accuracy,
                "false positive rate": benchmark.false_positive,
                "false negative rate": benchmark.false_negative,
                "culane F1": f1,
            }
        return metrics


def score_sets(
    pipeline: LanePipeline, sets: Sequence[LaneSetConfig], data: Sequence[Path], progress: bool = True
) -> list[SetScore]:
    """Score a lane pipeline on what each set keeps back, every picture by itself.

    Raises:
        ConfigError: a set is not in the data, no set keeps anything back, or the model finds no lanes.
        DatasetError: labels do not parse, or a picture is missing.
    """
    scores = []
    for part in sets:
        if not part.keep_back:
            continue
        _, kept = split_set(part, read_labels(find_set(part.folder, data)))
        shown = Bars.over(kept, part.name, disable=not progress)
        frames = tuple(_score(pipeline, label, part.supervision) for label in shown)
        scores.append(SetScore(part.name, part.supervision, frames))
    if not scores:
        raise ConfigError("expected sets of which frames are kept back (keep_back), got none")
    return scores


def score_frame(label: LabelledImage, lanes: Lanes, size: tuple[int, int], supervision: str) -> FrameScore:
    """Score what was found in one picture of `size` (height, width)."""
    height, width = size
    scale = TUSIMPLE_WIDTH / width
    rows = label.h_samples
    truth = np.where((label.lanes >= 0) & (label.lanes <= width - 1) & (rows < height), label.lanes, np.nan)
    truth = truth[np.isfinite(truth).sum(axis=1) >= 2]
    if supervision == "none":
        truth = truth[:0]
    found = lanes.sample(rows)
    found = found[np.isfinite(found).any(axis=1)]
    points, right = _points(truth, found, rows, scale)
    matches = culane.match_lanes(lanes.polylines, label.polylines(), (height, width))
    return FrameScore(
        label.group,
        points,
        right,
        len(lanes),
        tusimple.score_image(found * scale, truth * scale, rows * scale),
        culane.count_matches(matches, lanes.polylines, label.polylines()),
    )


def table(scores: Sequence[SetScore]) -> Table:
    """Sets and their groups as a table for the terminal."""
    shown = Table("set", "labels", "frames", "points found %", "accuracy %", "FP %", "FN %", "F1 %", "lanes a frame")
    for score in scores:
        shown.add_section()
        for part, name in [(score, score.name), *((group, f"  {group.name}") for group in score.by_group())]:
            metrics = part.metrics()
            names = ("labelled points found", "accuracy", "false positive rate", "false negative rate", "culane F1")
            cells = [f"{100 * metrics[name]:.1f}" if name in metrics else "" for name in names]
            shown.add_row(name, part.supervision, str(len(part.frames)), *cells, f"{part.lanes:.2f}")
    return shown


def by_name(scores: Sequence[SetScore]) -> dict[str, dict[str, float]]:
    """What can be said of each set and of each of its groups, as a card names them."""
    named: dict[str, dict[str, float]] = {}
    for score in scores:
        for part, of in [(score, score.name), *((group, f"{score.name}, {group.name}") for group in score.by_group())]:
            metrics = {metric: value for metric, value in part.metrics().items() if np.isfinite(value)}
            named[f"{of}, {counted(len(part.frames), 'frame')} kept back"] = metrics
    return named


def write_scores(scores: Sequence[SetScore], path: Path) -> None:
    """Write the scores as JSON: set -> metrics, and those of its groups.

    Raises:
        MediaError: the file cannot be written.
    """
    content = {
        score.name: {
            "labels": score.supervision,
            "frames": len(score.frames),
            **score.metrics(),
            "groups": {group.name: {"frames": len(group.frames), **group.metrics()} for group in score.by_group()},
        }
        for score in scores
    }
    write_text(path, json.dumps(content, indent=1) + "\n")


def _score(pipeline: LanePipeline, label: LabelledImage, supervision: str) -> FrameScore:
    image = labelled_picture(label)
    pipeline.reset()
    lanes = pipeline(Frame(image))
    if not isinstance(lanes, Lanes):
        raise ConfigError(f"expected a lane model, got one that gives {type(lanes).__name__}; choose another")
    return score_frame(label, lanes, (image.shape[0], image.shape[1]), supervision)


def _points(
    truth: NDArray[np.float64], found: NDArray[np.float64], rows: NDArray[np.float64], scale: float
) -> tuple[int, int]:
    """Labelled points, and those that the lane which passes most of a line's points passes."""
    points = right = 0
    for line in truth:
        seen = np.isfinite(line)
        slope = float(np.polyfit(rows[seen], line[seen], 1)[0])
        limit = tusimple.PIXEL_THRESHOLD * np.hypot(1.0, slope) / scale
        points += int(seen.sum())
        if len(found):
            right += int((np.abs(found[:, seen] - line[seen]) < limit).sum(axis=1).max())
    return points, right
