"""The TuSimple rules, by hand and against a plain restatement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import DatasetError
from rtseg.lab.data.tusimple import read_labels
from rtseg.lab.scores.lanes.tusimple import mean_score, score_image

ROWS = list(range(100, 300, 10))  # 20 rows


def lane(x: float, slope: float = 0.0, skip: int = 0) -> list[float]:
    return [-2.0 if i < skip else x + slope * (y - 100) for i, y in enumerate(ROWS)]


def simple(predicted: list[list[float]], truth: list[list[float]], rows: list[float], ms: float = 0) -> tuple:
    """The rules once more, point by point."""
    if ms > 200 or len(predicted) > len(truth) + 2:
        return 0.0, 0.0, 1.0
    accuracies = []
    for true in truth:
        seen = [(y, x) for y, x in zip(rows, true, strict=True) if x >= 0]
        slope = np.polyfit(*zip(*seen, strict=True), 1)[0] if len(seen) > 1 else 0.0
        limit = 20 * np.sqrt(1 + slope**2)
        best = 0.0
        for found in predicted:
            right = 0
            for a, b in zip(found, true, strict=True):
                a, b = (a if a >= 0 else -100), (b if b >= 0 else -100)
                right += abs(a - b) < limit
            best = max(best, right / len(rows))
        accuracies.append(best)
    matched = sum(a >= 0.85 for a in accuracies)
    missed = len(truth) - matched
    for _ in range(len(truth) - 4):
        accuracies.remove(min(accuracies))
        missed = max(missed - 1, 0)
    return (
        sum(accuracies) / max(min(4, len(truth)), 1),
        (len(predicted) - matched) / len(predicted) if predicted else 0.0,
        missed / max(len(truth), 1),
    )


def as_tuple(score) -> tuple:
    return score.accuracy, score.false_positive, score.false_negative


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        ([lane(100), lane(200)], [lane(100), lane(200)], (1, 0, 0)),
        ([lane(200), lane(100)], [lane(100), lane(200)], (1, 0, 0)),
        ([], [lane(100), lane(200)], (0, 0, 1)),
        ([lane(119.9)], [lane(100)], (1, 0, 0)),
        ([lane(120)], [lane(100)], (0, 1, 1)),
        ([], [], (0, 0, 0)),
        ([lane(100)], [], (0, 1, 0)),
        ([lane(100)] * 3, [], (0, 0, 1)),  # more than two too many
        # Half of the points are absent in both, which counts as right; a lane of three wrong points still matches.
        ([lane(100, skip=10)], [lane(100, skip=10)], (1, 0, 0)),
        ([lane(100, skip=13)], [lane(100, skip=10)], (0.85, 0, 0)),
        ([lane(100, skip=14)], [lane(100, skip=10)], (0.8, 1, 1)),
        # At 45 degrees the threshold is 28.3 px.
        ([lane(128, 1.0)], [lane(100, 1.0)], (1, 0, 0)),
        ([lane(129, 1.0)], [lane(100, 1.0)], (0, 1, 1)),
        # One of two lanes found.
        ([lane(100)], [lane(100), lane(300)], (0.5, 0, 0.5)),
        # Five true lanes: the worst is forgiven, in accuracy and in misses.
        ([lane(100 * i) for i in range(1, 5)], [lane(100 * i) for i in range(1, 6)], (1, 0, 0)),
        ([lane(100 * i) for i in range(1, 4)], [lane(100 * i) for i in range(1, 6)], (0.75, 0, 0.2)),
        # Six, which the benchmark never has: the best four count.
        ([lane(50 * i) for i in range(1, 6)], [lane(50 * i) for i in range(1, 7)], (1, 0, 0)),
        # One prediction may match two true lanes; the benchmark then counts a negative false positive.
        ([lane(100)], [lane(95), lane(105)], (1, -1, 0)),
    ],
)
def test_cases_worked_out_by_hand(predicted: list, truth: list, expected: tuple) -> None:
    assert as_tuple(score_image(predicted, truth, ROWS)) == pytest.approx(expected)
    assert simple(predicted, truth, ROWS) == pytest.approx(expected)


def test_slow_images_do_not_count() -> None:
    assert as_tuple(score_image([lane(100)], [lane(100)], ROWS, milliseconds=201)) == (0, 0, 1)
    assert as_tuple(score_image([lane(100)], [lane(100)], ROWS, milliseconds=200)) == (1, 0, 0)


x = st.one_of(st.just(-2.0), st.floats(0, 400))
lanes = st.integers(2, 8).flatmap(
    lambda m: st.tuples(
        st.lists(st.lists(x, min_size=m, max_size=m), max_size=7),
        st.lists(st.lists(x, min_size=m, max_size=m), max_size=6),
        st.just([10.0 * i for i in range(m)]),
    )
)


@given(lanes)
def test_agrees_with_the_plain_restatement(case: tuple) -> None:
    score = score_image(*case)
    assert as_tuple(score) == pytest.approx(simple(*case), abs=1e-9)
    assert 0 <= score.recall <= 1


@given(lanes, st.randoms())
def test_order_of_lanes_changes_nothing(case: tuple, random) -> None:
    predicted, truth, rows = case
    before = score_image(predicted, truth, rows)
    random.shuffle(predicted)
    random.shuffle(truth)
    assert as_tuple(score_image(predicted, truth, rows)) == pytest.approx(as_tuple(before))


def test_nan_means_absent() -> None:
    with_nan = [np.where(np.array(lane(100, skip=5)) < 0, np.nan, lane(100, skip=5))]
    assert score_image(with_nan, [lane(100, skip=5)], ROWS) == score_image(
        [lane(100, skip=5)], [lane(100, skip=5)], ROWS
    )


def test_recall_is_over_the_lanes_own_points() -> None:
    # Accuracy gives half the rows away for nothing; equation 9 does not.
    score = score_image([lane(100, skip=15)], [lane(100, skip=10)], ROWS)
    assert score.accuracy == pytest.approx(0.75)
    assert score.recall == pytest.approx(0.5)


@pytest.mark.parametrize("wrong", [[[1.0, 2.0]], [[1.0] * 20, [1.0]], [1.0, 2.0]])
def test_lanes_have_to_fit_the_rows(wrong: list) -> None:
    with pytest.raises(DatasetError, match="20 rows"):
        score_image(wrong, [lane(100)], ROWS)


def test_mean() -> None:
    scores = [score_image([lane(100)], [lane(100)], ROWS), score_image([], [lane(100)], ROWS)]
    assert as_tuple(mean_score(scores)) == (0.5, 0, 0.5)
    assert as_tuple(mean_score([])) == (0, 0, 0)


def test_truth_scores_perfectly_on_real_labels(driving_data: Path) -> None:
    for label in read_labels(driving_data / "lanes" / "tusimple_val"):
        score = score_image(label.lanes, label.lanes, label.h_samples)
        assert (score.accuracy, score.false_negative, score.recall) == (1, 0, 1)
