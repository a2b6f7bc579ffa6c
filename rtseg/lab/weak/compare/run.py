"""Keyword supervision against full labels: one network trained both ways on the same frames, scored in other cities.

In the paper class-agnostic instances come from a network that learned masks without classes (S4Net). Here such a
network learns them in some cities of a labelled set; of the others only keywords are used or, to compare with, all
labels.

| stage | product |
|---|---|
| 01-split | `masks`, one-class labels of the first cities; `keywords`, frames, keyword file and labels of the others |
| 02-finder | a class-agnostic network, trained on the first |
| 03-full | the network that is compared, trained on the labels of the others |
| label | a run of `rtseg weak label` on the others' keywords and the finder's proposals |
| 04-weak | the same network as 03-full, trained on what that run made |
| 05-scores | `scores.json`: the networks in the cities that are held out, and the tags against the truth |
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rtseg.counted import counted
from rtseg.lab.data.instance_folders import read_instances
from rtseg.lab.weak.annotations import Proposals
from rtseg.lab.weak.compare.ablation import AblationRow, ablate
from rtseg.lab.weak.compare.split import MASKS, WORDS, split_stage
from rtseg.lab.weak.compare.trial import KEYWORDS, match_truth
from rtseg.lab.weak.keywords.label import LabelRun, LabelSettings, Progress, label, load_tag_inputs
from rtseg.lab.weak.keywords.labels import IMAGES
from rtseg.lab.weak.keywords.train import FINDER, fit_config, instance_config, train_model
from rtseg.lab.weak.proposals import Found, FrameFile, collect_proposals, open_proposals
from rtseg.lab.weak.recording import stored_frames
from rtseg.lab.weak.stages import Stage, listing_digest, run_stage

LABEL_RUN = "label"
SCORES = "scores.json"
MODELS = ("full", "weak", "finder")
_MODEL, _TRAINING = "model", "training"


def compare(
    data: Path,
    out: Path,
    config: str | Path = "gmis-lite",
    epochs: int | None = None,
    settings: LabelSettings | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a network on keywords and on full labels, and score both; what is in `out` already is taken up.

    Args:
        data: labelled set whose frames name their cities, some of which training leaves out.
        out: folder of all stages.
        config: training configuration of an instance network, the same for all three trainings. If its first stage is
            called `finder`, that is the finder's, and both networks go on from its weights by the stage after it.
        epochs: of each training, instead of the configuration's.
        settings: of the labelling.
        progress: told of every step but those of trainings.

    Returns:
        The content of `05-scores/scores.json`: for each of "full", "weak" and "finder" the metrics of
        :meth:`rtseg.lab.scores.instances.evaluate.InstanceEvaluation.metrics` and "by class" (AP and AP50), in
        [0, 1], None where a class is not there; "split", the cities and frames; "training", epochs and samples;
        "tags", the rows of the ablation on the finder's proposals.

    Raises:
        WeakSupervisionError: too few cities, or no labels can be made.
        DatasetError: the set cannot be read.
        ConfigError: the configuration is of no instance network.
    """
    first = instance_config(config)  # before minutes of work, not after
    split = split_stage(data, out, progress)
    masks, words = split.folder / MASKS, split.folder / WORDS
    finder = train_stage(out, 2, "finder", masks, split.digest, config, epochs, "masks without classes")
    start = finder if first.stage == FINDER else None
    full = train_stage(out, 3, "full", words, split.digest, config, epochs, "labels", start)
    run = label(
        words / IMAGES,
        words / KEYWORDS,
        out / LABEL_RUN,
        open_proposals(finder.folder / _MODEL),
        settings,
        progress=progress,
    )
    labels = run.stages["labels"]
    weak = train_stage(out, 4, "weak", run.labels, labels.digest, config, epochs, "labels made from keywords", start)
    stages = dict(zip(MODELS, (full, weak, finder), strict=True))

    def build(folder: Path) -> Mapping[str, Any]:
        content: dict[str, Any] = {"split": split.summary, "training": {n: s.summary for n, s in stages.items()}}
        for done, (name, stage) in enumerate(stages.items(), 1):
            content[name] = score_model(stage.folder / _MODEL, data)
            if progress:
                progress("scores", done, len(stages))
        content["tags"] = [asdict(row) for row in score_tags(run, words, settings or LabelSettings())]
        (folder / SCORES).write_text(json.dumps(content, indent=1), encoding="utf-8")
        return {}

    inputs = {name: stage.digest for name, stage in stages.items()} | {
        "data": listing_digest(data),
        "tags": labels.digest,
    }
    scores = run_stage(out, 5, "scores", inputs, build)
    return dict(json.loads((scores.folder / SCORES).read_text(encoding="utf-8")))


