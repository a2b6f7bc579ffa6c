"""The similarity graph against its definition, eq 5 with the k largest kept."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import WeakSupervisionError
from rtseg.lab.weak import similarity_graph
from rtseg.lab.weak.tags import graph


def reference(features: np.ndarray, k: int) -> dict[tuple[int, int], float]:
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    similarity = unit @ unit.T
    kept = {}
    for i in range(len(unit)):
        others = sorted((j for j in range(len(unit)) if j != i), key=lambda j: (-similarity[i, j], j))
        for j in others[:k]:
            kept[min(i, j), max(i, j)] = similarity[i, j] + 1
    return kept


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 6), st.integers(1, 5))
def test_follows_its_definition(seed: int, n: int, channels: int, k: int) -> None:
    features = np.random.default_rng(seed).standard_normal((n, channels + 2))
    edges, weights = similarity_graph(features, k)
    expected = reference(features, k)
    assert [tuple(edge) for edge in edges.tolist()] == sorted(expected)
    np.testing.assert_allclose(weights, [expected[edge] for edge in sorted(expected)], atol=2e-6)


def test_blocks_do_not_change_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(3).standard_normal((300, 16))
    whole = similarity_graph(features)
    monkeypatch.setattr(graph, "_BLOCK_BYTES", 4 * 300 * 7)
    blocks = similarity_graph(features)
    np.testing.assert_array_equal(whole[0], blocks[0])
    np.testing.assert_allclose(whole[1], blocks[1], atol=1e-6)


def test_equal_features_are_joined_in_order() -> None:
    edges, weights = similarity_graph(np.ones((5, 3)), 2)
    assert edges.tolist() == [[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [1, 3], [1, 4]]
    np.testing.assert_allclose(weights, 2.0, atol=1e-6)


def test_lengths_of_features_do_not_matter() -> None:
    rng = np.random.default_rng(4)
    features = rng.standard_normal((40, 5))
    edges, weights = similarity_graph(features)
    for scale in (1e-30, 1e30):
        scaled_edges, scaled_weights = similarity_graph(features * scale)
        np.testing.assert_array_equal(edges, scaled_edges)
        np.testing.assert_allclose(weights, scaled_weights, atol=1e-5)


def test_one_instance_has_no_edges() -> None:
    edges, weights = similarity_graph([[1.0, 2.0]])
    assert edges.shape == (0, 2)
    assert weights.shape == (0,)


def test_input_is_left_alone() -> None:
    features = np.full((4, 2), 3.0, np.float32)
    similarity_graph(features)
    assert (features == 3.0).all()


@pytest.mark.parametrize(
    ("features", "k", "message"),
    [
        (np.empty((0, 4)), 3, "at least one"),
        (np.ones(4), 3, "shape"),
        (np.array([[1.0, 0.0], [0.0, 0.0]]), 3, "the first is 1"),
        (np.array([[np.nan, 0.0], [1.0, 0.0]]), 3, "the first is 0"),
        (np.array([[np.inf, 0.0], [1.0, 0.0]]), 3, "the first is 0"),
        (np.ones((3, 2)), 0, "k >= 1"),
    ],
)
def test_bad_features_are_a_typed_error(features: np.ndarray, k: int, message: str) -> None:
    with pytest.raises(WeakSupervisionError, match=message):
        similarity_graph(features, k)


def test_import_needs_no_torch() -> None:
    code = "import sys, rtseg.lab.weak; assert 'torch' not in sys.modules; assert 'highspy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
