"""Score an instance pipeline on labelled frames: as it is, with true head maps, and as the papers vary it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rtseg.counted import counted
from rtseg.errors import ConfigError, DatasetError
from rtseg.files import check_outputs
from rtseg.frame import Frame
from rtseg.instances.interpreter import InstanceInterpreter
from rtseg.lab.data.cityscapes import GtFineFrame
from rtseg.lab.data.instance_folders import HOLDOUT_CITIES, instance_frames
from rtseg.lab.data.instance_labels import InstanceFrame, InstanceTruth
from rtseg.lab.data.selection import evenly
from rtseg.lab.scores.instances.distances import instance_distances
from rtseg.lab.scores.instances.evaluation import InstanceEvaluation
from rtseg.lab.scores.instances.overlaps import Overlaps, ScoredTruth, overlaps
from rtseg.lab.scores.instances.scores import score_instances
from rtseg.lab.scores.instances.sheet import InstanceSheet
from rtseg.lab.scores.instances.variants import AS_IT_IS, Variant, ablation_variants, oracle_variants
from rtseg.lab.scores.true_maps import true_maps
from rtseg.printing import described
from rtseg.progress import Bars
from rtseg.results import Instances
from rtseg.runtime import Pipeline
from rtseg.runtime.card import ModelCard
from rtseg.runtime.interpreter import HeadMaps, interpret
from rtseg.runtime.latency import LatencyLog, StageClock

HELD_OUT = "held-out"
ALL = "all"


def evaluate_instances(
    pipeline: Pipeline,
    data: str | Path,
    cities: str = HELD_OUT,
    limit: int | None = None,
    oracles: Sequence[str] = (),
    ablation: bool = False,
    out: str | Path | None = None,
    progress: bool = True,
    pictures: Path | None = None,
    grouping: Literal["cpu", "device"] = "cpu",
) -> InstanceEvaluation:
    """Score `pipeline` on labelled frames, each by itself: tracked ids are reset before it.

    Args:
        pipeline: a loaded instance model.
        data: a folder that :func:`rtseg.lab.data.instance_folders.read_instances` reads.
        cities: ``held-out`` for those that training leaves out (frames without a place count as held out), ``all``, or
            names separated by commas.
        limit: frames to take at most, evenly from all.
        oracles: out of ``semantic``, ``affinity`` and ``ranking``: also score with those outputs replaced by the truth.
        ablation: also score the variants of the paper's ablation.
        out: folder for ``report.html`` and ``scores.json``; None writes nothing.
        progress: show a bar.
        pictures: folder of the pictures, where they lie outside of the labels' own.
        grouping: ``device`` scores what the card says for devices, with the same method computed on the CPU.

    Raises:
        MediaError: `out` is the folder of the labels, or cannot be written.
        ConfigError: no instance model, an unknown oracle, or a scoring tool that is not installed.
        DatasetError: the labels do not parse, or no frame is left.
    """
    card = pipeline.card.on_device() if grouping == "device" else pipeline.card
    if card.task != "instances":
        raise ConfigError(f"expected an instance model, got {card.name} for {card.task}; choose another with --model")
    frames = chosen_frames(data, cities, limit, pictures)
    if out is not None:
        check_outputs(Path(out), ["report.html", "scores.json"], [Path(data)])
    classes = frames[0].classes
    main = _Reading(AS_IT_IS, card)
    with_truth = [_Reading(variant, card) for variant in oracle_variants(oracles)]
    variants = ablation_variants(card) if ablation else []
    varied = {variant.name: _Reading(variant, card) for variant in variants if variant.change}
    latency, sheet = LatencyLog(), InstanceSheet(card.classes)
    for frame in Bars.over(frames, described(Path(data).name), disable=not progress):
        truth = frame.truth()
        scored = scored_truth(frame, truth)
        image = frame.image()
        maps, clock = pipeline.head_maps(image)
        found = main.read(image, maps, frame, truth, scored, clock)
        latency.record(found.times)
        sheet.add(image, found, scored, main.frames[-1])
        for other in (*with_truth, *varied.values()):
            other.read(image, maps, frame, truth, scored)
    sizes = {frame.size for frame in main.frames}
    whose = [f"{cities} cities"] if frames[0].place else []
    evaluation = InstanceEvaluation(
        dataset=", ".join([Path(data).resolve().name, *whose, counted(len(frames), "frame")]),
        size=sizes.pop() if len(sizes) == 1 else None,
        frames=len(frames),
        scores=score_instances(main.frames, classes, card.classes),
        oracles=tuple((each.variant, score_instances(each.frames, classes, card.classes)) for each in with_truth),
        ablation=tuple(
            (v, score_instances(varied[v.name].frames, classes, card.classes) if v.name in varied else None)
            for v in variants
        ),
    )
    if out is not None:
        from rtseg.lab.scores.instances.report import write_instance_report

        write_instance_report(Path(out), evaluation, pipeline, latency, sheet)
    return evaluation


def chosen_frames(
    data: str | Path, cities: str = HELD_OUT, limit: int | None = None, pictures: Path | None = None
) -> list[InstanceFrame]:
    """List the frames to score; see :func:`evaluate_instances`."""
    frames = instance_frames([data], images=pictures)
    if cities != ALL:
        wanted = HOLDOUT_CITIES if cities == HELD_OUT else tuple(city.strip() for city in cities.split(","))
        kept = [frame for frame in frames if frame.place in wanted or (cities == HELD_OUT and not frame.place)]
        if not kept:
            places = ", ".join(sorted({frame.place for frame in frames}))
            raise DatasetError(f"expected frames of {', '.join(wanted)} in {data}, got {places}; choose with --cities")
        frames = kept
    return frames if limit is None else evenly(frames, limit)


def scored_truth(frame: InstanceFrame, truth: InstanceTruth) -> ScoredTruth:
    """What scores compare with: for Cityscapes with all that the benchmark ignores, and with distances if there are."""
    ids = getattr(frame, "instance_ids", None)
    distances = instance_distances(frame, truth) if isinstance(frame, GtFineFrame) else None
    return ScoredTruth.of(truth, ids() if ids else None, distances)


class _Reading:
    """One way of reading the network's outputs, and what it found in every frame."""

    def __init__(self, variant: Variant, card: ModelCard) -> None:
        self.variant = variant
        self.frames: list[Overlaps] = []
        self._heads = [name for name in variant.oracles if name != "ranking"]
        self._card = variant.change(card) if variant.change else card
        self._interpreter = InstanceInterpreter(self._card)

    def read(
        self,
        image: NDArray[np.uint8],
        maps: HeadMaps,
        frame: InstanceFrame,
        truth: InstanceTruth,
        scored: ScoredTruth,
        clock: StageClock | None = None,
    ) -> Instances:
        if self._heads:
            maps = {**maps, **true_maps(self._card, truth, self._heads, frame.classes)}
        self._interpreter.reset()
        found = interpret(self._interpreter, maps, Frame(image), clock or StageClock())
        target = np.array([frame.classes.index(c) if c in frame.classes else -1 for c in self._card.classes])
        one = overlaps(frame.name, scored, found.labels, target[found.class_ids], found.scores, len(frame.classes))
        self.frames.append(one.ranked_by_truth() if "ranking" in self.variant.oracles else one)
        return found
