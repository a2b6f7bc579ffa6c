"""Flicker and switches of objects: what was made to happen is counted, and where nothing happens nothing is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.lab.scores.instances.boxes import box_overlaps
from rtseg.lab.scores.instances.temporal import ObjectLog
from rtseg.results import Instances

Drive = Sequence[dict[int, float]]
"""Of each frame the left edge of every object's box, by id."""


def objects(lefts: dict[int, float]) -> Instances:
    n = len(lefts)
    boxes = np.array([[x, 0, x + 20, 10] for x in lefts.values()], np.float32).reshape(-1, 4)
    zeros = np.zeros(n, np.int32)
    return Instances(
        np.zeros((10, 400), np.int32), np.array([*lefts], np.int32), zeros, np.ones(n, np.float32), boxes, zeros, boxes
    )


def counted(drive: Drive) -> tuple[int, int]:
    log = ObjectLog()
    steps = [log.update(objects(lefts)) for lefts in drive]
    return sum(step.switches for step in steps), sum(step.flickers for step in steps)


STEADY = [{1: 10.0 + i, 2: 100.0 - i} for i in range(12)]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, (0, 0)),
        ({5: {2: 95.0}}, (0, 1)),  # the first is missing once
        ({5: {}}, (0, 1)),  # both are, in one frame
        ({4: {2: 96.0}, 5: {2: 95.0}}, (0, 2)),
        ({i: {2: 100.0 - i} for i in range(3, 9)}, (0, 0)),  # longer than it is remembered
        ({i: {3: 10.0 + i, 2: 100.0 - i} for i in range(6, 12)}, (1, 0)),
        ({i: {3: 200.0 + i, 2: 100.0 - i} for i in range(6, 12)}, (0, 0)),  # another one, elsewhere
        ({5: {2: 95.0}, **{i: {3: 10.0 + i, 2: 100.0 - i} for i in range(6, 12)}}, (1, 0)),  # after a frame without it
        ({i: {2: 10.0 + i, 1: 100.0 - i} for i in range(6, 12)}, (2, 0)),  # they exchange their ids
    ],
)
def test_what_was_made_to_happen_is_counted(changes: dict[int, dict[int, float]], wanted: tuple[int, int]) -> None:
    assert counted([changes.get(i, lefts) for i, lefts in enumerate(STEADY)]) == wanted


def test_a_jump_of_the_recording_is_no_switch() -> None:
    log = ObjectLog()
    log.update(objects({1: 10.0}))
    log.reset()
    assert vars(log.update(objects({2: 10.0}))) == {"switches": 0, "flickers": 0}


ids = st.dictionaries(st.integers(1, 6), st.integers(0, 12).map(lambda x: 30.0 * x), max_size=5)


@given(st.lists(ids, max_size=15), st.permutations(range(1, 7)))
def test_counts_do_not_depend_on_the_numbers_of_ids(drive: list[dict[int, float]], order: list[int]) -> None:
    renamed = [{order[identity - 1]: left for identity, left in lefts.items()} for lefts in drive]
    switches, flickers = counted(drive)
    assert counted(renamed) == (switches, flickers)
    assert flickers <= len(drive)
    assert switches <= sum(len(lefts) for lefts in drive[1:])


def test_overlaps_of_boxes() -> None:
    a = [[0, 0, 10, 10], [0, 0, 0, 0]]
    np.testing.assert_allclose(box_overlaps(a, [[0, 0, 10, 10], [5, 0, 15, 10]]), [[1, 1 / 3], [0, 0]])
    assert box_overlaps([], a).shape == (0, 2)
