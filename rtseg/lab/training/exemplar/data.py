"""Training samples with masks of unknown classes, and the pool of exemplars as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from rtseg.errors import DatasetError, WeakSupervisionError
from rtseg.lab.nets.solo import MASK_STRIDE
from rtseg.lab.training.augment import augment_appearance
from rtseg.lab.training.exemplar.files import read_masks
from rtseg.lab.training.instances.augment import InstanceAugmentConfig, sample_window
from rtseg.media.images import read_image
from rtseg.ops import resize_image


class MaskDataset(Dataset[dict[str, Tensor]]):
    """Pictures with masks, augmented the same for the same (seed, draw, position).

    Items are dicts: `image` (3, H, W) float32 normalized; `colors` (3, H / 4, W / 4) float32 CIE LAB, lightness 0 to
    100; `masks` (N, H / 4, W / 4) float32, 0 where there are fewer; `weights` (N,) float32, a mask's score, 0 for
    none; `embeddings` (N, E) float32, 0 where unknown.

    Args:
        files: of `rtseg.lab.training.exemplar.files.write_masks`.
        size: (height, width) of a sample.
        view: (height, width) to which whole pictures are scaled at run time.
        mean: of the RGB input, 0..255.
        std: of the RGB input.
        most: N, masks of a sample.
        embedding: E.
        augment: strengths, or None for whole pictures as they are.
        least_score: masks below are left out.
        seed: of all random choices.
    """

    def __init__(
        self,
        files: Sequence[Path],
        size: tuple[int, int],
        view: tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        most: int,
        embedding: int,
        augment: InstanceAugmentConfig | None = None,
        least_score: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.files, self.size, self.view = list(files), size, view
        self.most, self.embedding, self.augment = most, embedding, augment
        self.least_score, self.seed = least_score, seed
        self._mean = np.asarray(mean, np.float32)[:, None, None]
        self._scale = 1.0 / np.asarray(std, np.float32)[:, None, None]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Tensor]:
        index, draw = key if isinstance(key, tuple) else (key, 0)
        found = read_masks(self.files[index])
        image = np.asarray(read_image(found.picture), np.uint8)
        rng = np.random.default_rng((self.seed, draw, index))
        height, width = image.shape[:2]
        window = (0.0, 0.0, float(height), float(width))
        if self.augment is not None:
            window = sample_window((height, width), self.view, self.size, self.augment, rng)
        sample = _cut(image, window, self.size, image.mean((0, 1)))
        if self.augment is not None:
            sample = augment_appearance(sample, self.augment.appearance(), rng)
        small = (self.size[0] // MASK_STRIDE, self.size[1] // MASK_STRIDE)
        masks = np.zeros((self.most, *small), np.float32)
        weights = np.zeros(self.most, np.float32)
        embeddings = np.zeros((self.most, self.embedding), np.float32)
        scale = found.size[0] / height, found.size[1] / width
        part = (window[0] * scale[0], window[1] * scale[1], window[2] * scale[0], window[3] * scale[1])
        count = 0
        for i in np.argsort(-found.scores, kind="stable").tolist():
            if count == self.most or found.scores[i] < self.least_score:
                break
            cut = _cut(found.masks[i].astype(np.float32), part, small, np.zeros(1))
            if (cut > 0.5).sum() < 2:
                continue
            masks[count], weights[count] = cut, float(found.scores[i])
            if found.embeddings.shape[1]:
                embeddings[count] = self._checked(found.embeddings[i], index)
            count += 1
        if self.augment is not None and rng.random() < self.augment.flip:
            sample, masks = sample[:, ::-1], masks[:, :, ::-1]
        colors = cv2.cvtColor(
            resize_image(np.ascontiguousarray(sample), small).astype(np.float32) / 255, cv2.COLOR_BGR2LAB
        )
        planes = (sample[:, :, ::-1].transpose(2, 0, 1).astype(np.float32) - self._mean) * self._scale
        return {
            "image": torch.from_numpy(np.ascontiguousarray(planes)),
            "colors": torch.from_numpy(np.ascontiguousarray(colors.transpose(2, 0, 1))),
            "masks": torch.from_numpy(np.ascontiguousarray(masks)),
            "weights": torch.from_numpy(weights),
            "embeddings": torch.from_numpy(embeddings),
        }

    def _checked(self, embedding: NDArray[np.float32], index: int) -> NDArray[np.float32]:
        if embedding.shape != (self.embedding,):
            raise DatasetError(
                f"expected embeddings of {self.embedding} values in {self.files[index]}, got {len(embedding)}; "
                "set network.embedding to that"
            )
        return embedding


def mask_files(folders: Sequence[Path]) -> list[Path]:
    """The mask files of several folders, in order.

    Raises:
        DatasetError: if a folder holds none.
    """
    files = []
    for folder in folders:
        found = sorted(folder.glob("*.json"))
        found = [path for path in found if path.name != "stage.json"]
        if not found:
            raise DatasetError(
                f"expected JSON files of masks in {folder}, found none; make them with rtseg weak exemplar"
            )
        files += found
    return files


def load_pool(folder: Path, mean: Sequence[float], std: Sequence[float], side: int = 128) -> tuple[Tensor, Tensor]:
    """Read an exemplar pool: pictures with all but the object grayed out, and the objects' masks.

    Args:
        folder: of PNG files with an alpha channel, the object's mask.
        mean: of the RGB input.
        std: of the RGB input.
        side: to which the longer side is scaled, a multiple of 32.

    Returns:
        Images (K, 3, side, side) normalized, and masks (K, side / 8, side / 8) in [0, 1].

    Raises:
        WeakSupervisionError: if there is no exemplar, or one does not read.
    """
    images, masks = [], []
    for path in sorted(folder.glob("*.png")):
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if picture is None or picture.ndim != 3:
            raise WeakSupervisionError(f"expected an exemplar as a color PNG at {path}; make the pool again")
        if picture.shape[2] != 4:
            continue  # the sheet
        scale = side / max(picture.shape[:2])
        size = (max(round(picture.shape[1] * scale), 1), max(round(picture.shape[0] * scale), 1))
        canvas = np.zeros((side, side, 4), np.float32)
        y, x = (side - size[1]) // 2, (side - size[0]) // 2
        canvas[y : y + size[1], x : x + size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        alpha = canvas[..., 3] / 255
        rgb = canvas[..., 2::-1].transpose(2, 0, 1)
        plane = (rgb - np.asarray(mean, np.float32)[:, None, None]) / np.asarray(std, np.float32)[:, None, None]
        images.append(torch.from_numpy((plane * (alpha > 0.5)).astype(np.float32)))
        masks.append(torch.from_numpy(cv2.resize(alpha, (side // 8, side // 8), interpolation=cv2.INTER_AREA)))
    if not images:
        raise WeakSupervisionError(f"expected exemplars (PNG with alpha) in {folder}, found none; make the pool first")
    return torch.stack(images), torch.stack(masks).float()


def _cut(
    image: NDArray, window: tuple[float, float, float, float], size: tuple[int, int], fill: NDArray[np.floating]
) -> NDArray:
    """Scale the window (y, x, height, width) of an image to `size`, with `fill` beyond its edges."""
    y, x, height, width = window
    scale_x, scale_y = size[1] / width, size[0] / height
    # Half-pixel centers, as everywhere.
    matrix = np.array([[scale_x, 0, (0.5 - x) * scale_x - 0.5], [0, scale_y, (0.5 - y) * scale_y - 0.5]])
    if scale_x < 0.75 and image.ndim == 3 and (y, x, height, width) == (0, 0, *image.shape[:2]):
        return resize_image(image, size)
    if scale_x < 0.75:  # warping far down would skip pixels: blur first
        sigma = 0.4 / scale_x
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    border = tuple(float(value) for value in fill)
    return cv2.warpAffine(
        image, matrix, size[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=border
    )
