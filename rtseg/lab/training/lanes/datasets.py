"""Training samples: rendered frames cached on disk, real labelled frames, and the mixture of the two."""

from __future__ import annotations

import json
import math
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from rtseg.errors import DatasetError, ImageError
from rtseg.lab.data.cityscapes import read_picture
from rtseg.lab.data.culane import CulaneImage, has_test_set
from rtseg.lab.data.lane_labels import check_pictures, read_lane_labels
from rtseg.lab.data.tusimple import LabelledImage
from rtseg.lab.render.road_file import write_road
from rtseg.lab.training.augment import AugmentConfig, augment_appearance, augment_geometry
from rtseg.lab.training.lanes.targets import SampleShape, TargetPainter
from rtseg.lab.training.supervision import Supervision
from rtseg.media.images import read_stored
from rtseg.ops import resize_image


@dataclass(frozen=True)
class LabelledFrame:
    """One image file and its lane lines.

    Attributes:
        path: image file.
        lanes: polylines (k, 2) float32 of (x, y) in the image's pixels, from top to bottom.
        ignored: lines that may be lanes or not: nothing is taught where they are.
        supervision: what the labels tell.
        mask: picture of the paint, for supervision by it.
    """

    path: Path
    lanes: tuple[NDArray[np.float32], ...]
    ignored: tuple[NDArray[np.float32], ...] = ()
    supervision: Supervision = "lines"
    mask: Path | None = None


