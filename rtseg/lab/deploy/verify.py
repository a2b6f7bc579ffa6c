"""Does an engine find what the model finds? Two networks of one model on the same frames, and what one loses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from rtseg.counted import counted
from rtseg.errors import ConfigError, DatasetError
from rtseg.frame import Frame
from rtseg.lab.deploy.calibration_frames import draw_frames
from rtseg.lab.deploy.calibration_metric import task_metric
from rtseg.lab.deploy.recipe import CalibrationSettings
from rtseg.loading import load
from rtseg.ops.assignment import assign
from rtseg.results import Instances, Lanes
from rtseg.runtime import Pipeline, find_model
from rtseg.runtime.card import Task

SAME_LINE = 0.012  # of the width: mean distance between two lines that are one
SAME_OBJECT = 0.5  # intersection over union of two masks that are one


@dataclass
class MapDifference:
    """One output of the network, over all frames.

    Attributes:
        squares: mean squares of the difference, by frame.
        spread: variances of the reference.
        greatest: absolute difference.
    """

    squares: list[float] = field(default_factory=list)
    spread: list[float] = field(default_factory=list)
    greatest: float = 0.0

    @property
    def relative(self) -> float:
        """Root mean square difference in standard deviations of the reference."""
        return float(np.sqrt(np.mean(self.squares) / max(float(np.mean(self.spread)), 1e-30)))


@dataclass
class Verification:
    """What the candidate found beside the reference.

    Attributes:
        task: of the model.
        reference, candidate: what ran, in words.
        frames: number compared.
        maps: by name of the output.
        expected: lines or objects that the reference found.
        kept: of those, found by the candidate too.
        renamed: kept ones whose class is another.
        invented: what the candidate alone found.
        distances: of kept lines from their reference, pixels; or overlaps (IoU) of kept objects.
        worst: (lost or invented, index of the frame), the worst last.
    """

    task: Task
    reference: str
    candidate: str
    frames: int = 0
    maps: dict[str, MapDifference] = field(default_factory=dict)
    expected: int = 0
    kept: int = 0
    renamed: int = 0
    invented: int = 0
    distances: list[float] = field(default_factory=list)
    worst: tuple[int, int] = (0, -1)

    @property
    def lost_share(self) -> float:
        """Share of what the reference found that is lost, renamed or invented, at most 1."""
        wrong = self.expected - self.kept + self.renamed + self.invented
        return min(1.0, wrong / max(self.expected, 1)) if wrong else 0.0

    def figures(self) -> dict[str, object]:
        """The same for programs; distances of lines in pixels, or overlaps of objects."""
        maps = {name: {"relative_rms": each.relative, "greatest": each.greatest} for name, each in self.maps.items()}
        names = ("reference", "candidate", "frames", "expected", "kept", "renamed", "invented", "lost_share")
        median = float(np.median(self.distances)) if self.distances else None
        return {**{name: getattr(self, name) for name in names}, "median": median, "maps": maps}

    def table(self) -> Table:
        """The figures as a table for a terminal."""
        noun, measure = ("lines", "distance in pixels") if self.task == "lanes" else ("objects", "overlap (IoU)")
        table = Table(
            "what", "figure", title=f"{self.candidate} beside {self.reference}: {counted(self.frames, 'frame')}"
        )
        for name, each in self.maps.items():
            table.add_row(f"{name}: rms difference", f"{100 * each.relative:.3g} % of its spread")
            table.add_row(f"{name}: greatest difference", f"{each.greatest:.3g}")
        table.add_row(f"{noun} of the reference", str(self.expected))
        table.add_row("lost", str(self.expected - self.kept))
        table.add_row("of another class", str(self.renamed))
        table.add_row("found by the candidate alone", str(self.invented))
        if self.distances:
            table.add_row(f"{measure}, median", f"{np.median(self.distances):.4g}")
            worst = max(self.distances) if self.task == "lanes" else min(self.distances)
            table.add_row(f"{measure}, worst", f"{worst:.4g}")
        if self.worst[1] >= 0:
            table.add_row("worst frame", str(self.worst[1]))
        return table


def verify_model(
    model: str | Path,
    data: Sequence[Path] = (),
    *,
    network: str | None = None,
    against: str | None = None,
    device: str = "cpu",
    backend: str = "onnxruntime",
    frames: int = 50,
    threads: int | None = None,
) -> Verification:
    """Run two networks of a model, or one on two backends, on the same frames, each frame as a still.

    Args:
        model: bundled model or folder with a card.
        data: bags, videos, pictures or folders of pictures; rendered frames by default.
        network: file name of the candidate; the card's preferred one by default.
        against: file name of the reference, which ONNX Runtime runs on the CPU; the card's first fp32 network by
            default, else its preferred one.
        device: of the candidate, as in :func:`rtseg.load`.
        backend: of the candidate; an engine is ``tensorrt`` on ``cuda``.
        frames: most frames to draw from each source.
        threads: of networks on the CPU.

    Raises:
        ConfigError: the two are the same network on the same backend.
        ModelError, BackendError: one of them cannot be loaded.
        MediaError, DatasetError: there are no frames.
    """
    card = find_model(model, network).card
    floats = [file.file for file in card.files if file.precision == "fp32"]
    reference = against or (floats or [card.model.file])[0]
    candidate = network or (None if backend == "tensorrt" else card.model.file)
    if (device, backend, candidate) == ("cpu", "onnxruntime", reference):
        raise ConfigError(
            f"expected two networks or two backends to compare, got {reference} on ONNX Runtime twice; choose the "
            f"candidate with --engine, --backend or --network out of {', '.join(file.file for file in card.files)}"
        )
    first = load(model, device="cpu", backend="onnxruntime", threads=threads, network=reference)
    second = load(model, device=device, backend=backend, threads=threads, network=candidate)
    try:
        before = len(second.fallbacks)
        settings = CalibrationSettings(frames=frames, rendered=0 if data else frames)
        drawn = draw_frames(data, settings, task_metric(card, None, frames, Path()).render)
        found = Verification(card.task, f"{reference} on ONNX Runtime", _named(second, candidate))
        for image in (image for source in drawn.values() for image in source.images):
            _compare(found, first, second, image)
        if len(second.fallbacks) > before:
            raise ConfigError(f"expected the candidate to run to the end, it failed: {second.fallbacks[-1]}")
        if not found.expected and not found.invented:
            raise DatasetError(
                f"expected frames on which {card.name} finds something, got none; give others with --data"
            )
        return found
    finally:
        first.close()
        second.close()


def _named(pipeline: Pipeline, network: str | None) -> str:
    facts = pipeline.backend
    return f"{network or facts.get('engine', pipeline.card.name)} on {facts['backend']}, {facts['device']}"


def _compare(found: Verification, first: Pipeline, second: Pipeline, image: NDArray[np.uint8]) -> None:
    frame = Frame(image)
    (expected, _), (got, _) = first.head_maps(frame), second.head_maps(frame)
    for name, values in expected.items():
        difference = found.maps.setdefault(name, MapDifference())
        apart = np.asarray(got[name], np.float64) - values
        difference.squares.append(float(np.square(apart).mean()))
        difference.spread.append(float(np.var(values, dtype=np.float64)))
        difference.greatest = max(difference.greatest, float(np.abs(apart).max()))
    a, b = first(frame), second(frame)
    pairs = _pair_lines(a, b) if isinstance(a, Lanes) and isinstance(b, Lanes) else _pair_objects(a, b)
    renamed = 0
    if isinstance(a, Instances) and isinstance(b, Instances):
        renamed = sum(int(a.class_ids[i] != b.class_ids[j]) for i, j, _ in pairs)
    wrong = len(a) + len(b) - 2 * len(pairs) + renamed
    if wrong > found.worst[0]:
        found.worst = (wrong, found.frames)
    found.frames += 1
    found.expected += len(a)
    found.kept += len(pairs)
    found.renamed += renamed
    found.invented += len(b) - len(pairs)
    found.distances += [value for _, _, value in pairs]


Pairs = list[tuple[int, int, float]]


def _pair_lines(a: Lanes, b: Lanes) -> Pairs:
    """Lines that are one, with their mean distance in pixels; half of the rows of both have to be in common."""
    height, width = a.mask.shape
    rows = np.arange(height, dtype=np.float64)
    x, y = a.sample(rows), b.sample(rows)
    there = ~np.isnan(x)[:, None] & ~np.isnan(y)[None]
    apart = np.abs(np.nan_to_num(x)[:, None] - np.nan_to_num(y)[None]) * there
    common = there.sum(axis=2)
    longest = np.maximum((~np.isnan(x)).sum(axis=1)[:, None], (~np.isnan(y)).sum(axis=1)[None])
    distance = np.where(2 * common >= np.maximum(longest, 1), apart.sum(axis=2) / np.maximum(common, 1), np.inf)
    limit = SAME_LINE * width
    chosen = assign(np.where(distance <= limit, distance, np.inf), limit)
    return [(i, int(j), float(distance[i, j])) for i, j in enumerate(chosen) if j >= 0]


def _pair_objects(a: Lanes | Instances, b: Lanes | Instances) -> Pairs:
    """Objects that are one, with their intersection over union, whatever their classes."""
    assert isinstance(a, Instances)
    assert isinstance(b, Instances)
    joint = np.bincount(
        a.labels.reshape(-1).astype(np.int64) * (len(b) + 1) + b.labels.reshape(-1),
        minlength=(len(a) + 1) * (len(b) + 1),
    )
    shared = joint.reshape(len(a) + 1, len(b) + 1)[1:, 1:]
    union = a.areas[:, None] + b.areas[None] - shared
    overlap = shared / np.maximum(union, 1)
    chosen = assign(np.where(overlap >= SAME_OBJECT, 1 - overlap, np.inf), 1.0)
    return [(i, int(j), float(overlap[i, j])) for i, j in enumerate(chosen) if j >= 0]
