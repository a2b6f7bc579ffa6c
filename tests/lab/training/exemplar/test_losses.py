"""Every loss of Exemplar-FreeSOLO against its formula in plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from rtseg.lab.training.exemplar.losses import (
    average_projection_loss,
    embedding_loss,
    exemplar_loss,
    focal_loss,
    max_projection_loss,
    pairwise_loss,
)


def sigmoid(x: NDArray) -> NDArray:
    return 1 / (1 + np.exp(-x))


def dice(a: NDArray, b: NDArray) -> float:
    return float(1 - 2 * (a * b).sum() / ((a**2).sum() + (b**2).sum()))


@pytest.fixture
def masks() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 7, 9, generator=generator, dtype=torch.float64)
    coarse = (torch.rand(4, 7, 9, generator=generator) < 0.3).double()
    coarse[3] = 0
    coarse[3, 2:5, 3:6] = 1
    return logits, coarse


def test_projections_are_dice_of_both_axes(masks: tuple[Tensor, Tensor]) -> None:
    logits, coarse = masks
    for loss, reduce in ((max_projection_loss, np.max), (average_projection_loss, np.mean)):
        found = loss(logits, coarse)
        for i in range(len(logits)):
            p, m = sigmoid(logits[i].numpy()), coarse[i].numpy()
            expected = sum(dice(reduce(p, axis=axis), reduce(m, axis=axis)) for axis in (0, 1))
            assert float(found[i]) == pytest.approx(expected)


def test_projections_vanish_where_masks_agree(masks: tuple[Tensor, Tensor]) -> None:
    _, coarse = masks
    sure = (coarse - 0.5) * 80
    for loss in (max_projection_loss, average_projection_loss):
        assert float(loss(sure, coarse).abs().max()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dilation", [1, 2])
def test_pairwise_loss_over_each_edge_once(masks: tuple[Tensor, Tensor], dilation: int) -> None:
    logits, coarse = masks
    generator = torch.Generator().manual_seed(1)
    colors = torch.rand(4, 3, 7, 9, generator=generator, dtype=torch.float64) * 4
    found = pairwise_loss(logits, colors, coarse, 0.3, dilation)
    for i in range(4):
        p, c, m = sigmoid(logits[i].numpy()), colors[i].numpy(), coarse[i].numpy()
        box = np.asarray(m.any(1))[:, None] & np.asarray(m.any(0))[None]
        costs = {}
        for y in range(7):
            for x in range(9):
                for dy in (-dilation, 0, dilation):
                    for dx in (-dilation, 0, dilation):
                        v, u = y + dy, x + dx
                        if (dy, dx) == (0, 0) or not (0 <= v < 7 and 0 <= u < 9):
                            continue
                        alike = math.exp(-np.linalg.norm(c[:, y, x] - c[:, v, u]) / 2)
                        if alike >= 0.3 and (box[y, x] or box[v, u]):
                            same = p[y, x] * p[v, u] + (1 - p[y, x]) * (1 - p[v, u])
                            costs[frozenset([(y, x), (v, u)])] = -math.log(same)
        assert float(found[i]) == pytest.approx(sum(costs.values()) / len(costs))


def test_pairwise_loss_without_an_edge_is_zero() -> None:
    logits, colors = torch.zeros(1, 4, 5, requires_grad=True), torch.rand(1, 3, 4, 5) * 1000
    loss = pairwise_loss(logits, colors, torch.ones(1, 4, 5))
    loss.sum().backward()
    assert float(loss) == 0
    assert pairwise_loss(torch.zeros(1, 1, 1), torch.zeros(1, 3, 1, 1), torch.ones(1, 1, 1)).tolist() == [0]
    assert pairwise_loss(torch.zeros(0, 4, 5), torch.zeros(0, 3, 4, 5), torch.zeros(0, 4, 5)).shape == (0,)


def test_focal_loss_is_its_formula() -> None:
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(0, 2, (3, 4, 5)), (rng.random((3, 4, 5)) < 0.2).astype(float)
    p = sigmoid(logits)
    expected = -(targets * 0.25 * (1 - p) ** 2 * np.log(p) + (1 - targets) * 0.75 * p**2 * np.log(1 - p)).sum()
    assert float(focal_loss(torch.tensor(logits), torch.tensor(targets))) == pytest.approx(expected)


def test_weights_of_points_scale_their_focal_loss() -> None:
    rng = np.random.default_rng(0)
    logits, targets = (
        torch.tensor(rng.normal(0, 2, (2, 3, 4))),
        torch.tensor((rng.random((2, 3, 4)) < 0.3).astype(float)),
    )
    weights = torch.tensor(rng.random((2, 3, 4)))
    single = [
        float(focal_loss(logit[None], target[None])) * float(weight)
        for logit, target, weight in zip(logits.flatten(), targets.flatten(), weights.flatten(), strict=True)
    ]
    assert float(focal_loss(logits, targets, weights=weights)) == pytest.approx(sum(single))


def test_embedding_loss_is_one_less_the_cosine() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 7)), rng.normal(size=(5, 7))
    expected = [1 - x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(embedding_loss(torch.tensor(a), torch.tensor(b)).numpy(), expected)


def exemplar_reference(embeddings: NDArray, pool: NDArray, choice: dict[int, int], tau: float) -> float:
    """Eq 5 to 7 with the positives that were drawn."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    exemplars = pool / np.linalg.norm(pool, axis=1, keepdims=True)
    total = 0.0
    for n, chosen in choice.items():
        similar = exemplars @ unit[n]
        negatives = similar[similar < 0.3]
        positive = np.exp(similar[chosen] / tau)
        total -= math.log(positive / (positive + np.exp(negatives / tau).sum() / len(negatives)))
    return total


def test_exemplar_loss_is_eq_5() -> None:
    rng = np.random.default_rng(0)
    directions = np.eye(6)
    pool = np.concatenate([directions[:4] + rng.normal(0, 0.05, (4, 6)), -directions[:1]])
    # One picture like exemplar 0, one like 2, one like none, and one like all but without a negative.
    embeddings = np.stack([directions[0] * 3, directions[2] + 0.05, directions[5], directions[:5].sum(0)])
    loss, used = exemplar_loss(torch.tensor(embeddings), torch.tensor(pool), 0.8, 0.3, 0.5)
    assert used == 2
    assert float(loss) == pytest.approx(exemplar_reference(embeddings, pool, {0: 0, 1: 2}, 0.5))


def test_exemplar_loss_draws_among_the_positives() -> None:
    pool = torch.tensor([[1.0, 0.1], [1.0, -0.1], [0.0, -1.0]], dtype=torch.float64)
    embeddings = torch.tensor([[1.0, 0.05]], dtype=torch.float64)
    found = {
        round(float(exemplar_loss(embeddings, pool, temperature=0.5, generator=torch.Generator().manual_seed(i))[0]), 9)
        for i in range(16)
    }
    expected = {round(exemplar_reference(embeddings.numpy(), pool.numpy(), {0: k}, 0.5), 9) for k in (0, 1)}
    assert found == expected


def test_exemplar_loss_of_nothing_is_zero_and_pulls_to_positives() -> None:
    loss, used = exemplar_loss(torch.ones(2, 3, requires_grad=True), torch.ones(4, 3))
    assert (float(loss), used) == (0, 0)  # all are positives, none negative
    pool = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    embedding = torch.tensor([[1.0, 0.29]], requires_grad=True)
    loss, used = exemplar_loss(embedding, pool)
    loss.backward()
    assert used == 1
    assert embedding.grad is not None
    assert embedding.grad[0, 1] > 0  # away from the second
