"""Ids followed over time, against counts made by hand and the best of all ways to give objects ids."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import ArgumentError
from rtseg.lab.scores.instances.identity import IdentityLog, idf1


def test_switches_are_counted_as_mota_does() -> None:
    log = IdentityLog()
    truth = np.zeros((4, 8), np.int32)
    truth[:, :4], truth[:, 4:] = 5, 9
    labels = (truth > 0) * 1 + (truth == 9)
    log.update(truth, labels, np.array([3, 4]))
    log.update(truth, labels, np.array([3, 4]))
    log.update(truth, labels * 0, np.zeros(0, np.int32))  # unseen: no switch
    log.update(truth, labels, np.array([4, 3]))  # both exchanged
    log.update(truth, labels, np.array([4, 7]))
    assert (log.objects, log.matched, log.switches) == (10, 8, 3)
    log.update(truth, (truth > 0) * 1, np.array([4]))  # one mask over both: exactly one half of it fits one
    assert log.matched == 9
    with pytest.raises(ArgumentError, match="size"):
        log.update(truth, labels[:2], np.array([1, 2]))


def _side_by_side(values: list[int]) -> np.ndarray:
    return np.repeat(np.array(values, np.int32), 3)[None].repeat(2, axis=0)


@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=6))
def test_lasting_matches_are_those_of_the_best_naming(frames: list[list[int]]) -> None:
    log = IdentityLog()
    together = np.zeros((3, 3), int)
    for found in frames:  # of three objects side by side, which id each is given; 0 where it is missed
        labels = np.array([i + 1 if identity else 0 for i, identity in enumerate(found)], np.int32)
        log.update(_side_by_side([1, 2, 3]), _side_by_side(labels.tolist()), np.array(found))
        for i, identity in enumerate(found):
            if identity:
                together[i, identity - 1] += 1
    best = max(sum(together[i, k] for i, k in enumerate(naming)) for naming in permutations(range(3)))
    assert log.lasting == best
    assert idf1([log]) == pytest.approx(2 * best / (3 * len(frames) + together.sum()))


def test_what_lies_where_nothing_is_known_does_not_count() -> None:
    log = IdentityLog()
    truth = _side_by_side([1, 0, 0])
    log.update(truth, _side_by_side([1, 2, 3]), np.array([7, 8, 9]), unknown=_side_by_side([0, 1, 0]) > 0)
    assert (log.objects, log.found, log.matched, log.lasting) == (1, 2, 1, 1)
    assert np.isnan(idf1([]))
