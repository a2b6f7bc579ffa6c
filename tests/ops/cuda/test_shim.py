"""The shim finds what it is there to find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shim_build import SHIM, LaunchError, ShimLauncher, build

NUMBERS = np.arange(64, dtype=np.int32)


@pytest.fixture(scope="module")
def faulty(shim_folder: Path) -> Path:
    return build(shim_folder, sources=SHIM)


def launch(library: Path, kernel: str, *arguments: object, seed: int = 1, threads: int = 64, grid: int = 1) -> None:
    ShimLauncher(library, seed, workers=2).launch("faulty", kernel, (grid,), (threads,), *arguments)


@pytest.mark.parametrize("seed", range(10))
def test_barriers_order_threads(faulty: Path, seed: int) -> None:
    out = np.zeros(64, np.int32)
    launch(faulty, "reverse_with_barrier", NUMBERS, out, seed=seed)
    np.testing.assert_array_equal(out, NUMBERS[::-1])


def test_missing_barrier_shows(faulty: Path) -> None:
    wrong = 0
    for seed in range(1, 6):
        out = np.zeros(64, np.int32)
        launch(faulty, "reverse_without_barrier", NUMBERS, out, seed=seed)
        wrong += not np.array_equal(out, NUMBERS[::-1])
    assert wrong == 5


def test_atomics_lose_nothing_and_their_absence_shows(faulty: Path) -> None:
    total = np.zeros(2, np.int32)
    launch(faulty, "count_with_atomics", total[:1], grid=8)
    launch(faulty, "count_without_atomics", total[1:], grid=8)
    assert total[0] == 8 * 64
    assert total[1] < 8 * 64


def test_divergent_barrier_is_an_error(faulty: Path) -> None:
    with pytest.raises(LaunchError, match="__syncthreads was not reached by all threads"):
        launch(faulty, "barrier_in_a_branch", np.zeros(64, np.int32))


def test_incomplete_warp_collective_is_an_error(faulty: Path) -> None:
    with pytest.raises(LaunchError, match="not reached by all its lanes"):
        launch(faulty, "shuffle_in_a_branch", np.zeros(64, np.int32))


def test_warp_collectives(faulty: Path) -> None:
    out = np.zeros(64, np.int32)
    launch(faulty, "warp_sum", NUMBERS, out)
    votes = np.array([0xAAAAAAAA], np.uint32).view(np.int32)[0]
    np.testing.assert_array_equal(out, np.repeat([496, 1520], 32) + votes)


@pytest.mark.parametrize(
    "arguments",
    [(NUMBERS,), (NUMBERS, 1), (NUMBERS, NUMBERS.astype(np.int64)), (NUMBERS, NUMBERS.astype(np.float32))],
)
def test_arguments_that_do_not_fit_are_an_error(faulty: Path, arguments: tuple[object, ...]) -> None:
    with pytest.raises(LaunchError, match="takes parameters"):
        launch(faulty, "reverse_with_barrier", *arguments)


def test_launches_that_a_device_refuses_are_an_error(faulty: Path) -> None:
    with pytest.raises(LaunchError, match="invalid launch configuration"):
        launch(faulty, "count_with_atomics", np.zeros(1, np.int32), threads=1025)
    with pytest.raises(LaunchError, match="has no kernel"):
        launch(faulty, "count_nothing", np.zeros(1, np.int32))
