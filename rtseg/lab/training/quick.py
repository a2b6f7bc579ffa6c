"""A configuration made to fit one's own few pictures: shorter, and of the classes that were drawn."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from rtseg.lab.data.instance_folders import instance_frames
from rtseg.lab.training.config import RunConfig, TrainingConfig
from rtseg.lab.training.instances.config import InstanceConfig

logger = logging.getLogger("rtseg")

RENDERED = 24
SAMPLES = {True: 48, False: 64}
"""An epoch's, for lanes and for instances: seconds to a minute on two cores."""
BATCH = 8
EPOCHS = 5

Config = TypeVar("Config", bound=RunConfig)


def shortened(config: Config) -> Config:
    """The configuration for a first look: five short epochs at most, of small batches, and few rendered frames.

    What comes out tells whether labels, classes and export fit, and knows a handful of pictures; for a model to drive
    with the whole configuration is run.
    """
    lanes = isinstance(config, TrainingConfig)
    changed: dict[str, Any] = {
        "epochs": min(config.epochs, EPOCHS),
        "batch": min(config.batch, BATCH),
        "samples_per_epoch": min(config.samples_per_epoch, SAMPLES[lanes]),
        "optimizer": config.optimizer.model_copy(update={"warmup_steps": min(config.optimizer.warmup_steps, 5)}),
    }
    return config.model_copy(update=changed).with_rendered(RENDERED)


def quick_stage(stages: Sequence[RunConfig]) -> RunConfig:
    """The one of several stages that stands for all where there are minutes: of instances the last that learns from
    real frames alone, at the rate of a network that knows little yet; of lanes the last.
    """
    real = [each for each in stages if isinstance(each, InstanceConfig) and not each.data.rendered_share]
    return (real or stages)[-1].model_copy(update={"stage": "", "after": "", "blend": 1.0, "blend_with": ""})


def with_own_classes(config: InstanceConfig, data: Sequence[Path], images: Path | None = None) -> InstanceConfig:
    """The configuration with the classes of the labels, where these have none of its own; streets are then not
    rendered, since they have its own.

    Raises:
        DatasetError: the labels do not parse, or have different classes.
    """
    if not data:
        return config
    found = instance_frames(data, images=images)[0].classes
    if set(found) & set(config.classes):
        left = [name for name in found if name not in config.classes]
        if left:
            logger.warning("labels of %s are left out: the configuration has no such classes", ", ".join(left))
        return config
    logger.warning("the network learns the classes of the labels: %s", ", ".join(found))
    changed: dict[str, Any] = {"classes": found, "data": config.data.model_copy(update={"rendered_share": 0.0})}
    loss = getattr(config, "loss", None)
    if loss is not None and getattr(loss, "class_weights", None):
        changed["loss"] = loss.model_copy(update={"class_weights": ()})
    return config.model_copy(update=changed)