def train_stage(
    out: Path,
    number: int,
    name: str,
    labels: Path,
    digest: str,
    config: str | Path,
    epochs: int | None,
    kind: str,
    start: Stage | None = None,
) -> Stage:
    """Train the configuration's network on a folder of COCO labels; the product holds `training` and `model`.

    It goes on from the weights of `start`, the finder's stage, where that is given.

    Raises:
        WeakSupervisionError, ConfigError: see :func:`rtseg.lab.weak.keywords.train.fit_config`.
    """
    fitted = fit_config(labels, config, epochs, after_finder=start is not None)
    inputs = {"labels": digest, "config": fitted.model_dump(mode="json")}
    if start is not None:
        fitted = fitted.model_copy(update={"start": str(start.folder / _TRAINING / "model.safetensors")})
        inputs["start"] = start.digest

    def build(folder: Path) -> Mapping[str, Any]:
        trained = f"{counted(fitted.samples_per_epoch, 'frame')} with {kind}"
        train_model(labels, fitted, folder / _TRAINING, folder / _MODEL, f"rtseg weak compare, {name}", [trained])
        return {"epochs": fitted.epochs, "samples": fitted.epochs * fitted.samples_per_epoch}

    return run_stage(out, number, name, inputs, build)


def score_model(model: Path, data: Path) -> dict[str, Any]:
    """Score a model's float network on the cities that are held out, as `rtseg evaluate` does."""
    from rtseg.lab.deploy.network_files import FLOAT
    from rtseg.lab.scores.instances.evaluate import evaluate_instances
    from rtseg.loading import load

    pipeline = load(model, network=FLOAT)
    evaluation = evaluate_instances(pipeline, data, progress=False)
    pipeline.close()
    scores = evaluation.scores
    by_class = scores.cityscapes_by_class or scores.coco_by_class
    return {
        **evaluation.metrics(),
        "frames": evaluation.frames,
        "true": scores.true,
        "by class": {name: {"AP": _finite(one.ap), "AP50": _finite(one.ap50)} for name, one in by_class.items()},
    }


def score_tags(run: LabelRun, labelled: Path, settings: LabelSettings) -> list[AblationRow]:
    """Compare a run's tags, and other ways to assign them, with the labels of its frames (a COCO folder)."""
    inputs = load_tag_inputs(run.stages)
    objects, class_ids = _true_objects(stored_frames(run.stages["frames"].folder), labelled)
    truth = match_truth(inputs.proposals, objects, class_ids)
    return ablate(inputs, truth, settings.beta, settings.retention)


def _true_objects(files: list[FrameFile], labelled: Path) -> tuple[Proposals, np.ndarray]:
    frames = {frame.name: frame for frame in read_instances(labelled)}
    class_ids: list[int] = []

    def find(file: FrameFile) -> list[Found]:
        truth = frames[file.name].truth()
        class_ids.extend(truth.class_ids.tolist())
        return [Found(truth.instances == i) for i in range(1, len(truth) + 1)]

    objects, _ = collect_proposals(files, find, min_area=1)
    return objects, np.array(class_ids, np.int64)


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value
