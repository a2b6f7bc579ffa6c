"""Labels that lie beside a recording, and what results are worth by them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from rtseg.counted import counted
from rtseg.errors import DatasetError
from rtseg.frame import Frame
from rtseg.lab.data.culane import CulaneImage
from rtseg.lab.data.instance_folders import DRAWN, instance_frames, kind_of_instances
from rtseg.lab.data.instance_labels import InstanceFrame
from rtseg.lab.data.lane_labels import read_lane_labels
from rtseg.lab.data.tusimple import LabelledImage
from rtseg.lab.fleet.local_copy import METADATA
from rtseg.lab.scores.instances.evaluate import scored_truth
from rtseg.lab.scores.instances.evaluation import InstanceEvaluation
from rtseg.lab.scores.instances.overlaps import Overlaps, overlaps
from rtseg.lab.scores.instances.panoptic import frame_quality
from rtseg.lab.scores.instances.scores import score_instances
from rtseg.lab.scores.lanes.evaluate import score_lanes
from rtseg.lab.scores.lanes.samples import sample_of
from rtseg.media.images import IMAGE_SUFFIXES
from rtseg.results import Instances, Lanes
from rtseg.runtime.card import ModelCard

ACCURACY, FALSE_POSITIVE, FALSE_NEGATIVE = "accuracy", "false positive rate", "false negative rate"
COUNTS = ("culane true positives", "culane false positives", "culane false negatives")
INVENTED = "lanes where there are none"
QUALITY = "PQ of the frame"
BETTER = {
    **dict.fromkeys((ACCURACY, QUALITY, COUNTS[0]), "higher"),
    **dict.fromkeys((FALSE_POSITIVE, FALSE_NEGATIVE, INVENTED, *COUNTS[1:]), "lower"),
}
"""Which way is better of each frame's scores."""

_NUMBERED = "frame_"  # begins the names of frames that are told by their number in the recording


@dataclass(frozen=True)
class FrameScore:
    """What a frame's label says of its result.

    Attributes:
        scores: by metric; which metrics there are depends on what is in the label.
        overlaps: of instances found and true, as JSON: what the benchmarks' scores of many frames are computed from.
    """

    scores: dict[str, float]
    overlaps: str | None = None


class Truth:
    """The labels of one recording.

    Labels of a folder of pictures name its pictures. Those of other recordings name frames as `rtseg weak` and
    ``--labels`` do: by their stamp in nanoseconds, or ``frame_000123`` by their number from 0.

    Args:
        labels: folder of any kind that `rtseg evaluate` reads.
        recording: that they lie beside.
        card: of the model, whose task says which labels are meant.

    Raises:
        DatasetError: the labels do not parse, or are of the other task.
    """

    def __init__(self, labels: Path, recording: Path, card: ModelCard) -> None:
        self._card = card
        self._frames: dict[str, LabelledImage | CulaneImage | InstanceFrame] = {}
        read = _lane_labels(labels) if card.task == "lanes" else _object_labels(labels)
        pictures = _holds_pictures(recording)
        for frame in read:
            path = frame.path if isinstance(frame, InstanceFrame) else frame.image
            if not pictures:
                self._frames[path.stem] = frame
            elif os.path.realpath(path.parent) == os.path.realpath(recording):
                self._frames[path.name] = frame

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def numbered(self) -> bool:
        """Whether frames are told by their number, which is only known from the recording's start."""
        return any(name.startswith(_NUMBERED) for name in self._frames)

    def score(self, frame: Frame, number: int, result: Lanes | Instances) -> FrameScore | None:
        """Score the result of a frame; None for one without a label.

        Args:
            frame: with its picture.
            number: of it in its recording, from 0.
            result: that it gave.

        Raises:
            DatasetError: the label does not fit the picture.
        """
        names = (Path(frame.name).name,) if frame.name else (str(frame.stamp), f"{_NUMBERED}{number:06d}")
        label = next((self._frames[name] for name in names if name in self._frames), None)
        if label is None:
            return None
        if isinstance(label, InstanceFrame):
            assert isinstance(result, Instances)
            return _score_instances(label, result, self._card.classes)
        assert isinstance(result, Lanes)
        one = score_lanes(sample_of(label, frame.image), result)
        counts = (one.culane.true_positives, one.culane.false_positives, one.culane.false_negatives)
        scores = dict(zip(COUNTS, map(float, counts), strict=True))
        if not one.marked:  # there is no share of no line: the benchmark's accuracy would be 0 whatever is found
            return FrameScore({**scores, INVENTED: float(len(one.confidence) > 0)})
        a = one.tusimple
        shares = {ACCURACY: a.accuracy, FALSE_POSITIVE: a.false_positive, FALSE_NEGATIVE: a.false_negative}
        return FrameScore({**scores, **shares})


