"""The losses of L2C for any number of instances: coloring of near pairs, classes, centers (section III-B, V-B)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from rtseg.lab.nets.l2c_instances import STRIDE
from rtseg.lab.training.instances.config import L2CInstancesLossConfig
from rtseg.lab.training.instances.labels import IGNORED_INSTANCE, at_stride, pixels_of_instances, semantic_loss
from rtseg.lab.training.l2c_losses import background_loss, pairwise_loss, split_loss


def coloring_losses(
    log_probabilities: Tensor,
    ids: Tensor,
    samples: int,
    reach: float,
    margin: float,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Pairwise loss over pairs of sampled pixels at most `reach` apart (eq 7, 8), and how far instances split colors.

    Both are means over the pictures. The second, :func:`rtseg.lab.training.l2c_losses.split_loss` of the same pixels,
    is not in the paper.

    Args:
        log_probabilities: (B, n + 1, h, w) log of the softmax outputs.
        ids: (B, h, w) int, 0 none, 1..n instances, -1 ignored.
        samples: pixels drawn of each instance, with replacement.
        reach: epsilon, in pixels of the map.
        margin: sigma of the hinge.
        generator: CPU generator of the draws.
    """
    pixels, rows, pictures = pixels_of_instances(ids)
    pair = split = log_probabilities.new_zeros(())
    if not len(pixels):
        return pair, split
    # Sorted by instance, every instance is a run of pixels to draw from.
    order = torch.argsort(rows, stable=True)
    sizes = torch.bincount(rows)
    starts = torch.cumsum(sizes, 0) - sizes
    draws = torch.rand(len(sizes), samples, generator=generator).to(sizes.device)
    chosen = pixels[order[starts[:, None] + (draws * sizes[:, None]).long().clamp(max=sizes[:, None] - 1)]]
    flat = log_probabilities.permute(0, 2, 3, 1).reshape(-1, log_probabilities.shape[1])
    height, width = ids.shape[1:]
    for picture in torch.unique(pictures).tolist():
        mine = pictures == picture
        drawn = chosen[mine].flatten()
        identities = torch.arange(int(mine.sum()), device=drawn.device).repeat_interleave(samples)
        inside = drawn % (height * width)
        place = torch.stack([inside // width, inside % width], 1).to(flat.dtype)
        near = torch.cdist(place, place, compute_mode="donot_use_mm_for_euclid_dist") <= reach
        pair = pair + pairwise_loss(flat[drawn], identities, margin, near)
        split = split + split_loss(flat[drawn], identities)
    return pair / len(ids), split / len(ids)


def center_loss(centers: Tensor, instances: Tensor, stride: int) -> Tensor:
    """Smooth L1 of the vectors from pixels to the mean position of their instance's pixels, in input pixels.

    Args:
        centers: (B, 2, h, w) predicted (x, y), h = H / stride.
        instances: (B, H, W) int at input resolution, 0 none, -1 ignored.
        stride: of the map.

    Returns:
        Mean over both coordinates and the map's pixels on instances; 0 if there are none.
    """
    batch, height, width = instances.shape
    pixels, rows, pictures = pixels_of_instances(instances)
    if not len(pixels):
        return centers.sum() * 0.0
    inside = pixels % (height * width)
    place = torch.stack([inside % width, inside // width], 1).to(centers.dtype)
    means = torch.zeros(len(pictures), 2, dtype=centers.dtype, device=centers.device).index_add(0, rows, place)
    means = means / torch.bincount(rows)[:, None]
    target = torch.zeros(batch * height * width, 2, dtype=centers.dtype, device=centers.device)
    target[pixels] = means[rows] - place
    target = target.view(batch, height, width, 2)[:, stride // 2 :: stride, stride // 2 :: stride]
    on = at_stride(instances, stride) > 0
    if not bool(on.any()):
        return centers.sum() * 0.0
    return F.smooth_l1_loss(centers.permute(0, 2, 3, 1)[on], target[on])


def l2c_instance_losses(
    maps: Mapping[str, Tensor],
    batch: Mapping[str, Tensor],
    weights: L2CInstancesLossConfig,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Weighted sum of all losses (section V-B).

    Args:
        maps: outputs of `L2CInstances`.
        batch: `semantic` and `instances`, (B, H, W).
        weights: of the losses, and how pairs are drawn.
        generator: CPU generator of the draws.

    Returns:
        ``loss``, and the unweighted ``pair``, ``split``, ``background``, ``semantic`` and ``center``.
    """
    ids = at_stride(batch["instances"], STRIDE)
    log_probabilities = F.log_softmax(maps["colors"], dim=1)
    reach = weights.reach / STRIDE
    pair, split = coloring_losses(log_probabilities, ids, weights.samples, reach, weights.margin, generator)
    background = background_loss(log_probabilities, ids, IGNORED_INSTANCE)
    semantic = semantic_loss(maps["semantic"], at_stride(batch["semantic"], STRIDE), weights.class_weights)
    center = center_loss(maps["centers"], batch["instances"], STRIDE)
    coloring = pair + background + weights.split * split
    loss = weights.coloring * coloring + weights.semantic * semantic + weights.center * center
    parts = {"pair": pair, "split": split, "background": background, "semantic": semantic, "center": center}
    return {"loss": loss, **{name: value.detach() for name, value in parts.items()}}
