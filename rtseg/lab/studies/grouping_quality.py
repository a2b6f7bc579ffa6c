"""How each grouping method withstands bad affinities (``rtseg lab grouping-quality``).

True instance masks of Cityscapes frames become the maps a perfect network would give, which are then spoilt with logit
noise, blur and dropped boundaries at rising strength. Every method groups the same maps; AP (IoU .5 to .95) and PQ are
taken over all instances whatever their class, as grouping, not classification, is compared.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.grouping import (
    GMIS_OFFSETS,
    CascadeLevel,
    GraphMergeSettings,
    affinity_union,
    cascade_gaec,
    gaec,
    graph_merge,
)
from rtseg.grouping.cascade import FOUR_NEIGHBORS, foreground
from rtseg.grouping.grouped import channel_means, renumber
from rtseg.lab.data.affinity_scenes import GRID_OFFSETS, Corruption, label_affinities
from rtseg.lab.data.cityscapes import THINGS
from rtseg.lab.data.cityscapes640 import read_cityscapes640
from rtseg.lab.data.instance_labels import InstanceTruth
from rtseg.lab.scores.instances.coco_ap import coco_ap
from rtseg.lab.scores.instances.overlaps import Overlaps, ScoredTruth, overlaps
from rtseg.lab.scores.instances.panoptic import panoptic_quality
from rtseg.ops import union_affinities

SUPER_THINGS = ((1, 2), (3, 4, 5, 6), (7, 8))
"""Section 4.2 of GMIS; channels 1.. in the order of THINGS."""
MERGE = GraphMergeSettings(super_classes=SUPER_THINGS)
ABLATION = {
    "graph_merge, baseline": MERGE.replaced(refine=False, window=1, partition=False),
    "graph_merge, PAR": MERGE.replaced(window=1, partition=False),
    "graph_merge, PAR + FLM 2": MERGE.replaced(partition=False),
    "graph_merge, PAR + FLM 4": MERGE.replaced(partition=False, window=4),
    "graph_merge, PAR + FLM 2 + SCP": MERGE,
}
_MIN_PIXELS = 16


@dataclass(frozen=True)
class Maps:
    """Spoilt maps of one frame.

    Attributes:
        grid: (2, H, W) affinities to the right and lower neighbor.
        far: (56, H, W) affinities of GMIS.
        semantic: (9, H, W) class probabilities.
        levels: pyramid for the cascade, coarse to fine.
    """

    grid: NDArray[np.float32]
    far: NDArray[np.float32]
    semantic: NDArray[np.float32]
    levels: tuple[CascadeLevel, ...]


Result = tuple[NDArray[np.int32], NDArray[np.float64]]


def strength(level: float) -> Corruption:
    """Corruption of one strength; 1 is a good network, 4 a poor one."""
    return Corruption(noise=0.9 * level, smooth_noise=0.5 * level, blur=0.2 * level, dropped=0.015 * level)


def cityscapes_truths(folder: Path, count: int, size: tuple[int, int]) -> Iterator[InstanceTruth]:
    """Read `count` frames, evenly spread over a cityscapes640 folder, at `size` (H, W).

    Raises:
        DatasetError: if the folder does not hold the export.
    """
    frames = read_cityscapes640(folder, size)
    for at in np.linspace(0, len(frames) - 1, min(count, len(frames))).astype(int):
        yield frames[at].truth()


def spoilt_maps(labels: NDArray[np.int32], classes: NDArray[np.int32], corruption: Corruption, seed: int) -> Maps:
    """Make the maps of one frame from its true instances."""
    rng = np.random.default_rng(seed)
    kinds = np.concatenate([[0], classes])
    codes = rng.normal(size=(labels.max() + 1, 8)) * 2.0

    def semantics(ids: NDArray[np.int32]) -> NDArray[np.float32]:
        logits = np.eye(len(THINGS) + 1, dtype=np.float32)[kinds[ids]] * np.float32(5.0)
        if corruption.blur > 0:
            logits = cv2.GaussianBlur(logits, (0, 0), corruption.blur)
        logits = logits + rng.standard_normal(logits.shape, dtype=np.float32) * np.float32(0.5 * corruption.noise)
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.ascontiguousarray((odds / odds.sum(axis=-1, keepdims=True)).transpose(2, 0, 1), dtype=np.float32)

    levels = []
    for stride in (8, 4, 2, 1):
        ids = np.ascontiguousarray(labels[stride // 2 :: stride, stride // 2 :: stride])
        vectors = codes[ids] + rng.normal(size=(*ids.shape, 8)) * 0.5 * corruption.noise
        affinity = label_affinities(ids, FOUR_NEIGHBORS, corruption, seed + stride)
        embedding = np.ascontiguousarray(vectors.transpose(2, 0, 1), dtype=np.float32)
        levels.append(CascadeLevel(affinity, semantics(ids), embedding, stride))
    grid = label_affinities(labels, GRID_OFFSETS, corruption, seed)
    far = label_affinities(labels, GMIS_OFFSETS, corruption, seed)
    return Maps(grid, far, semantics(labels), tuple(levels))


def _scored(labels: NDArray[np.int32], semantic: NDArray[np.float32]) -> Result:
    """Drop small regions, and score the others by their mean probability of the best class."""
    count = int(labels.max(initial=0))
    means, sizes = channel_means(labels.reshape(-1), count, semantic.reshape(len(semantic), -1))
    mapping = np.where(np.append(0, sizes) >= _MIN_PIXELS, np.arange(count + 1), 0).astype(np.int32)
    kept = renumber(labels.reshape(-1), mapping)
    return labels, means[kept - 1, 1:].max(axis=1, initial=0.0)


def _on_grid(method: Callable[..., NDArray[np.int32]], *arguments: float) -> Callable[[Maps], Result]:
    def run(maps: Maps) -> Result:
        background = np.arange(len(THINGS) + 1) == 0
        mask = foreground(maps.semantic, background)
        return _scored(method(maps.grid, GRID_OFFSETS, *arguments, mask=mask), maps.semantic)

    return run


def _cascade(**options: str) -> Callable[[Maps], Result]:
    def run(maps: Maps) -> Result:
        found = cascade_gaec(maps.levels, "exclude", min_area=_MIN_PIXELS, **options)  # type: ignore[arg-type]
        return found.labels, found.scores.astype(np.float64)

    return run


def _merge(settings: GraphMergeSettings) -> Callable[[Maps], Result]:
    def run(maps: Maps) -> Result:
        found = graph_merge(maps.far, maps.semantic, settings)
        return found.labels, found.scores.astype(np.float64)

    return run


METHODS: dict[str, Callable[[Maps], Result]] = {
    "gaec mean": _on_grid(gaec),
    "gaec plain": _on_grid(gaec, 0.5, "plain"),  # type: ignore[arg-type]
    "affinity_union 0.98": _on_grid(affinity_union),
    "affinity_union 0.9": _on_grid(affinity_union, 0.9),
    "cascade_gaec": _cascade(),
    "cascade_gaec, association": _cascade(final="association"),
    "graph_merge": _merge(MERGE),
    "union-find 0.9": _on_grid(union_affinities, 0.9),
}


@dataclass(frozen=True)
class Score:
    """AP and PQ in [0, 1], and the mean CPU milliseconds of a frame."""

    ap: float
    ap50: float
    pq: float
    milliseconds: float


class Tally:
    """Overlaps of one method over many frames, all instances being of one class."""

    def __init__(self) -> None:
        self._frames: list[Overlaps] = []
        self._seconds = 0.0

    def add(
        self, labels: NDArray[np.int32], scores: NDArray[np.floating], truth: InstanceTruth, seconds: float
    ) -> None:
        """Count what the instances of one frame share with the true ones."""
        classes = np.zeros(len(scores), dtype=np.int32)
        found = overlaps("", ScoredTruth.of(truth), labels, classes, scores, len(THINGS))
        self._frames.append(found.class_agnostic())
        self._seconds += seconds

    def score(self) -> Score:
        """COCO's AP with one class, and PQ, in [0, 1]; NaN where there is nothing to find."""
        if not self._frames:
            return Score(math.nan, math.nan, math.nan, math.nan)
        average = coco_ap(self._frames, ("object",))[0]
        quality = panoptic_quality(self._frames, ("object",))[0]
        return Score(average.ap, average.ap50, quality, 1e3 * self._seconds / len(self._frames))


