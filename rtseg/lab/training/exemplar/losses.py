"""The losses of Exemplar-FreeSOLO: masks (eq 9), category and embedding (eq 10), exemplars (eq 3 to 7)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def max_projection_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Dice loss between the greatest values of each row and each column, both axes added (BoxInst; eq 9).

    Args:
        logits: (n, h, w) of the predicted masks.
        masks: (n, h, w) coarse masks in [0, 1].

    Returns:
        (n,) in [0, 2].
    """
    probability = logits.sigmoid()
    return sum((_dice(probability.amax(axis), masks.amax(axis)) for axis in (1, 2)), logits.new_zeros(len(logits)))


def average_projection_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """The same of the mean values of each row and each column (FreeSOLO; eq 9)."""
    probability = logits.sigmoid()
    return sum((_dice(probability.mean(axis), masks.mean(axis)) for axis in (1, 2)), logits.new_zeros(len(logits)))


def _dice(a: Tensor, b: Tensor) -> Tensor:
    return 1.0 - 2.0 * (a * b).sum(1) / (a.square().sum(1) + b.square().sum(1)).clamp(min=1e-6)


_STEPS = ((0, 1), (1, -1), (1, 0), (1, 1))  # one of each pair of opposite directions: an edge counts once


def pairwise_loss(logits: Tensor, colors: Tensor, masks: Tensor, similarity: float = 0.3, dilation: int = 2) -> Tensor:
    """Neighbors of like color should be of one label (BoxInst, section 3.3; eq 9).

    The cost of an edge is ``-log P(both in or both out)``, of edges whose colors are alike, ``exp(-|a - b| / 2)``
    of at least `similarity`, and of which one end lies in the box of the coarse mask.

    Args:
        logits: (n, h, w) of the predicted masks.
        colors: (n, 3, h, w) CIE LAB, lightness 0 to 100, of the picture each mask is in.
        masks: (n, h, w) coarse masks.
        similarity: least color similarity of an edge that counts.
        dilation: pixels between neighbors.

    Returns:
        (n,) mean over the edges that count, 0 where there are none.
    """
    inside, outside = F.logsigmoid(logits), F.logsigmoid(-logits)
    box = (masks.amax(1, keepdim=True) > 0.5) & (masks.amax(2, keepdim=True) > 0.5)
    cost, count = logits.new_zeros(len(logits)), logits.new_zeros(len(logits))
    for dy, dx in _STEPS:
        here, there = _shifted(dy * dilation, dx * dilation, *logits.shape[1:])
        same = -torch.logaddexp(inside[here] + inside[there], outside[here] + outside[there])
        difference = colors[:, :, here[1], here[2]] - colors[:, :, there[1], there[2]]
        alike = torch.exp(-0.5 * difference.norm(dim=1))
        counted = (alike >= similarity) & (box[here] | box[there])
        cost = cost + (same * counted).sum((1, 2))
        count = count + counted.sum((1, 2))
    return cost / count.clamp(min=1.0)


Slices = tuple[slice, slice, slice]


def _shifted(dy: int, dx: int, height: int, width: int) -> tuple[Slices, Slices]:
    """Slices of (n, h, w) of the pixels that have a neighbor at (dy, dx), dy >= 0, and of those neighbors."""
    here = (slice(None), slice(0, max(height - dy, 0)), slice(max(-dx, 0), max(width - max(dx, 0), 0)))
    there = (slice(None), slice(dy, height), slice(max(dx, 0), max(width + min(dx, 0), 0)))
    return here, there


def focal_loss(
    logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0, weights: Tensor | None = None
) -> Tensor:
    """Sum of the focal loss of the category branch (eq 10), to be divided by the number of positive points.

    Args:
        logits: any shape.
        targets: likewise, 1 for object, 0 for none.
        alpha: weight of objects; that of the rest is 1 - alpha.
        gamma: how much easy points lose weight.
        weights: of the points, likewise; all alike without.
    """
    cost = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    probability = logits.sigmoid()
    miss = torch.where(targets > 0.5, 1.0 - probability, probability)
    weight = torch.where(targets > 0.5, alpha, 1.0 - alpha)
    if weights is not None:
        weight = weight * weights
    return (weight * miss.pow(gamma) * cost).sum()


def embedding_loss(predicted: Tensor, queries: Tensor) -> Tensor:
    """Negative cosine similarity between predicted embeddings and the free masks' queries, (n, E) each (eq 10)."""
    return 1.0 - F.cosine_similarity(predicted, queries, dim=1)


def exemplar_loss(
    embeddings: Tensor,
    exemplars: Tensor,
    alpha: float = 0.8,
    beta: float = 0.3,
    temperature: float = 0.02,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, int]:
    """Exemplar embedding contrastive loss (eq 3 to 7).

    Args:
        embeddings: (N, c), I_mu of each picture; gradients flow into these.
        exemplars: (K, c), the pool I_e.
        alpha: least cosine similarity of a positive, of which one is drawn.
        beta: negatives are all those below.
        temperature: tau. Inner products are of unit vectors, so that it means the same at any length.
        generator: CPU generator of the draws.

    Returns:
        The sum over pictures, those without a positive or a negative adding nothing, and how many did add.
    """
    unit, pool = F.normalize(embeddings, dim=1), F.normalize(exemplars, dim=1)
    similarity = unit @ pool.T
    known = similarity.detach()
    total, used = embeddings.new_zeros(()), 0
    for row, values in zip(similarity, known, strict=True):
        positives = torch.nonzero(values > alpha).squeeze(1)
        negatives = torch.nonzero(values < beta).squeeze(1)
        if not len(positives) or not len(negatives):
            continue
        chosen = positives[int(torch.randint(len(positives), (1,), generator=generator))]
        positive = row[chosen] / temperature
        mean_negative = torch.logsumexp(row[negatives] / temperature, 0) - torch.log(
            torch.tensor(float(len(negatives)))
        )
        total = total + torch.logaddexp(positive, mean_negative) - positive
        used += 1
    return total, used
