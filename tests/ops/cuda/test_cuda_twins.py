"""The functions of `rtseg.ops` on device arrays: on a device, and over the shim with arrays that only look like it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg import ops
from rtseg.errors import GroupingError, ImageError
from rtseg.grouping.affinity_union import affinity_union
from rtseg.ops.cuda import twins

GRID = ((0, 1), (1, 0))


class Dressed(np.ndarray):
    """A NumPy array that passes for one on a device."""

    __cuda_array_interface__ = {"version": 3}  # noqa: RUF012


class NumpyAsCupy(SimpleNamespace):
    """The few of CuPy's functions that NumPy lacks."""

    cuda = SimpleNamespace(
        runtime=SimpleNamespace(getDevice=lambda: 0), get_current_stream=lambda: SimpleNamespace(ptr=0)
    )

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


@pytest.fixture
def put(machine: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    launcher = machine.launcher()
    if launcher.xp is not np:
        return machine.put
    launcher.xp = NumpyAsCupy()
    monkeypatch.setattr(twins, "cuda_launcher", lambda: launcher)
    return lambda array: array.view(Dressed)


def image(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "uint16", "int32", "uint32", "int64", "uint64"])
def test_label_components(machine: Any, put: Any, dtype: str) -> None:
    labels = (image(20, 45) // 100).astype(dtype)
    for connectivity in (4, 8):
        components, count = ops.label_components(put(labels), connectivity)
        expected, expected_count = ops.label_components(labels, connectivity)
        np.testing.assert_array_equal(machine.get(components), expected)
        assert count == expected_count


def test_labels_in_a_strided_view(machine: Any, put: Any) -> None:
    labels = image(20, 90) // 100
    components, _ = ops.label_components(put(labels)[::2, ::-2])
    np.testing.assert_array_equal(machine.get(components), ops.label_components(labels[::2, ::-2])[0])


def test_upsample_argmax(machine: Any, put: Any) -> None:
    maps = np.random.default_rng(0).normal(size=(7, 9, 16))
    np.testing.assert_array_equal(
        machine.get(ops.upsample_argmax(put(maps), (36, 64))), ops.upsample_argmax(maps, (36, 64))
    )
    maps[0, 0, 0] = np.nan
    with pytest.raises(GroupingError, match="finite"):
        ops.upsample_argmax(put(maps), (36, 64))


@pytest.mark.parametrize("count", [3, 300])
def test_region_statistics_and_means(machine: Any, put: Any, count: int) -> None:
    labels = image(20, 45).astype(np.int64) % 4
    maps = np.random.default_rng(1).normal(size=(2, 20, 45)).astype(np.float32)
    measured = ops.region_statistics(put(labels), count)
    expected = ops.region_statistics(labels, count)
    for name in ("areas", "boxes", "centers"):
        np.testing.assert_array_equal(machine.get(getattr(measured, name)), getattr(expected, name))
    means = machine.get(ops.region_means(put(labels), count, put(maps)))
    np.testing.assert_allclose(means, ops.region_means(labels, count, maps), rtol=1e-12)


@pytest.mark.parametrize("bad", [-1, 4, 2**32 + 1])
def test_labels_out_of_range(put: Any, bad: int) -> None:
    labels = np.ones((4, 5), np.int64)
    labels[2, 3] = bad
    with pytest.raises(GroupingError, match="labels"):
        ops.region_statistics(put(labels), 3)
    with pytest.raises(GroupingError, match="labels"):
        ops.region_means(put(labels), 3, put(np.zeros((1, 4, 5), np.float32)))
    with pytest.raises(GroupingError, match="count"):
        ops.region_statistics(put(labels), -1)


def test_resize_and_preprocess(machine: Any, put: Any) -> None:
    frame, size = image(36, 64, 3), (18, 30)
    resized = machine.get(ops.resize_image(put(frame), size)).astype(int)
    assert np.abs(resized - ops.resize_image(frame, size)).max() <= 1
    mean, std = [120.0, 115.0, 100.0], [58.0, 57.0, 56.0]
    expected = ops.preprocess(frame, size, mean, std, "rgb")
    np.testing.assert_allclose(
        machine.get(ops.preprocess(put(frame), size, mean, std, "rgb")), expected, atol=1.001 / min(std)
    )
    out = put(np.zeros((1, 3, *size), np.float32))
    assert ops.preprocess(put(frame), size, mean, std, "rgb", out) is out
    np.testing.assert_allclose(machine.get(out), expected, atol=1.001 / min(std))
    with pytest.raises(ImageError, match="uint8 BGR image"):
        ops.resize_image(put(frame[..., 0]), size)


def test_union_and_merging(machine: Any, put: Any) -> None:
    rng = np.random.default_rng(0)
    affinity = (rng.random((2, 12, 17)) ** 0.3).astype(np.float32)
    mask = rng.random((12, 17)) < 0.8
    for superpixel_threshold in (None, 1.0, 0.9):
        merged = affinity_union(put(affinity), GRID, superpixel_threshold, 0.6, put(mask))
        expected = affinity_union(affinity, GRID, superpixel_threshold, 0.6, mask)
        np.testing.assert_array_equal(machine.get(merged), expected)
    for threshold in (0.0, 0.8, 1.0):
        united = ops.union_affinities(put(affinity), GRID, threshold, put(mask))
        np.testing.assert_array_equal(machine.get(united), ops.union_affinities(affinity, GRID, threshold, mask))
    for method in (affinity_union, ops.union_affinities):
        with pytest.raises(GroupingError, match="pairs of integers"):
            method(put(affinity), [(0, 1.5), (1, 0)], 0.9)  # type: ignore[list-item]
        affinity[0, 3, 3] = 1.5
        with pytest.raises(GroupingError, match="affinities"):
            method(put(affinity), GRID, 0.9)
        affinity[0, 3, 3] = 0.5


def test_mask_suppression(machine: Any, put: Any) -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((9, 7, 11)) < 0.5
    masks[3], masks[5] = masks[2], False
    scores = (rng.integers(0, 4, 9) / 3).astype(np.float32)
    for kernel in ("gaussian", "linear"):
        lowered = ops.matrix_nms(put(masks), put(scores), kernel)
        np.testing.assert_array_equal(machine.get(lowered), ops.matrix_nms(masks, scores, kernel))
    kept = ops.fast_nms(put(masks), put(scores), 0.3)
    np.testing.assert_array_equal(machine.get(kept), ops.fast_nms(masks, scores, 0.3))
    assert len(ops.fast_nms(put(masks[:0]), put(scores[:0]))) == 0
    for bad in (scores[1:], -scores, np.full(9, np.nan, np.float32)):
        with pytest.raises(GroupingError, match="expected masks"):
            ops.matrix_nms(put(masks), put(bad))
    with pytest.raises(GroupingError, match="threshold"):
        ops.fast_nms(put(masks), put(scores), 2.0)
