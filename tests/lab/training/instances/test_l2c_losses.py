"""L2C's losses for instances against references of a few lines (section III-B and V-B)."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtseg.lab.training.instances.config import L2CInstancesLossConfig
from rtseg.lab.training.instances.l2c_losses import center_loss, coloring_losses, l2c_instance_losses
from rtseg.lab.training.l2c_losses import background_loss, pairwise_loss
from tests.lab.training.instances.instance_truth import random_ids


def reference_pairs(p: list[list[float]], ids: list[int], near: torch.Tensor, margin: float) -> float:
    """Equations 2, 3, 7 and 8, pair by pair."""
    total, count = 0.0, 0
    for i, a in enumerate(p):
        for j, b in enumerate(p):
            if not near[i, j]:
                continue
            both = [sum(x * math.log(x / y) for x, y in zip(u, v, strict=True)) for u, v in ((a, b), (b, a))]
            total += sum(both) if ids[i] == ids[j] else sum(max(0.0, margin - kl) for kl in both)
            count += 1
    return total / count


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 10), st.floats(0.1, 6.0))
def test_only_near_pairs_count(seed: int, count: int, reach: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 5, dtype=torch.float64, generator=generator)
    ids = torch.randint(1, 4, (count,), generator=generator)
    place = 5 * torch.rand(count, 2, dtype=torch.float64, generator=generator)
    near = torch.cdist(place, place) <= reach
    expected = reference_pairs(torch.softmax(logits, 1).tolist(), ids.tolist(), near, 2.0)
    found = pairwise_loss(torch.log_softmax(logits, 1), ids, 2.0, near)
    assert float(found) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_an_infinite_reach_is_the_loss_of_equation_5() -> None:
    ids = torch.tensor([[[1, 1, 2, 0, -1, 3]]])
    log = torch.log_softmax(torch.randn(1, 5, 1, 6, dtype=torch.float64), 1)
    # One pixel an instance: a draw is either of the two pixels of instance 1.
    found = float(coloring_losses(log, ids, 1, math.inf, 2.0, torch.Generator().manual_seed(0))[0])
    options = [float(pairwise_loss(log[0, :, 0][:, [first, 2, 5]].T, torch.tensor([1, 2, 3]), 2.0)) for first in (0, 1)]
    assert min(abs(found - option) for option in options) < 1e-9


def test_far_instances_may_share_a_color() -> None:
    ids = torch.zeros(1, 1, 40, dtype=torch.int32)
    ids[0, 0, :4], ids[0, 0, 36:] = 1, 2
    log = torch.log_softmax(torch.tensor([0.0, 9.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 1, 40), 1)
    draw = lambda: torch.Generator().manual_seed(0)  # noqa: E731
    assert float(coloring_losses(log, ids, 10, 20.0, 2.0, draw())[0]) == pytest.approx(0.0, abs=1e-6)
    # Alone half of all pairs are of different instances, each costing the margin twice.
    assert float(coloring_losses(log, ids, 10, 40.0, 2.0, draw())[0]) == pytest.approx(2.0, abs=1e-5)


def test_pictures_do_not_mix_and_draws_are_repeatable() -> None:
    ids = random_ids(2, 2, 12, 14)
    log = torch.log_softmax(torch.randn(2, 4, 12, 14), 1)
    first, again = (coloring_losses(log, ids, 5, 6.0, 2.0, torch.Generator().manual_seed(3))[0] for _ in range(2))
    assert torch.equal(first, again)
    # One picture twice costs what it costs once, apart from the draws, which one pixel an instance takes away.
    single = torch.zeros(1, 4, 5, dtype=torch.int32)
    single[0, 0, 0], single[0, 3, 4], single[0, 2, 2] = 1, 2, 3
    values = log[:1, :, :4, :5]
    once = coloring_losses(values, single, 2, 4.0, 2.0)[0]
    twice = coloring_losses(values.repeat(2, 1, 1, 1), single.repeat(2, 1, 1), 2, 4.0, 2.0)[0]
    torch.testing.assert_close(once, twice)


def test_an_instance_that_shares_two_colors_costs_where_it_is_asked() -> None:
    ids = torch.ones(1, 4, 8, dtype=torch.int32)
    one = torch.log_softmax(torch.tensor([0.0, 20.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 4, 8), 1)
    halves = torch.log_softmax(torch.tensor([0.0, 20.0, 20.0]).view(1, 3, 1, 1).expand(1, 3, 4, 8), 1)
    pair, split = coloring_losses(halves, ids, 6, 20.0, 2.0)
    assert float(pair) == pytest.approx(0.0, abs=1e-6), "the paper's loss is content"
    assert float(split) == pytest.approx(math.log(2), abs=1e-4)
    assert float(coloring_losses(one, ids, 6, 20.0, 2.0)[1]) == pytest.approx(0.0, abs=1e-4)
    batch = {
        "instances": torch.ones(1, 32, 32, dtype=torch.int32),
        "semantic": torch.ones(1, 32, 32, dtype=torch.uint8),
    }
    draw = lambda: torch.Generator().manual_seed(0)  # noqa: E731
    without = l2c_instance_losses(random_maps(2), batch, L2CInstancesLossConfig(), draw())
    having = l2c_instance_losses(random_maps(2), batch, L2CInstancesLossConfig(split=0.3), draw())
    torch.testing.assert_close(having["loss"] - without["loss"], 0.3 * having["split"])


@settings(max_examples=25)
@given(st.integers(0, 2**31))
def test_center_loss_equals_the_vectors_one_by_one(seed: int) -> None:
    instances = random_ids(seed, 2, 16, 20, most=3)
    centers = 3.0 * torch.randn(2, 2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    costs = []
    for b in range(2):
        for y in range(4):
            for x in range(5):
                identity = int(instances[b, 4 * y + 2, 4 * x + 2])
                if identity > 0:
                    rows, columns = torch.nonzero(instances[b] == identity, as_tuple=True)
                    for c, (mean, at) in enumerate(
                        ((columns.double().mean(), 4 * x + 2), (rows.double().mean(), 4 * y + 2))
                    ):
                        error = abs(float(centers[b, c, y, x]) - (float(mean) - at))
                        costs.append(0.5 * error**2 if error < 1 else error - 0.5)
    assert float(center_loss(centers, instances, 4)) == pytest.approx(sum(costs) / max(1, len(costs)), rel=1e-6)


def random_maps(seed: int, batch: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(batch, channels, 8, 8, generator=generator).requires_grad_()
        for name, channels in (("colors", 9), ("semantic", 3), ("centers", 2))
    }


def test_the_weights_are_those_of_section_v_b() -> None:
    ids = torch.zeros(1, 32, 32, dtype=torch.int32)
    ids[0, 4:20, 3:12], ids[0, 10:30, 14:30] = 1, 2
    maps = random_maps(0)
    found = l2c_instance_losses(
        maps, {"instances": ids, "semantic": (ids > 0).to(torch.uint8)}, L2CInstancesLossConfig()
    )
    expected = found["pair"] + found["background"] + 0.1 * found["semantic"] + 0.01 * found["center"]
    torch.testing.assert_close(found["loss"].detach(), expected)
    found["loss"].backward()
    assert all(value.grad is not None and bool((value.grad != 0).any()) for value in maps.values())


@pytest.mark.parametrize("value", [0, -1])
def test_pictures_without_instances_have_finite_losses(value: int) -> None:
    ids = torch.full((1, 32, 32), value, dtype=torch.int32)
    semantic = torch.full((1, 32, 32), 255 if value else 0, dtype=torch.uint8)
    found = l2c_instance_losses(random_maps(1), {"instances": ids, "semantic": semantic}, L2CInstancesLossConfig())
    found["loss"].backward()
    assert all(bool(torch.isfinite(part)) for part in found.values())
    assert float(found["pair"]) == float(found["center"]) == 0.0
    if value:
        assert float(found["background"]) == 0.0


def test_ignored_pixels_are_neither_background_nor_objects() -> None:
    log = torch.log_softmax(torch.randn(1, 4, 2, 3), 1)
    ids = torch.tensor([[[0, 1, -1], [2, 0, -1]]])
    torch.testing.assert_close(background_loss(log, ids, -1), background_loss(log[..., :2], ids[..., :2], -1))
