"""From labels made of keywords to an engine: the bundled training and packaging, told about the labels' classes."""

from __future__ import annotations

import json
from pathlib import Path

from rtseg.errors import ConfigError, WeakSupervisionError
from rtseg.training.config import load_config
from rtseg.training.instance_config import InstanceConfig
from rtseg.weak.annotations import read_annotations
from rtseg.weak.labels import IMAGES, LABELS
from rtseg.weak.stages import file_digest

TRAINING = "09-training"
_INPUTS = "inputs.json"


def train_from_labels(run: Path, out: Path, config: str | Path = "daffnet-lite", epochs: int | None = None) -> Path:
    """Train an instance network on the labels of a run of `rtseg weak label`, and make a model folder of it.

    Args:
        run: folder of the labelling run; the training's products go to its `09-training`. A training that was
            interrupted goes on from its last epoch, unless labels or configuration are others.
        out: model folder to write.
        config: bundled training configuration of an instance network, or a file; its classes and the length of an
            epoch are replaced by the labels'.
        epochs: instead of the configuration's.

    Returns:
        The path of the model's card.

    Raises:
        WeakSupervisionError: there are no finished labels, or none has an instance.
        ConfigError: the configuration is of no instance network, or does not validate.
    """
    from rtseg.deploy.package import package_model
    from rtseg.training.train import train

    labels = run / "08-labels"
    if not (labels / LABELS).is_file():
        raise WeakSupervisionError(f"expected labels in {labels}, got none; run rtseg weak label --out {run} first")
    content = read_annotations(labels / LABELS)
    if not content["annotations"]:
        raise WeakSupervisionError(f"expected instances to learn from in {labels / LABELS}, got none; see its report")
    chosen = load_config(config)
    if not isinstance(chosen, InstanceConfig):
        raise ConfigError(f"expected a configuration of an instance network, got {config} of {chosen.model}")
    fitted = type(chosen).model_validate(
        chosen.model_dump()
        | {
            "classes": tuple(category["name"] for category in content["categories"]),
            "samples_per_epoch": len(content["images"]),
            "epochs": epochs or chosen.epochs,
        }
    )
    folder = run / TRAINING
    folder.mkdir(exist_ok=True)
    inputs = {"labels": file_digest(labels / LABELS), "config": fitted.model_dump(mode="json")}
    record = folder / _INPUTS
    before = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else None
    # A checkpoint of other labels or another network must not be gone on from.
    resume = before == json.loads(json.dumps(inputs)) and (folder / "last.ckpt").is_file()
    record.write_text(json.dumps(inputs), encoding="utf-8")
    train(fitted, [labels], folder, resume)
    command = f"rtseg weak train {run} --config {config} --out {out}"
    data = [f"{len(content['images'])} frames labelled by rtseg weak label from keywords"]
    return package_model(folder, out, [labels / IMAGES], command, data)
