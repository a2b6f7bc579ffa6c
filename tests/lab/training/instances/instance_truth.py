"""Small instance maps that tests of losses share."""

from __future__ import annotations

import numpy as np
import torch


def random_ids(seed: int, batch: int = 2, height: int = 6, width: int = 7, most: int = 3) -> torch.Tensor:
    """(B, h, w) int32 of blobs: rectangles of ids 1..most on background, some pixels -1."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((batch, height, width), np.int32)
    for picture in ids:
        for identity in range(1, int(rng.integers(0, most + 1)) + 1):
            y, x = rng.integers(0, height - 1), rng.integers(0, width - 1)
            picture[y : y + rng.integers(1, 5), x : x + rng.integers(1, 5)] = identity
        picture[rng.random((height, width)) < 0.1] = -1
    return torch.from_numpy(ids)
