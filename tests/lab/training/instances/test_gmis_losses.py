"""GMIS's affinity loss against a reference of a few lines (section 3.3)."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtseg.grouping import GMIS_OFFSETS
from rtseg.lab.training.instances.config import GMISLossConfig
from rtseg.lab.training.instances.gmis_losses import affinity_loss, gmis_losses, pair_truth
from tests.lab.training.instances.instance_truth import random_ids

OFFSETS = GMIS_OFFSETS[:24]  # distances 1, 2 and 4


def reference(logits: torch.Tensor, ids: torch.Tensor) -> float:
    """Pair by pair: those inside the picture, without ignored pixels, not both background."""
    costs = []
    batch, height, width = ids.shape
    for b in range(batch):
        for k, (dy, dx) in enumerate(OFFSETS):
            for y in range(height):
                for x in range(width):
                    if not (0 <= y + dy < height and 0 <= x + dx < width):
                        continue
                    here, there = int(ids[b, y, x]), int(ids[b, y + dy, x + dx])
                    if min(here, there) < 0 or max(here, there) == 0:
                        continue
                    p = float(torch.sigmoid(logits[b, k, y, x]))
                    costs.append(-math.log(p if here == there else 1.0 - p))
    return sum(costs) / max(1, len(costs))


@settings(max_examples=15)
@given(st.integers(0, 2**31))
def test_affinity_loss_equals_the_pairs_one_by_one(seed: int) -> None:
    ids = random_ids(seed)
    logits = torch.randn(2, 24, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert float(affinity_loss(logits, ids, OFFSETS)) == pytest.approx(reference(logits, ids), rel=1e-9)


def test_truth_is_the_same_from_both_sides() -> None:
    ids = random_ids(3, height=12, width=14)
    same, counted = pair_truth(ids)
    for k, (dy, dx) in enumerate(GMIS_OFFSETS):
        opposite = GMIS_OFFSETS.index((-dy, -dx))
        for maps in (same, counted):
            assert torch.equal(torch.roll(maps[:, k], (dy, dx), (1, 2)), maps[:, opposite])
    assert not counted[:, 8 * 4 :].any()  # distances of 16 and more lead out of so small a map


def test_background_and_ignored_pixels_have_no_gradient() -> None:
    ids = torch.zeros(1, 6, 9, dtype=torch.int32)
    ids[0, 2:4, 1:3] = 1
    ids[0, :, 7:] = -1
    logits = torch.zeros(1, 24, 6, 9, requires_grad=True)
    affinity_loss(logits, ids, OFFSETS).backward()
    assert logits.grad is not None
    moved = (logits.grad != 0).any(1)[0]
    assert not moved[:, 7:].any()
    inside = logits.grad[0, 4, 2, 1]  # (0, 1): to the right, the same instance
    outside = logits.grad[0, 3, 2, 1]  # (0, -1): to the left, background
    assert float(inside) < 0 < float(outside)


@pytest.mark.parametrize("value", [0, -1])
def test_pictures_without_instances_have_no_affinity_loss(value: int) -> None:
    ids = torch.full((2, 32, 32), value, dtype=torch.int32)
    maps = {"semantic": torch.randn(2, 3, 8, 8, requires_grad=True), "affinity": torch.randn(2, 56, 8, 8)}
    maps["affinity"].requires_grad_()
    semantic = torch.full((2, 32, 32), 255 if value else 0, dtype=torch.uint8)
    found = gmis_losses(maps, {"instances": ids, "semantic": semantic}, GMISLossConfig())
    found["loss"].backward()
    assert float(found["affinity"]) == 0.0
    assert bool(torch.isfinite(found["loss"]))


def test_the_branches_add_up() -> None:
    ids = random_ids(5, 1, 32, 32)
    generator = torch.Generator().manual_seed(0)
    maps = {"semantic": torch.randn(1, 3, 8, 8, generator=generator), "affinity": torch.randn(1, 56, 8, 8)}
    batch = {"instances": ids, "semantic": torch.where(ids > 0, 1, 0).to(torch.uint8)}
    found = gmis_losses(maps, batch, GMISLossConfig(semantic=0.5, affinity=3.0))
    torch.testing.assert_close(found["loss"], 0.5 * found["semantic"] + 3.0 * found["affinity"])


def test_affinities_without_weight_are_left_out_and_have_no_gradient() -> None:
    generator = torch.Generator().manual_seed(3)
    maps = {
        name: torch.randn(2, count, 4, 6, generator=generator, requires_grad=True)
        for name, count in (("semantic", 3), ("affinity", 56))
    }
    semantic = torch.randint(0, 3, (2, 16, 24), generator=generator)
    batch = {"instances": semantic.int(), "semantic": semantic}
    both, alone = (gmis_losses(maps, batch, GMISLossConfig(affinity=weight)) for weight in (1.0, 0.0))
    assert "affinity" not in alone
    torch.testing.assert_close(alone["loss"], both["loss"] - both["affinity"])
    alone["loss"].backward()
    assert maps["semantic"].grad is not None
    assert maps["affinity"].grad is None
