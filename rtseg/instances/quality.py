"""How good a mask is expected to be, from its size and how sure its class is: small ones are seldom right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SUREST = 0.999  # of a class: beyond, its odds say nothing more


def mask_features(
    scores: NDArray[np.floating], areas: NDArray[np.integer], size: tuple[int, int]
) -> NDArray[np.float64]:
    """What quality is a linear function of.

    Args:
        scores: (n,) of the classes, in [0, 1].
        areas: (n,) pixels, 1 or more.
        size: (H, W) of the frame.

    Returns:
        (n, 3) float64: 1, the logarithm of the share of the frame, and the log-odds of the score.
    """
    sure = np.clip(np.asarray(scores, np.float64), 1 - _SUREST, _SUREST)
    return np.stack([np.ones(len(sure)), np.log(areas / (size[0] * size[1])), np.log(sure / (1 - sure))], axis=1)


def expected_overlap(
    scores: NDArray[np.floating],
    areas: NDArray[np.integer],
    size: tuple[int, int],
    quality: tuple[float, float, float],
) -> NDArray[np.float32]:
    """The overlap (IoU) with the true object that masks are expected to have: (n,) float32 in [0, 1].

    Args:
        scores: see :func:`mask_features`.
        areas: likewise.
        size: likewise.
        quality: weights of the features, whose sum is its log-odds.
    """
    return np.asarray(1 / (1 + np.exp(-mask_features(scores, areas, size) @ np.array(quality))), np.float32)
