"""Pictures of what an instance network predicts, for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

_HUES = np.array([0, 25, 110, 60, 140, 85, 155, 10, 45, 125, 95, 170], np.uint8)


def _palette() -> NDArray[np.uint8]:
    """Color 0 is black, then hues that differ, lighter each time round."""
    hsv = np.zeros((1, 256, 3), np.uint8)
    for i in range(1, 256):
        hsv[0, i] = _HUES[i % len(_HUES)], 210 - 40 * (i // len(_HUES) % 4), 255
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0], np.uint8)


_PALETTE = _palette()


def draw_prediction(
    image: NDArray[np.floating], maps: Mapping[str, NDArray[np.floating]], instances: NDArray[np.integer]
) -> NDArray[np.uint8]:
    """Draw the input, its true instances, the classes found, and what the grouping sees.

    Args:
        image: (3, H, W) RGB, 0..255.
        maps: finest map of each kind, (C, h, w): logits of `semantic`, and of `colors` or `affinity`, of which
            the mean probability is drawn.
        instances: (H, W) int, 0 none, -1 ignored (gray).

    Returns:
        (2 H, 2 W, 3) uint8 RGB.
    """
    plain = np.clip(np.transpose(image, (1, 2, 0)), 0, 255).astype(np.uint8)
    size = (plain.shape[1], plain.shape[0])

    def overlay(ids: NDArray[np.integer]) -> NDArray[np.uint8]:
        large = cv2.resize(ids.astype(np.int32).astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
        large = large.astype(np.int32)
        color = _PALETTE[np.where(large > 0, (large - 1) % 255 + 1, 0)]
        color[large < 0] = 128
        return np.where(large[..., None] != 0, color // 3 * 2 + plain // 3, plain)

    semantic, affinity, colors = maps.get("semantic"), maps.get("affinity"), maps.get("colors")
    classes = plain if semantic is None else overlay(semantic.argmax(0))
    grouping = plain if colors is None else overlay(colors.argmax(0))
    if affinity is not None:
        mean = (1.0 / (1.0 + np.exp(-np.clip(affinity, -30, 30)))).mean(0)
        gray = cv2.resize(np.round(255.0 * mean).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        grouping = np.repeat(gray[..., None], 3, axis=2)
    return np.concatenate(
        [np.concatenate([plain, overlay(instances)], 1), np.concatenate([classes, grouping], 1)]
    ).astype(np.uint8)
