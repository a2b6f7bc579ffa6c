"""From labels made of keywords to an engine: the bundled training and packaging, told about the labels' classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rtseg.counted import counted
from rtseg.errors import ConfigError, WeakSupervisionError
from rtseg.lab.training.checkpoints import CHECKPOINT
from rtseg.lab.training.configurations import load_stages, parse_config
from rtseg.lab.training.instances.config import InstanceConfig
from rtseg.lab.weak.annotations import read_annotations
from rtseg.lab.weak.keywords.labels import IMAGES, LABELS
from rtseg.lab.weak.stages import file_digest

TRAINING = "09-training"
FINDER = "finder"
"""The stage of a configuration that learns masks without classes, where it has such a stage."""
_INPUTS = "inputs.json"


def train_from_labels(
    run: Path, out: Path, config: str | Path = "instances-lite", epochs: int | None = None, start: str | None = None
) -> Path:
    """Train an instance network on the labels of a run of `rtseg weak label`, and make a model folder of it.

    Args:
        run: folder of the labelling run; the training's products go to its `09-training`. A training that was
            interrupted goes on from its last epoch, unless labels or configuration are others.
        out: model folder to write.
        config: see :func:`fit_config`.
        epochs: instead of the configuration's.
        start: what to go on from instead of the configuration's, as of :func:`rtseg.lab.training.train.train`; its
            classes may be others, as those of the finder of masks are. A configuration with a stage `finder` trains by
            the stage after that.

    Returns:
        The path of the model's card.

    Raises:
        WeakSupervisionError: there are no finished labels, or none has an instance.
        ConfigError: the configuration is of no instance network, or does not validate.
        ModelError: there is nothing to start from, or it is another network's.
    """
    labels = run / "08-labels"
    if not (labels / LABELS).is_file():
        raise WeakSupervisionError(f"expected labels in {labels}, got none; run rtseg weak label --out {run} first")
    fitted = fit_config(labels, config, epochs, after_finder=start is not None)
    command = f"rtseg weak train {run} --config {config} --out {out}"
    if epochs is not None:
        command += f" --epochs {epochs}"
    if start is not None:
        fitted = fitted.model_copy(update={"start": start})
        command += f" --start {start}"
    data = [f"{counted(fitted.samples_per_epoch, 'frame')} labelled by rtseg weak label from keywords"]
    return train_model(labels, fitted, run / TRAINING, out, command, data)


def fit_config(
    labels: Path, config: str | Path, epochs: int | None = None, after_finder: bool = False
) -> InstanceConfig:
    """A training configuration for the classes and the number of frames of some labels.

    Args:
        labels: folder of `instances.json` (COCO) and `images`.
        config: bundled training configuration of an instance network, or a file; its classes and the length of an
            epoch are replaced by the labels'. Weights of its own classes are left out where the labels have others.
        epochs: instead of the configuration's.
        after_finder: see :func:`instance_config`.

    Raises:
        WeakSupervisionError: the labels cannot be read, or have no instance.
        ConfigError: the configuration is of no instance network, or does not validate.
    """
    content = read_annotations(labels / LABELS)
    if not content["annotations"]:
        raise WeakSupervisionError(f"expected instances to learn from in {labels / LABELS}, got none; see its report")
    chosen = instance_config(config, after_finder)
    fields = chosen.model_dump()
    classes = tuple(category["name"] for category in content["categories"])
    if classes != chosen.classes:
        fields["loss"]["class_weights"] = ()
    fields |= {
        "stage": "",
        "after": "",
        "classes": classes,
        "samples_per_epoch": len(content["images"]),
        "epochs": epochs or chosen.epochs,
    }
    fitted = parse_config(fields, f"the training configuration {config} for the labels in {labels}")
    assert isinstance(fitted, InstanceConfig)
    return fitted


def instance_config(config: str | Path, after_finder: bool = False) -> InstanceConfig:
    """Read a bundled training configuration, or a file, of an instance network.

    Args:
        config: of several stages it is the first: the others go on from what was trained on labels of its own.
        after_finder: the stage that goes on from a stage `finder`, where there is one.

    Raises:
        ConfigError: it is of no instance network, or does not validate.
    """
    stages = load_stages(config)
    chosen = next((stage for stage in stages if after_finder and stage.after == FINDER), stages[0])
    if not isinstance(chosen, InstanceConfig):
        raise ConfigError(f"expected a configuration of an instance network, got {config} of {chosen.model}")
    return chosen


def train_model(
    labels: Path, config: InstanceConfig, folder: Path, out: Path, command: str, data: Sequence[str]
) -> Path:
    """Train a network on labels and make a model folder of it; an interrupted training goes on from its last epoch.

    Args:
        labels: folder of `instances.json` (COCO) and `images`, on which int8 ranges are chosen too.
        config: from :func:`fit_config`.
        folder: of the training's products.
        out: model folder to write.
        command: how the model is made, for its card.
        data: what it was trained on, for its card.

    Returns:
        The path of the model's card.
    """
    from rtseg.lab.deploy.package import package_model
    from rtseg.lab.training.train import train

    folder.mkdir(parents=True, exist_ok=True)
    inputs = {"labels": file_digest(labels / LABELS), "config": config.model_dump(mode="json")}
    record = folder / _INPUTS
    before = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else None
    # A checkpoint of other labels or another network must not be gone on from.
    resume = before == json.loads(json.dumps(inputs)) and (folder / CHECKPOINT).is_file()
    record.write_text(json.dumps(inputs), encoding="utf-8")
    train(config, [labels], folder, resume)
    return package_model(folder, out, [labels / IMAGES], command, data)
