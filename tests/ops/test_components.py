from __future__ import annotations

import cc3d
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from rtseg.errors import ArgumentError
from rtseg.ops import label_components, label_runs
from rtseg.ops.pixel_components import is_thin


def reference(labels: NDArray[np.integer], connectivity: int) -> tuple[NDArray[np.int32], int]:
    """Flood fill from every unseen pixel in raster order."""
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)] + ([(1, 1), (1, -1), (-1, 1), (-1, -1)] if connectivity == 8 else [])
    components = np.zeros(labels.shape, np.int32)
    count = 0
    for y, x in np.argwhere(labels):
        if components[y, x]:
            continue
        count += 1
        components[y, x] = count
        stack = [(y, x)]
        while stack:
            py, px = stack.pop()
            for dy, dx in steps:
                qy, qx = py + dy, px + dx
                inside = 0 <= qy < labels.shape[0] and 0 <= qx < labels.shape[1]
                if inside and labels[qy, qx] == labels[py, px] and not components[qy, qx]:
                    components[qy, qx] = count
                    stack.append((qy, qx))
    return components, count


def spiral(side: int) -> NDArray[np.uint8]:
    """One corridor of width 1 that winds to the center."""
    image = np.zeros((side, side), np.uint8)
    y, x, dy, dx = 0, 0, 0, 1
    image[y, x] = 1
    while True:
        for _ in range(2):  # straight on, else one turn to the right, else the end
            ahead, beyond = (y + dy, x + dx), (y + 2 * dy, x + 2 * dx)
            inside = 0 <= ahead[0] < side and 0 <= ahead[1] < side
            free = inside and (not (0 <= beyond[0] < side and 0 <= beyond[1] < side) or not image[beyond])
            if free and not image[ahead]:
                y, x = ahead
                image[y, x] = 1
                break
            dy, dx = dx, -dy
        else:
            return image


shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=40)
images = shapes.flatmap(lambda shape: hnp.arrays(np.int32, shape, elements=st.sampled_from([0, 0, 1, 1, 2, -7])))


@pytest.fixture(params=["runs", "pixels"])
def one_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Label all pictures one way, whatever they look like."""
    monkeypatch.setattr("rtseg.ops.components.is_thin", lambda _: request.param == "pixels")


@pytest.mark.usefixtures("one_way")
@given(images, st.sampled_from([4, 8]), st.integers(1, 5))
def test_equals_flood_fill(labels: NDArray[np.int32], connectivity: int, threads: int) -> None:
    components, count = label_components(labels, connectivity, threads)
    expected, expected_count = reference(labels, connectivity)
    assert components.dtype == np.int32
    assert count == expected_count
    np.testing.assert_array_equal(components, expected)


@given(images, st.sampled_from([4, 8]))
def test_runs_hold_the_same_components(labels: NDArray[np.int32], connectivity: int) -> None:
    runs = label_runs(labels, connectivity)
    painted = np.zeros(labels.shape, np.int32)
    for y in range(labels.shape[0]):
        for run in range(runs.rows[y], runs.rows[y + 1]):
            painted[y, runs.starts[run] : runs.ends[run]] = runs.components[run]
    components, count = label_components(labels, connectivity)
    assert runs.count == count
    np.testing.assert_array_equal(painted, components)


@given(images, st.permutations([1, 2, -7]))
def test_renaming_labels_changes_nothing(labels: NDArray[np.int32], names: list[int]) -> None:
    renamed = np.select([labels == 1, labels == 2, labels == -7], names, 0).astype(np.int32)
    np.testing.assert_array_equal(label_components(labels)[0], label_components(renamed)[0])


PATTERNS = {
    "spiral": spiral(61),
    "checkerboard": (np.indices((33, 47)).sum(0) % 2).astype(np.uint8),
    "two-color checkerboard": (np.indices((33, 47)).sum(0) % 2 + 1).astype(np.uint8),
    "diagonals": (np.indices((40, 40)).sum(0) % 7 == 0).astype(np.uint8),
    "comb": np.vstack([np.tile([1, 0], 30).astype(np.uint8)] * 20 + [np.ones(60, np.uint8)]),
    "full": np.ones((30, 70), np.uint8),
    "empty": np.zeros((30, 70), np.uint8),
    "one pixel": np.ones((1, 1), np.uint8),
    "one column": np.array([[1], [1], [0], [2], [2]], np.uint8),
    "noise at the percolation threshold": (np.random.default_rng(0).random((200, 333)) < 0.41).astype(np.uint8),
    "many labels": np.random.default_rng(1).integers(0, 4, (200, 333)).astype(np.uint8),
}


@pytest.mark.usefixtures("one_way")
@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_equals_cc3d_on_adversarial_patterns(name: str, connectivity: int, threads: int) -> None:
    expected, expected_count = cc3d.connected_components(PATTERNS[name], connectivity=connectivity, return_N=True)
    components, count = label_components(PATTERNS[name], connectivity, threads)
    assert count == expected_count
    np.testing.assert_array_equal(components, expected)


@pytest.mark.parametrize(("name", "thin"), [("diagonals", True), ("comb", True), ("full", False), ("empty", False)])
def test_thin_stripes_go_pixel_by_pixel(name: str, thin: bool) -> None:
    assert is_thin(PATTERNS[name]) == thin


def test_spiral_is_one_component() -> None:
    image = spiral(61)
    assert image.sum() > 61 * 61 / 3
    assert label_components(image, 4)[1] == label_components(image, 8)[1] == 1


def test_equals_scipy_on_a_binary_image() -> None:
    image = np.random.default_rng(2).random((123, 77)) < 0.5
    for connectivity, structure in ((4, None), (8, np.ones((3, 3)))):
        expected, expected_count = ndimage.label(image, structure)
        components, count = label_components(image, connectivity)
        assert count == expected_count
        np.testing.assert_array_equal(components, expected)


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", ">i4", ">u2"]
)
def test_takes_every_integer_type(dtype: str) -> None:
    image = np.random.default_rng(3).integers(0, 2 if dtype == "bool" else 4, (40, 50))
    np.testing.assert_array_equal(label_components(image.astype(dtype))[0], label_components(image)[0])


def test_great_values_stay_distinct() -> None:
    image = np.array([[1, 1 + 2**32, 2**63]], np.uint64)
    np.testing.assert_array_equal(label_components(image)[0], [[1, 2, 3]])


def test_takes_any_memory_layout() -> None:
    image = np.random.default_rng(4).integers(0, 3, (60, 80)).astype(np.uint8)
    for view in (image.T, image[::-1, ::2], np.asfortranarray(image), image[3:50, 7:]):
        np.testing.assert_array_equal(label_components(view)[0], label_components(view.copy())[0])
    image.flags.writeable = False
    label_components(image)


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_takes_an_empty_image(shape: tuple[int, int]) -> None:
    components, count = label_components(np.zeros(shape, np.uint8))
    assert components.shape == shape
    assert count == 0
    assert label_runs(np.zeros(shape, np.uint8)).count == 0


def test_refuses_what_it_cannot_label() -> None:
    with pytest.raises(ArgumentError, match="integer"):
        label_components(np.zeros((3, 3)))
    with pytest.raises(ArgumentError, match=r"\(H, W\)"):
        label_components(np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(ArgumentError, match="connectivity"):
        label_components(np.zeros((3, 3), np.uint8), 6)
    with pytest.raises(ArgumentError, match="2\\*\\*31"):
        label_components(np.broadcast_to(np.uint8(0), (2**16, 2**15)))
