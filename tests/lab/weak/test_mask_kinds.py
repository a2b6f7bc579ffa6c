"""Kinds of free masks over a recording: things on the ground before texture, and no part of the vehicle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rtseg.errors import ArgumentError, WeakSupervisionError
from rtseg.lab.weak.free_mask_pool import MaskPool
from rtseg.lab.weak.mask_kinds import KindSettings, MaskKinds

SIZE = (64, 128)
THING, TEXTURE, STAR, SPECK = range(4)
SETTINGS = KindSettings(alike=0.2)


def draw_pool(seed: int) -> MaskPool:
    """A thing and a speck near one height, texture anywhere, a star always at one place; all but specks found often."""
    rng = np.random.default_rng(seed)
    tops = [30 + rng.integers(-1, 2), rng.integers(0, 54), 50, 30 + rng.integers(-1, 2)]
    lefts = [rng.integers(0, 118), rng.integers(0, 118), 60, rng.integers(0, 118)]
    boxes = np.array([[y, x, y + 10, x + 10] for y, x in zip(tops, lefts, strict=True)], np.int32)
    embeddings = np.eye(4, 8) + rng.normal(0, 0.02, (4, 8))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    found = np.array([0.5, 0.5, 0.5, 0.1], np.float32)
    return MaskPool(SIZE, boxes, [np.ones((10, 10), np.bool_)] * 4, found, embeddings.astype(np.float32))


@pytest.fixture
def pools() -> list[MaskPool]:
    return [draw_pool(i) for i in range(20)]


def test_what_stands_at_one_height_is_worth_most_and_the_vehicle_nothing(pools: list[MaskPool]) -> None:
    kinds = MaskKinds.of(pools, SETTINGS)
    scores = np.stack([kinds.score(draw_pool(100 + i)) for i in range(10)])
    assert (scores[:, STAR] == 0).all()
    assert (scores[:, THING] > 3 * scores[:, TEXTURE]).all()
    assert (scores[:, THING] > 20 * scores[:, SPECK]).all()
    assert (scores <= 1).all()


def test_one_thing_alone_is_worth_what_its_kind_is(pools: list[MaskPool]) -> None:
    """A speck that looks like a thing is worth more than one that does not."""
    kinds = MaskKinds.of(pools, SETTINGS)
    pool = draw_pool(100)
    alike = MaskPool(SIZE, pool.boxes, pool.parts, pool.found, pool.embeddings[[0, 1, 2, THING]])
    assert kinds.score(alike)[SPECK] > 10 * kinds.score(pool)[SPECK]


def test_scores_do_not_depend_on_the_order_of_masks(pools: list[MaskPool]) -> None:
    kinds = MaskKinds.of(pools, SETTINGS)
    pool, order = draw_pool(100), np.array([2, 0, 3, 1])
    moved = MaskPool(SIZE, pool.boxes[order], pool.parts, pool.found[order], pool.embeddings[order])
    np.testing.assert_allclose(kinds.score(moved), kinds.score(pool)[order], rtol=1e-6)


def test_a_picture_is_not_compared_with_itself(pools: list[MaskPool]) -> None:
    kinds = MaskKinds.of(pools, SETTINGS)
    without = MaskKinds.of([pools[0], *pools[1:]][1:], SETTINGS)
    np.testing.assert_allclose(kinds.score(pools[0], 0), without.score(pools[0]), rtol=1e-6)
    alone = MaskKinds.of(pools[:1], SETTINGS)
    np.testing.assert_array_equal(alone.score(pools[0], 0), pools[0].found)


def test_most_masks_are_drawn_alike_for_a_seed(pools: list[MaskPool]) -> None:
    few = SETTINGS.replaced(masks=30)
    first, again, other = (MaskKinds.of(pools, few, seed) for seed in (1, 1, 2))
    assert len(first.found) == 30
    np.testing.assert_array_equal(first.embeddings, again.embeddings)
    assert not np.array_equal(first.embeddings, other.embeddings)


def test_pools_that_do_not_fit() -> None:
    pool = draw_pool(0)
    empty = MaskPool(SIZE, pool.boxes[:0], [], pool.found[:0], pool.embeddings[:0])
    with pytest.raises(WeakSupervisionError, match="free masks in 2 pictures, got none"):
        MaskKinds.of([empty, empty], SETTINGS)
    large = MaskPool((128, 256), pool.boxes, pool.parts, pool.found, pool.embeddings)
    with pytest.raises(WeakSupervisionError, match="one size"):
        MaskKinds.of([pool, large], SETTINGS)
    assert len(MaskKinds.of([pool, empty], SETTINGS).score(empty, 1)) == 0


@pytest.mark.parametrize("wrong", [{"alike": 0.0}, {"spread": 0.0}, {"still": 1.1}, {"pictures": 0}, {"masks": 0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        KindSettings(**wrong)
