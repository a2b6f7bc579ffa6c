"""Tag assignment: against brute force, against itself by another method, and the promises of eq 8."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtseg.errors import WeakSupervisionError
from rtseg.lab.weak import TagAssignment, assign_tags, count_kept, similarity_graph
from rtseg.lab.weak.tags.assignment import TagMethod
from rtseg.lab.weak.tags.synthetic import SyntheticInstances, SyntheticSettings, draw_instances


def value(problem: dict[str, Any], tags: Any) -> float:
    """Eq 8, term by term."""
    total = 0.0
    for (i, j), weight in zip(problem["edges"], problem["weights"], strict=True):
        if tags[i] == tags[j] >= 0:
            total += weight
    for j, tag in enumerate(tags):
        if tag >= 0:
            total += problem["beta"] * problem["probabilities"][j, tag]
    return total


def brute_force(problem: dict[str, Any]) -> float:
    """The largest value of eq 8 over all tags that keep its constraints."""
    kept = count_kept(len(problem["allowed"]), problem["retention"])
    choices = [[-1, *np.flatnonzero(row)] for row in problem["allowed"]]
    return max(value(problem, tags) for tags in itertools.product(*choices) if sum(tag >= 0 for tag in tags) == kept)


def random_problem(seed: int, n: int, classes: int, flat: bool) -> dict[str, Any]:
    """A graph with repeated edges and, where `flat`, equal weights, equal probabilities and so ties everywhere."""
    rng = np.random.default_rng(seed)
    m = int(rng.integers(0, 3 * n + 1)) if n > 1 else 0
    edges = np.empty((m, 2), np.int64)
    if m:
        edges[:, 0] = rng.integers(0, n, m)
        edges[:, 1] = (edges[:, 0] + rng.integers(1, n, m)) % n
    allowed = rng.random((n, classes)) < rng.choice([0.4, 0.7, 1.0])
    taggable = allowed.any(axis=1).sum()
    return {
        "edges": edges,
        "weights": rng.choice([0.0, 1.0, 1.0], m) if flat else 2 * rng.random(m),
        "probabilities": np.full((n, classes), 0.5) if flat else rng.random((n, classes)),
        "allowed": allowed,
        "beta": float(rng.choice([0.0, 0.5, 3.0, 30.0])),
        "retention": rng.integers(0, taggable + 1) / n,
    }


def check_promises(problem: dict[str, Any], result: TagAssignment) -> None:
    tags = result.tags
    n = len(problem["allowed"])
    assert tags.shape == (n,)
    assert (tags >= 0).sum() == count_kept(n, problem["retention"])
    tagged = np.flatnonzero(tags >= 0)
    assert problem["allowed"][tagged, tags[tagged]].all()
    assert set(tags[tags < 0]) <= {-1}
    assert result.objective == pytest.approx(value(problem, tags), rel=1e-12, abs=1e-12)
    assert result.bound >= result.objective


problems = st.builds(random_problem, st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 3), st.booleans())
methods = st.sampled_from(["auto", "exact", "relaxation"])


@given(problems, methods)
def test_agrees_with_brute_force(problem: dict[str, Any], method: TagMethod) -> None:
    best = brute_force(problem)
    result = assign_tags(**problem, method=method)
    check_promises(problem, result)
    tolerance = 1e-6 * max(1.0, best)
    assert result.objective <= best + tolerance
    assert result.bound >= best - tolerance
    if method != "relaxation":
        assert result.objective == pytest.approx(best, rel=1e-6, abs=1e-6)
        assert result.gap <= 1e-6


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(20, 60), st.integers(1, 5), st.booleans())
def test_exact_lies_within_the_proven_gap(seed: int, n: int, classes: int, flat: bool) -> None:
    problem = random_problem(seed, n, classes, flat)
    exact = assign_tags(**problem, method="exact")
    scalable = assign_tags(**problem, method="relaxation")
    check_promises(problem, exact)
    check_promises(problem, scalable)
    tolerance = 1e-6 * max(1.0, exact.objective)
    assert exact.gap <= 1e-6
    assert scalable.objective <= exact.objective + tolerance
    assert scalable.bound >= exact.objective - tolerance


def synthetic_problem(data: SyntheticInstances, beta: float = 30.0, retention: float = 0.95) -> dict[str, Any]:
    edges, weights = similarity_graph(data.features)
    return {
        "edges": edges,
        "weights": weights,
        "probabilities": data.probabilities,
        "allowed": data.allowed,
        "beta": beta,
        "retention": retention,
    }


@pytest.mark.parametrize("beta", [0.0, 3.0, 30.0])
def test_both_methods_prove_hundreds_of_instances_optimal(beta: float) -> None:
    problem = synthetic_problem(draw_instances(SyntheticSettings(instances=400)), beta)
    exact = assign_tags(**problem, method="exact")
    scalable = assign_tags(**problem, method="relaxation")
    assert exact.gap <= 1e-7
    assert scalable.gap <= 1e-3
    assert scalable.objective <= exact.objective * (1 + 1e-7) <= scalable.bound * (1 + 2e-7)


@pytest.mark.parametrize("beta", [0.0, 30.0])
def test_gap_of_a_large_set_is_small(beta: float) -> None:
    problem = synthetic_problem(draw_instances(SyntheticSettings(instances=8000)), beta)
    result = assign_tags(**problem)
    check_promises(problem, result)
    assert result.gap < 1e-4


def test_whole_set_beats_attention_and_batches() -> None:
    data = draw_instances(SyntheticSettings(instances=6000))
    whole = assign_tags(**synthetic_problem(data)).tags
    best = np.where(data.allowed, data.probabilities, -1.0)
    attention = best.argmax(axis=1)
    attention[np.argsort(best.max(axis=1), kind="stable")[: len(attention) - count_kept(len(attention), 0.95)]] = -1
    batches = []
    for first in range(0, 6000, 400):
        part = slice(first, first + 400)
        batch = SyntheticInstances(
            data.images[part], data.truth[part], data.allowed[part], data.probabilities[part], data.features[part]
        )
        batches.append(assign_tags(**synthetic_problem(batch)).tags)
    right = [float((tags == data.truth).mean()) for tags in (attention, np.concatenate(batches), whole)]
    assert right[0] + 0.02 < right[1] + 0.01 < right[2] + 0.005, right


@given(problems, st.integers(0, 2**32 - 1))
def test_order_of_instances_and_edges_changes_no_value(problem: dict[str, Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, m = len(problem["allowed"]), len(problem["edges"])
    place = rng.permutation(n)  # instance i moves to place[i]
    order = rng.permutation(m)
    moved = dict(problem)
    moved["probabilities"] = problem["probabilities"][np.argsort(place)]
    moved["allowed"] = problem["allowed"][np.argsort(place)]
    moved["edges"] = place[problem["edges"]][order][:, ::-1]
    moved["weights"] = problem["weights"][order]
    before, after = assign_tags(**problem), assign_tags(**moved)
    assert after.objective == pytest.approx(before.objective, rel=1e-6, abs=1e-6)


def test_without_edges_attention_decides() -> None:
    rng = np.random.default_rng(0)
    probabilities, allowed = rng.random((50, 4)), rng.random((50, 4)) < 0.6
    allowed[:, 0] = True
    result = assign_tags([], [], probabilities, allowed, retention=0.5)
    best = np.where(allowed, probabilities, -1.0)
    keep = np.argsort(best.max(axis=1))[25:]
    expected = np.full(50, -1)
    expected[keep] = best[keep].argmax(axis=1)
    np.testing.assert_array_equal(result.tags, expected)
    assert result.gap <= 1e-9


def test_similar_neighbors_overrule_attention() -> None:
    """Figure 3(b): a vertex goes to the subgraph it is most strongly tied to."""
    edges, weights = [[0, 1], [0, 2], [0, 3]], [1.9, 1.9, 1.0]
    allowed = np.array([[1, 1], [1, 0], [1, 0], [0, 1]], bool)
    probabilities = np.array([[0.4, 0.6], [0.9, 0.0], [0.9, 0.0], [0.0, 0.9]])
    calm = assign_tags(edges, weights, probabilities, allowed, beta=1.0, retention=1.0)
    assert calm.tags.tolist() == [0, 0, 0, 1]
    assert calm.objective == pytest.approx(3.8 + 0.4 + 3 * 0.9)
    assert assign_tags(edges, weights, probabilities, allowed, beta=30.0, retention=1.0).tags[0] == 1


def test_scale_of_the_objective_does_not_matter() -> None:
    problem = synthetic_problem(draw_instances(SyntheticSettings(instances=600)), 3.0)
    small = dict(problem, weights=problem["weights"] * 1e-6, beta=3e-6)
    assert assign_tags(**small, method="relaxation").gap < 1e-4
    assert assign_tags(**problem, method="relaxation").gap < 1e-4


@pytest.mark.parametrize("method", ["relaxation", "auto"])
@pytest.mark.parametrize(("beta", "scale"), [(1e12, 1.0), (30.0, 1e-15), (1e-15, 1.0), (30.0, 1e12)])
def test_extreme_parameters_give_bounded_tags(beta: float, scale: float, method: TagMethod) -> None:
    problem = synthetic_problem(draw_instances(SyntheticSettings(instances=300)), beta)
    problem["weights"] = problem["weights"] * scale
    result = assign_tags(**problem, method=method)
    check_promises(problem, result)
    assert result.gap < 0.01


def test_same_input_gives_same_tags() -> None:
    problem = synthetic_problem(draw_instances(SyntheticSettings(instances=1000)))
    first, second = assign_tags(**problem), assign_tags(**problem)
    np.testing.assert_array_equal(first.tags, second.tags)
    assert first.bound == second.bound


def test_accepts_strided_and_narrow_arrays() -> None:
    problem = synthetic_problem(draw_instances(SyntheticSettings(instances=300)))
    plain = assign_tags(**problem)
    odd = dict(problem)
    odd["edges"] = np.asfortranarray(problem["edges"].astype(np.int64))
    odd["weights"] = np.repeat(problem["weights"], 2)[::2]
    odd["allowed"] = np.asfortranarray(problem["allowed"])
    odd["probabilities"] = np.repeat(problem["probabilities"], 2, axis=1)[:, ::2]
    np.testing.assert_array_equal(assign_tags(**odd).tags, plain.tags)


@pytest.mark.parametrize(
    ("instances", "retention", "kept"),
    [(20, 0.95, 19), (21, 0.95, 19), (100, 0.29, 29), (10, 0.7, 7), (3, 0.5, 1), (18878, 0.95, 17934), (5, 1.0, 5)],
)
def test_retention_keeps_the_floor(instances: int, retention: float, kept: int) -> None:
    assert count_kept(instances, retention) == kept


def test_instances_without_keywords_are_noise() -> None:
    rng = np.random.default_rng(1)
    allowed = np.ones((20, 3), bool)
    allowed[7] = False
    result = assign_tags([[7, 8], [6, 7]], [2.0, 2.0], rng.random((20, 3)), allowed)
    assert np.flatnonzero(result.tags < 0).tolist() == [7]


def test_all_noise_where_nothing_is_kept() -> None:
    result = assign_tags([[0, 1]], [1.0], np.ones((2, 2)), np.zeros((2, 2), bool), retention=0.0)
    assert result.tags.tolist() == [-1, -1]
    assert (result.objective, result.bound, result.gap) == (0.0, 0.0, 0.0)


GOOD: dict[str, Any] = {
    "edges": np.array([[0, 1], [1, 2]]),
    "weights": np.array([1.0, 1.5]),
    "probabilities": np.full((3, 2), 0.5),
    "allowed": np.ones((3, 2), bool),
    "retention": 1.0,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"allowed": np.array([[1, 0], [0, 0], [0, 1]], bool)}, "only 2 have a keyword"),
        ({"allowed": np.zeros((3, 2), bool), "retention": 0.95}, "only 0 have a keyword"),
        ({"allowed": np.ones((3, 2), np.int64)}, "as bool"),
        ({"allowed": np.ones(3, bool)}, "shape"),
        ({"allowed": np.ones((0, 2), bool), "probabilities": np.ones((0, 2))}, "empty set"),
        ({"allowed": np.ones((3, 0), bool), "probabilities": np.ones((3, 0))}, "at least one"),
        ({"probabilities": np.full((3, 3), 0.5)}, "leave the noise category out"),
        ({"probabilities": np.array([[0.5, np.nan], [0, 0], [0, 0]])}, "NaN"),
        ({"probabilities": np.full((3, 2), -0.5)}, "sigmoid"),
        ({"probabilities": np.full((3, 2), np.inf)}, "sigmoid"),
        ({"edges": np.array([[0, 1], [1, 3]])}, "edge 1 joins 1 and 3"),
        ({"edges": np.array([[0, -1], [1, 2]])}, "edge 0 joins 0 and -1"),
        ({"edges": np.array([[0, 1], [2, 2]])}, "to itself"),
        ({"edges": np.array([[0.0, 1.0], [1.0, 2.0]])}, "integers"),
        ({"edges": np.array([0, 1])}, r"\(m, 2\)"),
        ({"edges": np.array([[0, 1]])}, r"\(m,\)"),
        ({"weights": np.array([1.0, np.nan])}, "edge 1 weighs nan"),
        ({"weights": np.array([-0.1, 1.0])}, "edge 0 weighs -0.1"),
        ({"beta": -1.0}, "beta"),
        ({"beta": float("nan")}, "beta"),
        ({"retention": 1.01}, r"\[0, 1\]"),
        ({"retention": float("nan")}, r"\[0, 1\]"),
        ({"method": "guess"}, "method"),
    ],
)
def test_bad_input_is_a_typed_error(change: dict[str, Any], message: str) -> None:
    assert set(assign_tags(**GOOD).tags.tolist()) in ({0}, {1})
    with pytest.raises(WeakSupervisionError, match=message):
        assign_tags(**{**GOOD, **change})
