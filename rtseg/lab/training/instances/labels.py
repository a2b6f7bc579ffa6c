"""Labels of a batch at the stride of a head, and the losses that every instance network has."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED_CLASS = 255
IGNORED_INSTANCE = -1


def at_stride(labels: Tensor, stride: int) -> Tensor:
    """Scale (B, H, W) labels down by taking the pixel next to each cell's center; sides multiples of `stride`."""
    return labels[:, stride // 2 :: stride, stride // 2 :: stride]


def semantic_loss(logits: Tensor, semantic: Tensor, class_weights: Sequence[float] = ()) -> Tensor:
    """Mean weighted cross-entropy over all pixels that are not ignored.

    Args:
        logits: (B, 1 + C, h, w).
        semantic: (B, h, w) integers, 0 background, 1 + i class i, 255 ignored.
        class_weights: 1 + C factors of a pixel's cost by its true class; none are all 1.
    """
    labels = semantic.long()
    weights = logits.new_tensor(class_weights) if class_weights else None
    total = F.cross_entropy(logits, labels, weights, ignore_index=IGNORED_CLASS, reduction="sum")
    return total / (labels != IGNORED_CLASS).sum().clamp(min=1)


def pixels_of_instances(ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """List the pixels of all instances of a batch, instances numbered through the batch.

    Args:
        ids: (B, h, w) int, 0 none, 1..n instances of a picture, -1 ignored.

    Returns:
        Flat indices (m,) into the batch's pixels, the row of the instance of each (m,), and the picture of each
        instance (n,).
    """
    pixels = torch.nonzero(ids.flatten() > 0).squeeze(1)
    per_picture = ids.shape[1] * ids.shape[2]
    most = int(ids.max().clamp(min=0)) + 1
    keys = (pixels // per_picture) * most + ids.flatten()[pixels].long()
    found, rows = torch.unique(keys, return_inverse=True)
    return pixels, rows, found // most
