"""Head maps of a SOLO network with known objects in them, and decoding in a few obvious lines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.grouping.solo import SoloLevel, SoloSettings


def random_maps(seed: int, size: tuple[int, int] = (64, 96), channels: int = 3) -> tuple[list[SoloLevel], NDArray]:
    """Noise in which a few points stand out, many of them equal to a neighbor."""
    rng = np.random.default_rng(seed)
    levels = []
    for stride in (8, 16, 32):
        shape = size[0] // stride, size[1] // stride
        cate = rng.choice([-6.0, -1.0, 0.0, 1.5], shape, p=[0.6, 0.2, 0.1, 0.1]).astype(np.float32)
        kernel = rng.normal(0, 0.7, (5 + channels, *shape)).astype(np.float32)
        kernel[0] += 1.5
        kernel[3:5] -= 2.0
        levels.append(SoloLevel(cate, kernel, stride))
    return levels, rng.normal(0, 0.5, (channels, size[0] // 4, size[1] // 4)).astype(np.float32)


def _sigmoid(x: NDArray) -> NDArray:
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def reference_masks(
    levels: list[SoloLevel], features: NDArray, settings: SoloSettings
) -> tuple[list[NDArray[np.bool_]], list[float]]:
    """Masks and scores before suppression, best category score first."""
    height, width = features.shape[1:]
    found = []
    for level in levels:
        padded = np.pad(level.cate, 1, constant_values=-np.inf)
        for y in range(level.cate.shape[0]):
            for x in range(level.cate.shape[1]):
                around = padded[y : y + 3, x : x + 3].ravel()
                if _sigmoid(level.cate[y, x]) < settings.score_threshold:
                    continue
                if (around[:4] >= around[4]).any() or (around[5:] > around[4]).any():
                    continue
                v = ((np.arange(height) + 0.5) * 4 - (y + 0.5) * level.stride)[:, None] / (2 * level.stride)
                u = ((np.arange(width) + 0.5) * 4 - (x + 0.5) * level.stride)[None] / (2 * level.stride)
                k = level.kernel[:, y, x].astype(np.float64)
                logits = k[0] + k[1] * u + k[2] * v + k[3] * u**2 + k[4] * v**2
                logits = logits + np.tensordot(k[5:], features.astype(np.float64), 1)
                found.append((float(_sigmoid(level.cate[y, x])), logits))
    found.sort(key=lambda pair: -pair[0])
    masks, scores = [], []
    for category, logits in found[: settings.candidates]:
        mask = logits > 0
        masks.append(mask)
        enough = mask.sum() >= settings.min_pixels
        scores.append(category * float(_sigmoid(logits[mask]).mean()) if enough else 0.0)
    return masks, scores
