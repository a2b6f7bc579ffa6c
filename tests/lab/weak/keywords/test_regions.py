"""The classifier of regions: what holds of its probabilities, and that rare classes are found beside common ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtseg.lab.weak.keywords.regions import RegionSettings, attention_evidence, region_probabilities


def _scene(
    seed: int, frames: int, shares: tuple[float, ...], dimensions: int = 12
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Features, attention, allowed tags and truth of regions: three of each frame, of the classes that it shows."""
    rng = np.random.default_rng(seed)
    present = rng.random((frames, len(shares))) < shares
    present[~present.any(1), 0] = True
    truth = np.concatenate([rng.choice(np.flatnonzero(row), 3) for row in present])
    centers = rng.normal(size=(len(shares), dimensions))
    features = centers[truth] + 0.6 * rng.normal(size=(len(truth), dimensions))
    # A posterior that sees little of the object and knows how often each keyword comes.
    seen = np.log(np.asarray(shares) / (1 - np.asarray(shares))) + rng.normal(0, 0.7, (len(truth), len(shares)))
    seen[np.arange(len(truth)), truth] += 1.5
    return features, 1 / (1 + np.exp(-seen)), np.repeat(present, 3, axis=0), truth


def _accuracy(scores: NDArray[np.float64], allowed: NDArray[np.bool_], truth: NDArray[np.int64], c: int) -> float:
    chosen = np.where(allowed, scores, -np.inf).argmax(1)
    return float((chosen == truth)[truth == c].mean())


def test_rare_classes_are_found_beside_common_ones() -> None:
    shares = (0.9, 0.6, 0.06)
    features, attention, allowed, truth = _scene(0, 400, shares)
    found = region_probabilities(features, attention, allowed, np.array(shares))
    assert _accuracy(attention, allowed, truth, 2) < 0.5
    assert _accuracy(attention_evidence(attention, np.array(shares)), allowed, truth, 2) > 0.6
    assert all(_accuracy(found, allowed, truth, c) > 0.9 for c in range(3))
    # The prior moves uncertain regions to the common classes.
    kept = region_probabilities(features, attention, allowed, np.array(shares), RegionSettings(prior=1.0))
    assert (kept.argmax(1) == 2).sum() <= (found.argmax(1) == 2).sum()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 5), st.booleans())
def test_probabilities_are_of_the_frames_keywords_and_no_more_than_the_attention(
    seed: int, frames: int, classes: int, blank: bool
) -> None:
    rng = np.random.default_rng(seed)
    shares = tuple(rng.uniform(0.05, 1.0, classes).tolist())
    features, attention, allowed, _ = _scene(seed, frames, shares)
    if blank:
        features[:] = 1.0
    attention[rng.random(attention.shape) < 0.1] = rng.choice([0.0, 1.0])
    found = region_probabilities(features, attention, allowed, allowed.mean(0))
    assert np.isfinite(found).all()
    assert (found[~allowed] == 0).all()
    # One region's shares of the keywords add up to what the attention thinks of the likeliest.
    np.testing.assert_allclose(found.sum(1), np.where(allowed, attention, 0).max(1), atol=1e-12)


def test_classes_may_come_in_any_order() -> None:
    shares = np.array([0.8, 0.5, 0.3])
    features, attention, allowed, _ = _scene(3, 40, tuple(shares))
    order = np.array([2, 0, 1])
    found = region_probabilities(features, attention, allowed, shares)
    moved = region_probabilities(features, attention[:, order], allowed[:, order], shares[order])
    np.testing.assert_allclose(moved, found[:, order], atol=0.02)


def test_evidence_of_an_attention_that_saw_nothing_is_none() -> None:
    shares = np.array([0.9, 0.3])
    np.testing.assert_allclose(attention_evidence(np.tile(shares, (4, 1)), shares), 0.0, atol=1e-9)
    assert np.isfinite(attention_evidence(np.array([[0.0, 1.0]]), np.array([0.0, 1.0]))).all()
    with pytest.raises(ValueError, match="broadcast"):
        attention_evidence(np.zeros((2, 3)), shares)
