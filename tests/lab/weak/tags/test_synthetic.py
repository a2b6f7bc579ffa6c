"""The generator keeps its word: seeded, truth among the keywords, probabilities and noise as set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rtseg.lab.weak.tags.synthetic import SyntheticSettings, draw_instances

SETTINGS = SyntheticSettings(instances=5000)


def test_same_seed_gives_the_same_set() -> None:
    first, second = draw_instances(SETTINGS), draw_instances(SETTINGS)
    other = draw_instances(replace(SETTINGS, seed=1))
    for name in ("images", "truth", "allowed", "probabilities", "features"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert (first.truth != other.truth).any()


def test_truth_is_a_keyword_or_noise() -> None:
    data = draw_instances(SETTINGS)
    real = np.flatnonzero(data.truth >= 0)
    assert data.allowed[real, data.truth[real]].all()
    assert 0.03 < 1 - len(real) / 5000 < 0.07
    assert (np.diff(data.images) >= 0).all()
    same = np.flatnonzero(np.diff(data.images) == 0)
    np.testing.assert_array_equal(data.allowed[same], data.allowed[same + 1])


def test_without_noise_attention_is_right() -> None:
    data = draw_instances(replace(SETTINGS, attention_noise=0.0, noise_ratio=0.0))
    np.testing.assert_array_equal(np.where(data.allowed, data.probabilities, -1).argmax(axis=1), data.truth)


def test_features_of_one_class_are_more_alike() -> None:
    data = draw_instances(replace(SETTINGS, noise_ratio=0.0))
    similarity = data.features @ data.features.T
    same = data.truth[:, None] == data.truth
    assert similarity[same].mean() > similarity[~same].mean() + 0.05