def measure(
    folder: Path, frames: int, size: tuple[int, int], levels: tuple[float, ...], ablation_level: float | None = 2.0
) -> dict[str, dict[str, dict[str, float]]]:
    """Score every method at every strength, and the ablation of graph merge at one.

    Returns:
        {method: {strength: {"ap", "ap50", "pq", "milliseconds"}}}.
    """
    methods = dict(METHODS)
    for name, settings in ABLATION.items():
        methods[name] = _merge(settings)
    tallies = {
        (name, level): Tally() for name in methods for level in levels if name in METHODS or level == ablation_level
    }
    warm = True
    for at, truth in enumerate(cityscapes_truths(folder, frames, size)):
        for level in levels:
            labels = np.maximum(truth.instances, 0)
            maps = spoilt_maps(labels, truth.class_ids + 1, strength(level), seed=1000 * at)
            for (name, of_level), tally in tallies.items():
                if of_level != level:
                    continue
                if warm:
                    methods[name](maps)
                start = time.process_time()
                found, scores = methods[name](maps)
                tally.add(found, scores, truth, time.process_time() - start)
        warm = False
    results: dict[str, dict[str, dict[str, float]]] = {}
    for (name, level), tally in tallies.items():
        results.setdefault(name, {})[f"{level:g}"] = asdict(tally.score())
    return results


def write_quality(
    data: Path, frames: int, size: tuple[int, int], strongest: int, figure: Path
) -> dict[str, dict[str, dict[str, float]]]:
    """Measure at strengths from 0 to `strongest`, draw the figure, and write the results as JSON beside it."""
    results = measure(data, frames, size, tuple(float(level) for level in range(strongest + 1)))
    figure.parent.mkdir(parents=True, exist_ok=True)
    figure.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    plot(results, f"Grouping of spoilt maps, {frames} Cityscapes frames at {size[0]}x{size[1]}", figure)
    return results


def plot(results: dict[str, dict[str, dict[str, float]]], title: str, path: Path) -> None:
    """Draw AP and PQ against strength, and AP against time."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2))
    for i, name in enumerate(METHODS):
        rows = results[name]
        strengths = [float(level) for level in rows]
        marker = "osv^D*xP"[i]
        for axis, key in zip(axes[:2], ("ap", "pq"), strict=True):
            axis.plot(strengths, [row[key] for row in rows.values()], marker=marker, label=name)
        middle = list(rows.values())[len(rows) // 2]
        axes[2].semilogx(middle["milliseconds"], middle["ap"], marker=marker, linestyle="none", markersize=9)
    for axis, label in zip(axes, ("AP", "PQ", "AP"), strict=True):
        axis.set_ylabel(label)
        axis.set_ylim(0, 1)
        axis.grid(alpha=0.3)
        axis.set_xlabel("strength of corruption")
    axes[2].set_xlabel(f"CPU ms a frame, at strength {list(results['gaec mean'])[len(results['gaec mean']) // 2]}")
    axes[0].legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
