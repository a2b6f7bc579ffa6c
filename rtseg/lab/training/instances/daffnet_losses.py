"""The losses of DaffNet: affinities on and off boundaries, and embeddings pushed apart and pulled together."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from rtseg.lab.nets.daffnet import STRIDES
from rtseg.lab.training.instances.config import DaffNetLossConfig
from rtseg.lab.training.instances.labels import IGNORED_INSTANCE, at_stride, pixels_of_instances, semantic_loss

ALPHA = math.log(2.0)
# Keeps the push's gradient finite between segments whose embeddings are equal, as all are in the beginning.
_LEAST_SQUARE = 1e-4


def strides_in(maps: Mapping[str, Tensor]) -> tuple[int, ...]:
    """List the strides that a network gives maps at, from fine to coarse."""
    return tuple(stride for stride in STRIDES if f"semantic_s{stride}" in maps)


def neighbor_truth(ids: Tensor) -> tuple[Tensor, Tensor]:
    """True affinities of each pixel to its right, lower, left and upper neighbor.

    Args:
        ids: (B, h, w) int, 0 background, -1 ignored. Background counts as one more segment.

    Returns:
        (B, 4, h, w) bool, whether the two are of one segment; and which pairs count: both inside the map, none ignored.
    """
    known = ids != IGNORED_INSTANCE
    across, along = ids[..., 1:] == ids[..., :-1], ids[..., 1:, :] == ids[..., :-1, :]
    across_known = known[..., 1:] & known[..., :-1]
    along_known = known[..., 1:, :] & known[..., :-1, :]

    def four(x: Tensor, y: Tensor) -> Tensor:
        return torch.stack([F.pad(x, (0, 1)), F.pad(y, (0, 0, 0, 1)), F.pad(x, (1, 0)), F.pad(y, (0, 0, 1, 0))], 1)

    return four(across, along), four(across_known, along_known)


def affinity_losses(logits: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of the four affinities on boundary pixels and on all others (L_ab and L_as of equation 4).

    A pixel is on a boundary if a neighbor is of another segment. The paper does not say what its pixel weights w_n
    are; here they are 1.

    Args:
        logits: (B, 2, h, w) of each pixel and its right and lower neighbor.
        ids: (B, h, w) int, 0 background, -1 ignored.

    Returns:
        Both losses: sums over the four neighbors, means over the pixels of each kind in the batch.
    """
    truth, counted = neighbor_truth(ids)
    right, lower = logits.unbind(1)
    left, upper = F.pad(right[..., :-1], (1, 0)), F.pad(lower[..., :-1, :], (0, 0, 1, 0))
    sides = torch.stack([right, lower, left, upper], 1)
    cost = F.binary_cross_entropy_with_logits(sides, truth.to(logits.dtype), reduction="none")
    cost = (cost * counted).sum(1)
    boundary = (counted & ~truth).any(1)
    inner = (ids != IGNORED_INSTANCE) & ~boundary
    on = (cost * boundary).sum() / boundary.sum().clamp(min=1)
    off = (cost * inner).sum() / inner.sum().clamp(min=1)
    return on, off


def grouping_losses(embedding: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Push and pull loss of equation 3, with the Gaussian affinity of equation 2; means over the batch's pictures.

    A picture without a pair, or without an instance, adds 0.

    Args:
        embedding: (B, k, h, w).
        ids: (B, h, w) int, 0 background, -1 ignored.

    Returns:
        L_gd, between the mean embeddings of instances, and L_gs, between pixels and the mean of their instance.
    """
    pixels, rows, pictures = pixels_of_instances(ids)
    count = len(pictures)
    values = embedding.permute(0, 2, 3, 1).reshape(-1, embedding.shape[1])[pixels]
    ones = torch.ones_like(rows, dtype=values.dtype)
    sizes = values.new_zeros(count).index_add(0, rows, ones)
    means = values.new_zeros(count, values.shape[1]).index_add(0, rows, values) / sizes[:, None]
    # -ln Phi = alpha |x_S - x_i|^2, so that the cross-entropy against 1 needs no exponential.
    square = (values - means[rows]).square().sum(1)
    instances = torch.bincount(pictures, minlength=len(ids)).to(values.dtype)
    pull = (ALPHA * square / (sizes * instances[pictures])[rows]).sum() / len(ids)
    first, second = torch.nonzero(torch.triu(pictures[:, None] == pictures[None, :], diagonal=1), as_tuple=True)
    square = (means[first] - means[second]).square().sum(1) + _LEAST_SQUARE
    share = 2.0 / (instances * (instances - 1.0)).clamp(min=1.0)[pictures[first]]
    push = (share * -torch.log(-torch.expm1(-ALPHA * square))).sum() / len(ids)
    return push, pull


def daffnet_losses(
    maps: Mapping[str, Tensor],
    batch: Mapping[str, Tensor],
    weights: DaffNetLossConfig,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Weighted sum of all losses on all levels (section 4.3).

    Args:
        maps: outputs of `DaffNet`.
        batch: `semantic` and `instances`, (B, H, W).
        weights: of the losses.
        generator: not used; nothing is drawn.

    Returns:
        ``loss``, and the unweighted means over their levels of ``semantic``, ``boundary``, ``inner``, ``push`` and
        ``pull``.
    """
    total = maps["semantic_s4"].new_zeros(())
    sums = {name: torch.zeros_like(total) for name in ("semantic", "boundary", "inner", "push", "pull")}
    strides = strides_in(maps)
    embedded = [stride for stride in strides if f"embedding_s{stride}" in maps]
    for stride, affinity_weight in zip(strides, weights.affinity, strict=False):
        ids = at_stride(batch["instances"], stride)
        semantic = semantic_loss(
            maps[f"semantic_s{stride}"], at_stride(batch["semantic"], stride), weights.class_weights
        )
        boundary, inner = affinity_losses(maps[f"affinity_s{stride}"], ids)
        total = total + weights.semantic * semantic + affinity_weight * (boundary + inner)
        found = {"semantic": semantic, "boundary": boundary, "inner": inner}
        if stride in embedded:
            found["push"], found["pull"] = grouping_losses(maps[f"embedding_s{stride}"], ids)
            total = total + weights.grouping * (found["push"] + found["pull"])
        for name, value in found.items():
            sums[name] += value.detach() / len(embedded if name in ("push", "pull") else strides)
    return {"loss": total, **sums}
