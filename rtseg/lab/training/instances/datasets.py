"""Training samples with instance labels: frames of any format, augmented, as the batch that the losses take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from rtseg.errors import DatasetError
from rtseg.lab.data.cityscapes import read_gtfine
from rtseg.lab.data.instance_folders import HOLDOUT_CITIES, instance_frames
from rtseg.lab.data.instance_labels import InstanceFrame
from rtseg.lab.render.street.folder import seed_of, write_streets
from rtseg.lab.training.instances.augment import InstanceAugmentConfig, augment_instances, cut_window

__all__ = [
    "HOLDOUT_CITIES",
    "InstanceDataset",
    "InstanceShape",
    "by_repeat_factor",
    "instance_frames",
    "number_instances",
    "rendered_streets",
]


@dataclass(frozen=True)
class InstanceShape:
    """What a training sample looks like.

    Attributes:
        size: (height, width) of a sample.
        mean: of the RGB input, 0..255.
        std: of the RGB input, 0..255.
        view: (height, width) to which the whole frame is scaled at run time; `size` if None. A sample smaller than
            the view is a crop of it.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    view: tuple[int, int] | None = None


def rendered_streets(folder: Path, seeds: range, size: tuple[int, int], until: float = math.inf) -> list[InstanceFrame]:
    """Render the streets of a seed range into a folder for their size, once: what is there is kept.

    Args:
        folder: of rendered frames; made if missing.
        seeds: one frame each, see :func:`rtseg.lab.render.street.folder.write_streets`.
        size: (height, width) of the frames.
        until: of the clock `time.monotonic`; then it is enough, from the first frame on.

    Returns:
        The frames in the order of the seeds, the first of them where there was no time for all.
    """
    streets = write_streets(folder / f"streets-{size[1]}x{size[0]}", seeds, size, until=until)
    by_seed = {seed_of(frame.name): frame for frame in read_gtfine(streets)}
    return [by_seed[seed] for seed in takewhile(by_seed.__contains__, seeds)]


class InstanceDataset(Dataset[dict[str, torch.Tensor]]):
    """Augmented samples, the same for the same (seed, draw, index) whatever the number of workers.

    Items, which torch's default collation stacks into a batch:
        image: (3, H, W) float32, normalized RGB.
        semantic: (H, W) uint8, 0 background, 1 + i class i, 255 ignored.
        instances: (H, W) int32, 0 none, 1..n, -1 ignored (crowds, groups, outside the frame).

    Without augmentation a sample is the whole frame scaled to `shape.size`, as at run time.

    Args:
        frames: labelled frames, all of the same classes.
        shape: what a sample looks like.
        augment: strengths, or None for the plain frames.
        seed: of all random choices.

    Raises:
        DatasetError: if there is no frame.
    """

    def __init__(
        self,
        frames: Sequence[InstanceFrame],
        shape: InstanceShape,
        augment: InstanceAugmentConfig | None = None,
        seed: int = 0,
    ) -> None:
        if not frames:
            raise DatasetError("expected at least one labelled frame")
        self.frames = list(frames)
        self.shape = shape
        self.augment = augment
        self.seed = seed
        self.classes = self.frames[0].classes
        self._mean = np.asarray(shape.mean, np.float32)[:, None, None]
        self._scale = 1.0 / np.asarray(shape.std, np.float32)[:, None, None]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, torch.Tensor]:
        index, draw = key if isinstance(key, tuple) else (key, 0)
        frame, shape = self.frames[index], self.shape
        image, truth = frame.image(), frame.truth()
        if truth.instances.shape != image.shape[:2]:
            raise DatasetError(
                f"expected labels of the picture's size in {frame.name}, got {truth.instances.shape} and {image.shape}"
            )
        maps = (truth.instances, truth.semantic)
        fill = (float(shape.mean[2]), float(shape.mean[1]), float(shape.mean[0]))
        if self.augment is None:
            whole = (0.0, 0.0, float(image.shape[0]), float(image.shape[1]))
            image, maps = cut_window(image, maps, whole, shape.size, fill)
        else:
            rng = np.random.default_rng((self.seed, draw, index))
            view = shape.view or shape.size
            image, maps = augment_instances(image, maps, view, shape.size, self.augment, rng, fill)
        planes = np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1), dtype=np.float32)
        planes -= self._mean
        planes *= self._scale
        return {
            "image": torch.from_numpy(planes),
            "semantic": torch.from_numpy(np.ascontiguousarray(maps[1])),
            "instances": torch.from_numpy(number_instances(maps[0])),
        }


def by_repeat_factor(frames: Sequence[InstanceFrame], threshold: float) -> dict[float, list[InstanceFrame]]:
    """Sort frames by how often they should come so that rare classes are seen (repeat factor sampling).

    Args:
        frames: labelled frames; the labels of all of them are read.
        threshold: classes on a smaller share of the frames than this are repeated.

    Returns:
        Frames by factor, in steps of a quarter: the greatest over a frame's classes of ``sqrt(threshold / share)``,
        at least 1.
    """
    classes = [np.unique(frame.truth().class_ids) for frame in frames]
    counts = np.bincount(np.concatenate([np.zeros(0, np.int64), *classes]).astype(np.int64), minlength=1)
    factors = np.maximum(1.0, np.sqrt(threshold * len(frames) / np.maximum(counts, 1)))
    parts: dict[float, list[InstanceFrame]] = {}
    for frame, present in zip(frames, classes, strict=True):
        factor = round(4.0 * float(factors[present].max(initial=1.0))) / 4.0
        parts.setdefault(factor, []).append(frame)
    return dict(sorted(parts.items()))


def number_instances(instances: NDArray[np.int32]) -> NDArray[np.int32]:
    """Number the instances that are left in a cut-out map afresh, 1..n in their old order; 0 and -1 stay."""
    present = np.bincount((instances + 1).ravel(), minlength=2) > 0
    numbers = np.concatenate([[-1, 0], np.cumsum(present[2:])]).astype(np.int32)
    return numbers[instances + 1]
