"""Runs from the device equal those of the CPU, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtseg import ops
from rtseg.errors import ArgumentError
from rtseg.ops.cuda.runs import RunsPlan


def _compare(machine: Any, labels: NDArray[np.uint8], seed: int = 1) -> None:
    plan = RunsPlan(labels.shape, capacity=max(1, labels.size), launcher=machine.launcher(seed))
    components, _ = ops.label_components(labels)
    plan.run(machine.put(labels), machine.put(components))
    unpacked = plan.unpack(machine.get(plan.packed))
    assert unpacked is not None
    runs, colors = unpacked
    expected = ops.label_runs(labels, 8)
    for name in ("starts", "ends", "rows", "components"):
        np.testing.assert_array_equal(getattr(runs, name), getattr(expected, name), err_msg=name)
    assert runs.count == expected.count
    rows = np.repeat(np.arange(labels.shape[0]), np.diff(expected.rows))
    np.testing.assert_array_equal(colors, labels[rows, expected.starts])


@settings(max_examples=20)
@given(st.integers(1, 30), st.integers(1, 700), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_runs_equal_the_cpu(machine: Any, height: int, width: int, colors: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.integers(0, colors + 1, (height, width), np.uint8), rng.integers(1, 9), axis=1)[:, :width]
    _compare(machine, np.ascontiguousarray(labels), seed % 7)


@pytest.mark.parametrize("value", [0, 1, 255])
@pytest.mark.parametrize("shape", [(1, 1), (3, 256), (2, 257), (1100, 3)])
def test_uniform_images(machine: Any, shape: tuple[int, int], value: int) -> None:
    _compare(machine, np.full(shape, value, np.uint8))


def test_a_second_image_leaves_nothing_of_the_first(machine: Any) -> None:
    plan = RunsPlan((4, 8), launcher=machine.launcher())
    for labels in (np.eye(4, 8, dtype=np.uint8), np.zeros((4, 8), np.uint8)):
        plan.run(machine.put(labels), machine.put(ops.label_components(labels)[0]))
        unpacked = plan.unpack(machine.get(plan.packed))
        assert unpacked is not None
        assert len(unpacked[0].starts) == np.count_nonzero(labels)


def test_too_many_runs_are_noticed_and_the_next_image_is_right(machine: Any) -> None:
    plan = RunsPlan((4, 8), capacity=8, launcher=machine.launcher())
    crowded = np.tile(np.array([1, 2], np.uint8), (4, 4))
    plan.run(machine.put(crowded), machine.put(ops.label_components(crowded)[0]))
    assert plan.unpack(machine.get(plan.packed)) is None
    plain = np.ones((4, 8), np.uint8)
    plan.run(machine.put(plain), machine.put(ops.label_components(plain)[0]))
    assert plan.unpack(machine.get(plan.packed)) is not None


def test_what_does_not_fit_is_refused(machine: Any) -> None:
    with pytest.raises(ArgumentError, match="non-empty"):
        RunsPlan((0, 3), launcher=machine.launcher())
    plan = RunsPlan((4, 8), launcher=machine.launcher())
    with pytest.raises(ArgumentError, match="labels"):
        plan.run(machine.put(np.zeros((4, 8), np.int32)), machine.put(np.zeros((4, 8), np.int32)))
