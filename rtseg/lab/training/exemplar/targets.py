"""Which points of a SOLO network answer for which mask, and the masks that their kernels make."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rtseg.lab.nets.solo import MASK_STRIDE, SHAPE_TERMS


@dataclass(frozen=True)
class Assigned:
    """Points of one level that have a mask.

    Attributes:
        picture: (n,) index in the batch.
        mask: (n,) index among the picture's masks.
        y, x: (n,) of the point on the level's map.
    """

    picture: Tensor
    mask: Tensor
    y: Tensor
    x: Tensor


def assign_points(
    masks: Tensor, present: Tensor, strides: tuple[int, ...], region: float = 0.2
) -> list[tuple[Assigned, Tensor]]:
    """Give each mask the points near its center of mass, on the levels of its size (SOLO, section 3.3.1).

    A level of stride s answers for boxes of side ``sqrt(w h)`` from 2.5 s to 8 s input pixels, the finest for smaller
    ones too and the coarsest for greater; the ranges overlap. A point in the central `region` of two masks belongs to
    the smaller one. The point nearest to the center is always among them.

    Args:
        masks: (B, N, h, w), above 0.5 inside, at stride 4 of the input.
        present: (B, N) bool, which of them are masks at all; empty ones are left out.
        strides: of the levels, from fine to coarse.
        region: side of the central region, as a share of the box's.

    Returns:
        For each level the points with a mask, and the category target (B, h_s, w_s), 1 at those points.
    """
    height, width = (int(side) * MASK_STRIDE for side in masks.shape[2:])
    rows: list[list[tuple[int, int, int, int]]] = [[] for _ in strides]
    areas = (masks > 0.5).sum((2, 3))
    for b in range(len(masks)):
        order = torch.argsort(areas[b], descending=True, stable=True).tolist()
        owners: list[dict[tuple[int, int], int]] = [{} for _ in strides]
        for n in order:  # smaller masks come later and take points over
            if not present[b, n] or areas[b, n] == 0:
                continue
            ys, xs = torch.nonzero(masks[b, n] > 0.5, as_tuple=True)
            tall = float(ys.max() - ys.min() + 1) * MASK_STRIDE
            wide = float(xs.max() - xs.min() + 1) * MASK_STRIDE
            center_y = (float(ys.double().mean()) + 0.5) * MASK_STRIDE
            center_x = (float(xs.double().mean()) + 0.5) * MASK_STRIDE
            side = (tall * wide) ** 0.5
            for level, stride in enumerate(strides):
                low = 0.0 if level == 0 else 2.5 * stride
                high = float("inf") if level == len(strides) - 1 else 8.0 * stride
                if not low <= side < high:
                    continue
                limits = height // stride, width // stride
                near_y, near_x = int(center_y / stride), int(center_x / stride)
                reach_y, reach_x = (0.5 * region * extent / stride for extent in (tall, wide))
                for y in range(max(0, near_y - 1), min(limits[0], near_y + 2)):
                    for x in range(max(0, near_x - 1), min(limits[1], near_x + 2)):
                        close = (
                            abs(y + 0.5 - center_y / stride) <= reach_y and abs(x + 0.5 - center_x / stride) <= reach_x
                        )
                        if close or (y, x) == (near_y, near_x):
                            owners[level][y, x] = n
        for level, owned in enumerate(owners):
            rows[level] += [(b, n, y, x) for (y, x), n in owned.items()]
    result = []
    for level, stride in enumerate(strides):
        table = torch.tensor(rows[level], dtype=torch.long).reshape(-1, 4).to(masks.device)
        assigned = Assigned(*table.unbind(1))
        target = torch.zeros(len(masks), height // stride, width // stride, device=masks.device)
        target[assigned.picture, assigned.y, assigned.x] = 1.0
        result.append((assigned, target))
    return result


def masks_of_points(kernels: Tensor, features: Tensor, points: Assigned, stride: int) -> Tensor:
    """Logits (n, h, w) of the masks that kernels make, as `rtseg.grouping.solo` computes them.

    Args:
        kernels: (B, 5 + D, h_s, w_s) of a level.
        features: (B, D, h, w), stride 4.
        points: of the level.
        stride: of the level.
    """
    kernel = kernels[points.picture, :, points.y, points.x]
    height, width = features.shape[2:]
    unit = 2.0 * stride
    at_y = (torch.arange(height, device=kernels.device) + 0.5) * MASK_STRIDE
    at_x = (torch.arange(width, device=kernels.device) + 0.5) * MASK_STRIDE
    v = (at_y[None] - (points.y[:, None] + 0.5) * stride) / unit
    u = (at_x[None] - (points.x[:, None] + 0.5) * stride) / unit
    one, dx, dy, dxx, dyy = kernel[:, :SHAPE_TERMS].float().unbind(1)
    rows = dy[:, None] * v + dyy[:, None] * v.square() + one[:, None]
    columns = dx[:, None] * u + dxx[:, None] * u.square()
    logits = rows[:, :, None] + columns[:, None, :]
    weights = kernel[:, SHAPE_TERMS:].float()
    parts = []
    for b in range(len(features)):
        mine = weights[points.picture == b]
        parts.append(torch.einsum("nd,dhw->nhw", mine, features[b].float()))
    # Points are in the order of their pictures.
    return logits + torch.cat(parts)