def render_cache(
    folder: Path,
    seeds: range,
    size: tuple[int, int] = (360, 640),
    workers: int = 2,
    until: float = math.inf,
) -> list[LabelledFrame]:
    """Render the frames of a seed range into a folder, once: ``SEED.jpg`` and ``SEED.json``; what is there is kept.

    Args:
        folder: made if missing.
        seeds: one frame each, `rtseg.lab.render.render_road(seed, size)`.
        size: (height, width) of the frames.
        workers: processes.
        until: of the clock `time.monotonic`; then it is enough, from the first frame on.

    Returns:
        The frames in the order of the seeds, the first of them where there was no time for all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [seed for seed in seeds if not (folder / f"{seed:07d}.json").is_file()]
    if missing:
        from rtseg.progress import Bars

        jobs = [(seed, str(folder), size) for seed in missing]
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            done = pool.imap(write_road, jobs)
            for seed in Bars.over(done, "rendering", total=len(jobs)):
                if time.monotonic() > until:
                    seeds = range(seeds.start, seed + 1)
                    break
    return [_read_rendered(folder / f"{seed:07d}.json") for seed in seeds]


def _read_rendered(path: Path) -> LabelledFrame:
    try:
        lanes = json.loads(path.read_text(encoding="utf-8"))
        lines = tuple(np.asarray(lane, np.float32).reshape(-1, 2) for lane in lanes)
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(
            f"expected the polylines of a rendered frame in {path}: {error}; delete the cache"
        ) from error
    return LabelledFrame(path.with_suffix(".jpg"), tuple(line for line in lines if len(line) >= 2))


def load_real(folders: Sequence[Path], images: Path | None = None) -> list[LabelledFrame]:
    """Read lane labels of any known kind and check that the images are there.

    Args:
        folders: see :func:`rtseg.lab.data.lane_labels.read_lane_labels`.
        images: folder of the pictures, where they lie outside of the labels' own.

    Raises:
        DatasetError: if labels do not parse, an image is missing, or a whole CULane folder is given, which means its
            test set.
    """
    labels: list[LabelledImage | CulaneImage] = []
    for folder in folders:
        if has_test_set(folder):
            raise DatasetError(f"expected CULane's training list, such as {folder}/list/train_gt.txt, got all of it")
        labels += read_lane_labels(folder, "train", images)
    check_pictures(labels)
    return [LabelledFrame(label.image, label.polylines(), label.ignored_polylines()) for label in labels]


class LaneDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Augmented samples, the same for the same (seed, epoch, position) whatever the number of workers.

    Items are `image` (3, H, W) float32 normalized RGB and `ids` (H / s, W / s) uint8: 0 background, 1..n lines, 254 a
    line but not which, 255 ignored. The picture goes through the runtime's own resize.

    Args:
        frames: labelled frames.
        shape: what a sample looks like.
        augment: strengths, or None for the plain frames.
        seed: of all random choices.
        work_size: (height, width) at which geometry is augmented, twice the input's or so.
    """

    def __init__(
        self,
        frames: Sequence[LabelledFrame],
        shape: SampleShape,
        augment: AugmentConfig | None = None,
        seed: int = 0,
        work_size: tuple[int, int] = (360, 640),
    ) -> None:
        self.frames = list(frames)
        self.shape = shape
        self.augment = augment
        self.seed = seed
        self.work_size = work_size
        self._mean = np.asarray(shape.mean, np.float32)[:, None, None]
        self._scale = 1.0 / np.asarray(shape.std, np.float32)[:, None, None]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        index, draw = key if isinstance(key, tuple) else (key, 0)
        frame = self.frames[index]
        image, lanes, mask = self._read(frame)
        if self.augment is not None:
            rng = np.random.default_rng((self.seed, draw, index))
            image, lanes, mask = augment_geometry(image, lanes, self.augment, rng, mask)
            small = resize_image(image, self.shape.size)
            small = augment_appearance(small, self.augment, rng)
        else:
            small = resize_image(image, self.shape.size)
        painter, known = TargetPainter(self.shape, (image.shape[0], image.shape[1])), len(frame.lanes)
        if mask is not None:
            ids = painter.mask(lanes[:known], mask)
        elif frame.supervision == "ego":
            ids = painter.ego(lanes[:known])
        else:
            ids = painter.lines(lanes[:known], lanes[known:])
        planes = np.ascontiguousarray(small[:, :, ::-1].transpose(2, 0, 1), dtype=np.float32)
        planes -= self._mean
        planes *= self._scale
        return torch.from_numpy(planes), torch.from_numpy(ids)

    def _read(
        self, frame: LabelledFrame
    ) -> tuple[NDArray[np.uint8], list[NDArray[np.float32]], NDArray[np.uint8] | None]:
        image = read_picture(frame.path)
        mask = None if frame.mask is None else _read_mask(frame.mask)
        if mask is not None and mask.shape != image.shape[:2]:
            raise DatasetError(f"expected a mask of the size of its picture, got {mask.shape} at {frame.mask}")
        lanes = [np.asarray(lane, np.float32) for lane in (*frame.lanes, *frame.ignored)]
        if self.augment is not None and image.shape[0] >= 1.5 * self.work_size[0]:
            factor = np.array([self.work_size[1] / image.shape[1], self.work_size[0] / image.shape[0]], np.float32)
            image = resize_image(image, self.work_size)
            if mask is not None:
                mask = np.asarray(cv2.resize(mask, self.work_size[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
            lanes = [(lane + 0.5) * factor - 0.5 for lane in lanes]
        return image, lanes, mask


def _read_mask(path: Path) -> NDArray[np.uint8]:
    try:
        mask = read_stored(path)
    except ImageError as error:
        raise DatasetError(f"expected a readable mask of paint: {error}") from error
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise DatasetError(
            f"expected a mask of paint of one channel of 8 bits, got {mask.dtype} {mask.shape} at {path}"
        )
    return np.asarray(mask)


class MixtureSampler(Sampler[tuple[int, int]]):
    """Draws a fixed share of samples from each part of a data set, anew every epoch, reproducibly.

    Yields (index, draw) with a `draw` number that differs each time, so that the augmentation does too.

    Args:
        sizes: number of frames in each part, parts laid one behind the other.
        weights: share of each part in an epoch.
        samples: samples an epoch.
        seed: of the draws.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], samples: int, seed: int = 0) -> None:
        if len(sizes) != len(weights) or not sizes or min(sizes) < 1 or min(weights) < 0 or sum(weights) <= 0:
            raise DatasetError(
                f"expected parts with frames and weights of which one is above 0, got {sizes}, {weights}"
            )
        self.sizes, self.samples, self.seed, self.epoch = list(sizes), samples, seed, 0
        self.shares = np.asarray(weights, np.float64) / sum(weights)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose draws come next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.samples

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        offsets = np.concatenate([[0], np.cumsum(self.sizes)])
        parts = rng.choice(len(self.sizes), self.samples, p=self.shares)
        # Within a part frames come in shuffled passes, so that none is drawn twice before all were once.
        queues: list[list[int]] = [[] for _ in self.sizes]
        for position, part in enumerate(parts):
            if not queues[part]:
                queues[part] = rng.permutation(self.sizes[part]).tolist()
            yield int(offsets[part] + queues[part].pop()), self.epoch * self.samples + position
