"""Training in stages: each goes on from an earlier one, and the last one's weights are the run's."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from rtseg.errors import ConfigError
from rtseg.files import write_text
from rtseg.lab.data.tusimple import LABELS
from rtseg.lab.training.checkpoints import CHECKPOINT
from rtseg.lab.training.config import RunConfig, TrainingConfig
from rtseg.lab.training.configurations import load_stages
from rtseg.lab.training.hours import Deadline
from rtseg.lab.training.lanes.sets import find_set
from rtseg.lab.training.quick import quick_stage
from rtseg.lab.training.train import train
from rtseg.runtime import find_model

Teach = Callable[[str | Path, Path, Path, float], None]
"""Labels the recordings in a folder, given the teacher, that folder, the folder to write, and the least confidence."""

# Folders of the run beside those of the stages, which have no underscore in their names.
_TAUGHT = "taught_sets"
_RENDERED = "rendered_frames"
_FINISHED = "finished.yaml"  # in a stage's folder: the configuration that it was trained with to the end
_WEIGHTS = "model.safetensors"


def train_stages(
    config: str | Path,
    data: Sequence[Path],
    out: Path,
    resume: bool = False,
    validation: Sequence[Path] = (),
    cache: Path | None = None,
    start: str | None = None,
    images: Path | None = None,
    quick: bool = False,
    teach: Teach | None = None,
    hours: float | None = None,
) -> Path:
    """Train all stages of a configuration, each in a folder of `out` that has its name; a single stage in `out` itself.

    Args:
        config: file of the configuration, or the name of a bundled one.
        data: as of :func:`rtseg.lab.training.train.train`, for every stage.
        out: folder of the run; it ends with the last stage's `model.safetensors` and `config.yaml`, and `command.txt`.
        resume: go on with the first stage that is not finished, from its last checkpoint if it has one.
        validation: folders of real frames that are only looked at.
        cache: folder of rendered frames, for all stages; in `out` by default.
        start: what the first stage goes on from.
        images: folder of the pictures, where they lie outside of the labels' own.
        quick: see :func:`rtseg.lab.training.quick.shortened`; of several stages one alone, in `out` itself.
        teach: labels recordings for the sets that have a teacher.
        hours: that all of it may take from now on, also where it goes on; stages share them by their samples. None
            trains as the configuration says.

    Returns:
        The path of the safetensors file.

    Raises:
        ConfigError: as of `train`, a stage was finished with another configuration, or a set of a later stage is not
            there; they are looked for before the first is trained.
        DatasetError, ModelError, TrainingError: as of `train`.
    """
    begun = time.monotonic()
    stages = loaded = load_stages(config)
    if quick and loaded[-1].stage:
        stages = (quick_stage(loaded),)
    _check_sets(stages, data)
    if not stages[0].stage:
        ready, folders = _taught(stages[0], data, out, teach)
        named = config if ready is loaded[0] else ready
        deadline = Deadline(begun, 3600 * hours) if hours else None
        return train(named, folders, out, resume, validation, cache, start, images, quick, deadline)
    cache = cache or out / _RENDERED
    for number, stage in enumerate(stages):
        folder = out / stage.stage
        begins = start if number == 0 else None
        if resume and (folder / _FINISHED).is_file():
            _check_finished(folder / _FINISHED, stage)
            continue
        if stage.after:
            begins = str(out / stage.after / _WEIGHTS)
        interrupted = resume and (folder / CHECKPOINT).is_file()
        ready, folders = _taught(stage, data, out, teach)
        if stage.blend_with:
            ready = ready.model_copy(update={"blend_with": str(out / stage.blend_with / _WEIGHTS)})
        deadline = None
        if hours:
            # The hours that are left, shared with the stages that follow.
            left = 3600 * hours - (time.monotonic() - begun)
            deadline = Deadline.of(left * _work(stage) / sum(map(_work, stages[number:])))
        train(ready, folders, folder, interrupted, validation, cache, begins, images, quick, deadline)
        write_text(folder / _FINISHED, _text(stage))
    last = out / stages[-1].stage
    for name in (_WEIGHTS, "config.yaml"):
        shutil.copyfile(last / name, out / name)
    told = "".join(f" --data {folder}" for folder in data)
    started = f" --start {start}" if start is not None else ""
    write_text(out / "command.txt", f"rtseg train {config}{started}{told} --out {out}\n")
    return out / _WEIGHTS


def _work(stage: RunConfig) -> int:
    """How much there is to do, in pixels."""
    return stage.epochs * stage.samples_per_epoch * stage.input.width * stage.input.height


def _check_sets(stages: Sequence[RunConfig], data: Sequence[Path]) -> None:
    """Make sure that all sets are there, and the models that teach them, before hours are spent."""
    before: list[str] = []
    for stage in stages:
        for part in stage.data.sets if isinstance(stage, TrainingConfig) else ():
            find_set(part.folder, data)
            if part.teacher and part.teacher not in before:
                find_model(part.teacher)
        before.append(stage.stage)


def _taught(stage: RunConfig, data: Sequence[Path], out: Path, teach: Teach | None) -> tuple[RunConfig, Sequence[Path]]:
    """The stage with labels for its recordings, and the folders of data with them."""
    if not isinstance(stage, TrainingConfig) or not any(part.teacher for part in stage.data.sets):
        return stage, data
    if teach is None:
        raise ConfigError("expected labels, got recordings and nothing to label them with; train with rtseg train")
    sets = []
    for part in stage.data.sets:
        if part.teacher:
            labels = out / _TAUGHT / f"{part.folder}-by-{part.teacher}"
            if not (labels / LABELS).is_file():
                run = out / part.teacher
                teacher = run if (run / _WEIGHTS).is_file() else part.teacher
                teach(teacher, find_set(part.folder, data), labels, part.confidence)
            part = part.model_copy(update={"folder": labels.name, "teacher": ""})
        sets.append(part)
    changed = stage.data.model_copy(update={"sets": tuple(sets)})
    return stage.model_copy(update={"data": changed}), [*data, out / _TAUGHT]


def _text(stage: RunConfig) -> str:
    return yaml.safe_dump(stage.model_dump(mode="json"), sort_keys=False)


def _check_finished(record: Path, stage: RunConfig) -> None:
    if record.read_text(encoding="utf-8") != _text(stage):
        raise ConfigError(
            f"expected the stage {stage.stage} to be configured as when it was finished ({record}); "
            "delete its folder and those of the stages after it to train them anew"
        )