def _lane_labels(labels: Path) -> list[LabelledImage | CulaneImage]:
    kind = kind_of_instances(labels)
    if kind and kind not in DRAWN:
        raise DatasetError(f"expected labels of lanes for a model of lanes, got {kind} labels of objects in {labels}")
    return read_lane_labels(labels)


def _object_labels(labels: Path) -> list[InstanceFrame]:
    try:
        return instance_frames([labels])
    except DatasetError as error:
        lanes: Sequence[object] = ()
        with suppress(DatasetError):
            lanes = read_lane_labels(labels)
        told = f"expected labels of objects for a model of objects, got labels of lanes in {labels}"
        raise DatasetError(told if lanes else str(error)) from error


def _holds_pictures(recording: Path) -> bool:
    if recording.is_dir():
        return not (recording / METADATA).is_file()
    return recording.suffix.lower() in IMAGE_SUFFIXES


def _score_instances(label: InstanceFrame, found: Instances, names: tuple[str, ...]) -> FrameScore:
    target = np.array([label.classes.index(name) if name in label.classes else -1 for name in names], np.int64)
    one = overlaps(
        label.name,
        scored_truth(label, label.truth()),
        found.labels,
        target[found.class_ids],
        found.scores,
        len(label.classes),
    )
    named = set(names) & set(label.classes)
    quality = frame_quality(one if named else one.class_agnostic())
    return FrameScore({} if np.isnan(quality) else {QUALITY: float(quality)}, _packed(one, label.classes, names))


def pooled_scores(packed: Iterable[str]) -> dict[str, float]:
    """The benchmarks' scores of labelled frames of instances together, by metric; of each set of classes by itself.

    Args:
        packed: `overlaps` of their rows.

    Raises:
        ConfigError: a scoring tool is not installed.
        DatasetError: rows are damaged.
    """
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Overlaps]] = {}
    for text in packed:
        one, classes, names = _unpacked(text)
        groups.setdefault((classes, names), []).append(one)
    pooled: dict[str, float] = {}
    for (classes, names), frames in groups.items():
        which = f" ({counted(len(frames), 'frame')} of {', '.join(classes[:3])}...)" if len(groups) > 1 else ""
        scores = score_instances(frames, classes, names)
        metrics = InstanceEvaluation("", None, len(frames), scores).metrics()
        pooled |= {f"{name}{which}": value for name, value in metrics.items()}
    return pooled


def _packed(one: Overlaps, classes: tuple[str, ...], names: tuple[str, ...]) -> str:
    entries = {field.name: getattr(one, field.name) for field in fields(one)}
    plain = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in entries.items()}
    return json.dumps({"of": classes, "model": names, **plain})


def _unpacked(text: str) -> tuple[Overlaps, tuple[str, ...], tuple[str, ...]]:
    """Overlaps, the classes that they count, and those of the model."""
    try:
        entries: dict[str, Any] = json.loads(text)
        classes, names = tuple(entries.pop("of")), tuple(entries.pop("model"))
        n, m = len(entries["classes"]), len(entries["true_classes"])
        kinds = {"classes": np.int32, "true_classes": np.int32, "scores": np.float64, "distances": np.float64}
        shapes = {"both": (n, m), "crowd": (n, len(classes))}
        for name in entries.keys() - {"name", "size"}:
            if entries[name] is not None:
                array = np.array(entries[name], kinds.get(name, np.int64))
                entries[name] = array.reshape(shapes.get(name, array.shape))
        return Overlaps(**{**entries, "size": tuple(entries["size"])}), classes, names
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"expected overlaps as rows have them, got {text[:60]!r} ({error})") from error
