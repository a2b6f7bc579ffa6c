"""The losses of GMIS: classes, and whether each of 56 neighbors is of the same instance (section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rtseg.grouping import GMIS_OFFSETS
from rtseg.lab.nets.gmis import STRIDE
from rtseg.lab.training.instances.config import GMISLossConfig
from rtseg.lab.training.instances.labels import at_stride, semantic_loss


def pair_truth(ids: Tensor, offsets: Sequence[tuple[int, int]] = GMIS_OFFSETS) -> tuple[Tensor, Tensor]:
    """True affinities of each pixel to its neighbors at the given offsets.

    Args:
        ids: (B, h, w) int, 0 background, 1..n instances, -1 ignored.
        offsets: K pairs (dy, dx).

    Returns:
        (B, K, h, w) bool, whether both are of one instance; and which pairs count: both inside the map, none ignored,
        and not both background, since background takes no part in merging (section 4.1).
    """
    height, width = ids.shape[1:]
    same = torch.zeros(len(ids), len(offsets), height, width, dtype=torch.bool, device=ids.device)
    counted = torch.zeros_like(same)
    for k, (dy, dx) in enumerate(offsets):
        rows, columns = height - abs(dy), width - abs(dx)
        if rows <= 0 or columns <= 0:
            continue
        y, x = max(0, -dy), max(0, -dx)
        here = ids[:, y : y + rows, x : x + columns]
        there = ids[:, y + dy : y + dy + rows, x + dx : x + dx + columns]
        same[:, k, y : y + rows, x : x + columns] = (here == there) & (here > 0)
        counted[:, k, y : y + rows, x : x + columns] = (here >= 0) & (there >= 0) & ((here > 0) | (there > 0))
    return same, counted


def affinity_loss(logits: Tensor, ids: Tensor, offsets: Sequence[tuple[int, int]] = GMIS_OFFSETS) -> Tensor:
    """Mean sigmoid cross-entropy over all pairs that count.

    Args:
        logits: (B, K, h, w).
        ids: (B, h, w) int, 0 background, -1 ignored.
        offsets: K pairs (dy, dx).
    """
    truth, counted = pair_truth(ids, offsets)
    # Picking out the pairs that count first: most of a street is background.
    chosen = logits[counted]
    total = F.binary_cross_entropy_with_logits(chosen, truth[counted].to(logits.dtype), reduction="sum")
    return total / max(1, len(chosen))


def gmis_losses(
    maps: Mapping[str, Tensor],
    batch: Mapping[str, Tensor],
    weights: GMISLossConfig,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Sum of both branches' losses.

    Args:
        maps: outputs of `GMIS`.
        batch: `semantic` and `instances`, (B, H, W).
        weights: of the losses.
        generator: not used; nothing is drawn.

    Returns:
        ``loss``, and the unweighted ``semantic`` and ``affinity``; without a weight affinities are left out, and
        their branch stays as it is.
    """
    semantic = semantic_loss(maps["semantic"], at_stride(batch["semantic"], STRIDE), weights.class_weights)
    losses = {"loss": weights.semantic * semantic, "semantic": semantic.detach()}
    if weights.affinity:
        affinity = affinity_loss(maps["affinity"], at_stride(batch["instances"], STRIDE))
        losses |= {"loss": losses["loss"] + weights.affinity * affinity, "affinity": affinity.detach()}
    return losses
