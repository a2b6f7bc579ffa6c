"""The L2C losses against references of a few lines, by their gradients and their symmetries (L2C, section III-A)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rtseg.lab.training.l2c_losses import background_loss, l2c_loss, pairwise_loss, sample_pixels, split_loss


def reference_pairwise(probabilities: np.ndarray, ids: list[int], margin: float) -> float:
    """Eq 2, 3 and 5, pair by pair."""
    total = 0.0
    for p, i in zip(probabilities, ids, strict=True):
        for q, j in zip(probabilities, ids, strict=True):
            both = [sum(a * math.log(a / b) for a, b in zip(x, y, strict=True)) for x, y in ((p, q), (q, p))]
            total += sum(both) if i == j else sum(max(0.0, margin - kl) for kl in both)
    return total / len(ids) ** 2


def reference_background(probabilities: np.ndarray, ids: np.ndarray) -> float:
    """Eq 4, pixel by pixel."""
    costs = [
        -math.log(t[0]) if identity == 0 else -math.log(sum(t[1:]))
        for t, identity in zip(probabilities.reshape(probabilities.shape[0], -1).T, ids.ravel(), strict=True)
    ]
    return sum(costs) / len(costs)


@given(st.integers(0, 2**31), st.integers(1, 12), st.floats(0.1, 6.0))
def test_pairwise_loss_equals_the_equations(seed: int, count: int, margin: float) -> None:
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, 2, (count, 7)))
    ids = rng.integers(1, 4, count)
    expected = reference_pairwise(torch.softmax(logits, 1).numpy(), ids.tolist(), margin)
    found = pairwise_loss(torch.log_softmax(logits, 1), torch.from_numpy(ids), margin)
    assert float(found) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(st.integers(0, 2**31))
def test_background_loss_equals_the_equation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, 3, (1, 5, 4, 6)))
    ids = rng.integers(0, 5, (1, 4, 6))
    expected = reference_background(torch.softmax(logits, 1)[0].numpy(), ids)
    found = background_loss(torch.log_softmax(logits, 1), torch.from_numpy(ids))
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_gradient_reaches_only_the_side_without_star() -> None:
    # KL(a*||b) must pull b alone; both divergences are in both ordered pairs, 2 of 4.
    a = torch.randn(1, 7, dtype=torch.float64, requires_grad=True)
    b = torch.randn(1, 7, dtype=torch.float64, requires_grad=True)
    loss = pairwise_loss(torch.log_softmax(torch.cat([a, b]), 1), torch.tensor([1, 1]))
    loss.backward()
    # Pixel a is moved by KL(b*||a), whose gradient in a's logits is softmax(a) - softmax(b).
    expected = 0.5 * (torch.softmax(a, 1) - torch.softmax(b, 1)).detach()
    assert a.grad is not None
    assert b.grad is not None
    torch.testing.assert_close(a.grad, expected)
    torch.testing.assert_close(b.grad, -expected)


def test_hinge_is_flat_beyond_the_margin() -> None:
    far = torch.tensor([[9.0, -9.0, 0.0], [-9.0, 9.0, 0.0]], dtype=torch.float64, requires_grad=True)
    loss = pairwise_loss(torch.log_softmax(far, 1), torch.tensor([1, 2]), margin=2.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-12)
    assert far.grad is not None
    assert float(far.grad.abs().max()) == pytest.approx(0.0, abs=1e-12)
    near = torch.zeros(2, 3, dtype=torch.float64)
    assert float(pairwise_loss(torch.log_softmax(near, 1), torch.tensor([1, 2]), margin=2.0)) == pytest.approx(2.0)


@given(st.permutations([1, 2, 3, 4, 5, 6]), st.permutations([1, 2, 3]), st.integers(0, 2**31))
def test_neither_channels_nor_ids_have_an_order(channels: list[int], ids: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, 2, (1, 7, 6, 8)))
    labels = torch.from_numpy(rng.integers(0, 4, (1, 6, 8)))
    labels[0, 0, 0] = 1
    renamed = torch.tensor([0, *ids])[labels]

    def loss(values: torch.Tensor, truth: torch.Tensor) -> tuple[float, float]:
        log = torch.log_softmax(values, 1)
        chosen = (truth.flatten() > 0).nonzero().squeeze(1)
        pair = pairwise_loss(log[0].flatten(1)[:, chosen].T, truth.flatten()[chosen])
        return float(pair), float(background_loss(log, truth))

    assert loss(logits, labels) == pytest.approx(loss(logits[:, [0, *channels]], renamed), rel=1e-12)


def test_ignored_pixels_change_nothing() -> None:
    logits = torch.randn(1, 7, 4, 4)
    ids = torch.zeros(1, 4, 4, dtype=torch.long)
    ids[0, 0] = 1
    ignored = ids.clone()
    ignored[0, 3] = 255
    expected = background_loss(torch.log_softmax(logits[:, :, :3], 1), ids[:, :3])
    torch.testing.assert_close(background_loss(torch.log_softmax(logits, 1), ignored), expected)
    assert 255 not in sample_pixels(ignored[0], 10)[1]


def test_every_line_gets_the_same_number_of_samples() -> None:
    ids = torch.zeros(20, 30, dtype=torch.uint8)
    ids[3, 4] = 1
    ids[10:, 10:] = 5
    chosen, identities = sample_pixels(ids, 100)
    assert torch.equal(ids.flatten()[chosen], identities)
    assert torch.bincount(identities.long()).tolist() == [0, 100, 0, 0, 0, 100]
    assert len(set(chosen[identities == 5].tolist())) > 50


def test_extreme_logits_stay_finite() -> None:
    logits = torch.full((1, 7, 4, 4), -1e4)
    logits[:, 3] = 1e4
    logits.requires_grad_()
    ids = torch.tensor([[0, 1, 2, 3]] * 4)[None]
    losses = l2c_loss(logits, ids, samples=5)
    losses["loss"].backward()
    assert torch.isfinite(losses["loss"])
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_a_picture_without_lines_has_background_loss_alone() -> None:
    losses = l2c_loss(torch.randn(2, 7, 3, 5), torch.zeros(2, 12, 20, dtype=torch.uint8))
    assert float(losses["pair"]) == 0.0
    assert float(losses["loss"].detach()) == pytest.approx(float(losses["background"]))


@pytest.mark.slow
def test_gradient_descent_separates_lines() -> None:
    torch.manual_seed(0)
    ids = torch.zeros(1, 8, 12, dtype=torch.long)
    ids[0, :, 2], ids[0, :, 6], ids[0, :, 9] = 1, 2, 3
    logits = (0.1 * torch.randn(1, 7, 8, 12)).requires_grad_()
    optimizer = torch.optim.Adam([logits], 0.1)
    for _ in range(300):
        optimizer.zero_grad()
        l2c_loss(logits, ids, samples=30)["loss"].backward()
        optimizer.step()
    found = logits.detach().argmax(1)
    assert bool(((found > 0) == (ids > 0)).all())
    colors = [set(found[ids == identity].tolist()) for identity in (1, 2, 3)]
    assert [len(color) for color in colors] == [1, 1, 1]
    assert len(set.union(*colors)) == 3


def test_split_loss_is_the_entropy_of_a_lines_mean_distribution() -> None:
    probabilities = torch.tensor([[0.2, 0.8, 0.0], [0.2, 0.0, 0.8], [0.1, 0.9, 0.0]], dtype=torch.float64) + 1e-12
    found = split_loss(probabilities.log(), torch.tensor([4, 4, 9]))
    # Line 4 is half one output and half the other; line 9 has one to itself; background does not count.
    assert float(found) == pytest.approx(0.5 * math.log(2), abs=1e-6)
    assert float(split_loss(probabilities[2:].log(), torch.tensor([9]))) == pytest.approx(0.0, abs=1e-6)


def test_split_loss_ends_a_tie_that_the_paper_leaves() -> None:
    ids = torch.zeros(1, 6, 10, dtype=torch.long)
    ids[0, :, 2], ids[0, :, 7] = 1, 2
    start = torch.zeros(1, 7, 6, 10)
    start[:, 0] = torch.where(ids == 0, 6.0, -6.0)
    start[:, 1:3] += torch.where(ids == 1, 6.0, -6.0)[:, None]
    start[:, 3] += torch.where(ids == 2, 6.0, -6.0)[0]
    start += 0.01 * torch.randn(start.shape, generator=torch.Generator().manual_seed(0))

    def train(split: float) -> torch.Tensor:
        logits = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([logits], 0.05)
        for step in range(200):
            optimizer.zero_grad()
            l2c_loss(logits, ids, 30, split=split, generator=torch.Generator().manual_seed(step))["loss"].backward()
            optimizer.step()
        return torch.softmax(logits.detach()[0, 1:], 0)[:, ids[0] == 1].max(0).values

    assert float(train(0.0).max()) < 0.7
    assert float(train(0.3).min()) > 0.9
