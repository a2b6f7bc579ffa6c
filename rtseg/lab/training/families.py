"""What `rtseg train` can train: for each model its configuration, its Lightning module and its data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from rtseg.errors import ConfigError
from rtseg.lab.data.instance_labels import InstanceFrame
from rtseg.lab.training.averaged_module import AveragedModule
from rtseg.lab.training.config import RunConfig, TrainingConfig
from rtseg.lab.training.exemplar.config import ExemplarConfig
from rtseg.lab.training.exemplar.data import MaskDataset, mask_files
from rtseg.lab.training.exemplar.module import ExemplarModule, build_solo_network
from rtseg.lab.training.instances.config import DaffNetConfig, GMISConfig, InstanceConfig, L2CInstancesConfig
from rtseg.lab.training.instances.datasets import (
    InstanceDataset,
    InstanceShape,
    by_repeat_factor,
    instance_frames,
    rendered_streets,
)
from rtseg.lab.training.instances.module import InstanceModule, build_instance_network
from rtseg.lab.training.lanes.datasets import LabelledFrame, LaneDataset, MixtureSampler, load_real, render_cache
from rtseg.lab.training.lanes.module import LaneModule, build_network
from rtseg.lab.training.lanes.sets import open_set
from rtseg.lab.training.lanes.targets import SampleShape
from rtseg.lab.training.quick import with_own_classes
from rtseg.ops.threads import thread_count


@dataclass(frozen=True)
class Rendering:
    """Where rendered frames are kept, and when there are enough of them, of the clock `time.monotonic`."""

    folder: Path
    until: float = math.inf


@dataclass(frozen=True)
class RunData:
    """Samples of a run.

    Attributes:
        training: the samples that are drawn from.
        sampler: draws (index, draw) of them, anew every epoch.
        held_out: sets of samples that are only looked at, by name.
        rendered: rendered frames among the samples.
    """

    training: Dataset[Any]
    sampler: MixtureSampler
    held_out: Mapping[str, Dataset[Any]] = field(default_factory=dict)
    rendered: int = 0


@dataclass(frozen=True)
class Family:
    """How one kind of model is trained.

    Attributes:
        config: its configuration.
        build: makes the network of a configuration; the second argument overrides whether it starts pretrained.
        module: makes the Lightning module.
        data: opens the samples, given configuration, network, folders of labelled frames, folders that are only looked
            at, where frames are rendered, and perhaps the folder of the pictures; raises ConfigError where folders
            are missing.
        own_classes: gives the configuration the classes that labels name; None where labels have no classes.
    """

    config: type[RunConfig]
    build: Callable[[Any, bool | None], nn.Module]
    module: Callable[[Any], AveragedModule]
    data: Callable[[Any, Any, Sequence[Path], Sequence[Path], Rendering, Path | None], RunData]
    own_classes: Callable[[Any, Sequence[Path], Path | None], RunConfig] | None = None


def lane_shape(config: TrainingConfig, net: Any) -> SampleShape:
    """The samples that a lane configuration asks for, normalized as its backbone wants."""
    labels = config.labels
    return SampleShape(
        size=(config.input.height, config.input.width),
        mean=net.mean,
        std=net.std,
        lanes=config.network.lanes,
        label_stride=labels.stride,
        near_width=labels.near_width,
        far_width=labels.far_width,
    )


def _lane_data(
    config: TrainingConfig,
    net: Any,
    data: Sequence[Path],
    validation: Sequence[Path],
    rendering: Rendering,
    images: Path | None = None,
) -> RunData:
    share = config.data.rendered_share
    if share < 1 and not data:
        raise ConfigError("expected folders of real frames, since rendered_share is below 1; give --data FOLDER")
    parts = []
    rendered: list[LabelledFrame] = []
    held_out = {"": load_real(validation, images)} if validation else {}
    if share < 1 and not config.data.sets:
        parts.append((load_real(data, images), 1.0 - share))
    elif share < 1:
        whole = sum(part.share for part in config.data.sets)
        for part in config.data.sets:
            learned, kept = open_set(part, data)
            if part.share:
                parts.append((learned, (1.0 - share) * part.share / whole))
            if kept:
                held_out[part.name] = kept
    if share > 0:  # last, since it takes minutes, and faults of the labels are to be told at once
        seeds, size = range(*config.data.rendered_seeds), config.data.rendered_size
        rendered = render_cache(rendering.folder, seeds, size, until=rendering.until)
        parts.insert(0, (rendered, share))
    shape = lane_shape(config, net)
    dataset = LaneDataset([frame for part, _ in parts for frame in part], shape, config.augment, config.seed)
    weights = [weight for _, weight in parts]
    sampler = MixtureSampler([len(part) for part, _ in parts], weights, config.samples_per_epoch, config.seed)
    looked_at = {name: LaneDataset(frames, shape) for name, frames in held_out.items()}
    return RunData(dataset, sampler, looked_at, len(rendered))


def _instance_data(
    config: InstanceConfig,
    net: Any,
    data: Sequence[Path],
    validation: Sequence[Path],
    rendering: Rendering,
    images: Path | None = None,
) -> RunData:
    if not data:
        raise ConfigError("expected folders of labelled street frames; give --data FOLDER")
    view = (config.input.height, config.input.width)
    crop = config.crop or config.input
    holdout = config.data.holdout
    frames = instance_frames(data, "train", holdout, config.classes, images)
    if frames[0].classes != config.classes:
        raise ConfigError(
            f"expected data of the classes {', '.join(config.classes)}, in this order, "
            f"got {', '.join(frames[0].classes)}; write those into a copy of the configuration as classes: [...]"
        )
    looked_at = instance_frames(validation, "holdout", holdout, config.classes, images) if validation else []
    shape = InstanceShape((crop.height, crop.width), net.mean, net.std, view)
    share = config.data.rendered_share
    repeated = by_repeat_factor(frames, config.data.repeat) if config.data.repeat else {1.0: frames}
    counted = sum(factor * len(part) for factor, part in repeated.items())
    parts = [(part, (1.0 - share) * factor * len(part) / counted) for factor, part in repeated.items()]
    rendered: list[InstanceFrame] = []
    if share > 0:  # last, since it takes minutes, and faults of the labels are to be told at once
        seeds, size = range(*config.data.rendered_seeds), config.data.rendered_size
        rendered = rendered_streets(rendering.folder, seeds, size, rendering.until)
        parts.append((rendered, share))
    dataset = InstanceDataset([frame for part, _ in parts for frame in part], shape, config.augment, config.seed)
    weights = [weight for _, weight in parts]
    sampler = MixtureSampler([len(part) for part, _ in parts], weights, config.samples_per_epoch, config.seed)
    whole = InstanceShape(view, net.mean, net.std)
    held_out: dict[str, Dataset[Any]] = {"": InstanceDataset(looked_at, whole)} if looked_at else {}
    return RunData(dataset, sampler, held_out, len(rendered))


def _mask_data(
    config: ExemplarConfig,
    net: Any,
    data: Sequence[Path],
    validation: Sequence[Path],
    rendering: Rendering,
    images: Path | None = None,
) -> RunData:
    if not data:
        raise ConfigError("expected folders of masks; make them with rtseg weak exemplar and give --data FOLDER")
    view = (config.input.height, config.input.width)
    crop = config.crop or config.input
    files = mask_files(data)
    dataset = MaskDataset(
        files,
        (crop.height, crop.width),
        view,
        net.mean,
        net.std,
        config.masks,
        config.network.embedding,
        config.augment,
        config.least_score,
        config.seed,
    )
    sampler = MixtureSampler([len(files)], [1.0], config.samples_per_epoch, config.seed)
    return RunData(dataset, sampler)


FAMILIES: dict[str, Family] = {
    "lanes": Family(TrainingConfig, build_network, LaneModule, _lane_data),
    "l2c-instances": Family(
        L2CInstancesConfig, build_instance_network, InstanceModule, _instance_data, with_own_classes
    ),
    "gmis": Family(GMISConfig, build_instance_network, InstanceModule, _instance_data, with_own_classes),
    "daffnet": Family(DaffNetConfig, build_instance_network, InstanceModule, _instance_data, with_own_classes),
    "exemplar-solo": Family(ExemplarConfig, build_solo_network, ExemplarModule, _mask_data),
}
"""By the name that a configuration gives as its `model`."""


def training_loader(config: RunConfig, data: RunData) -> DataLoader[Any]:
    """Batches for one of the run's processes, prepared by no more others than there are cores."""
    workers = min(config.workers, thread_count(None))
    return DataLoader(
        data.training,
        batch_size=max(1, config.batch // config.processes),
        sampler=data.sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_single_threaded,
    )


def _single_threaded(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
