"""Kernels against their CPU form: through the shim with shuffled threads, and on a device where there is one."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtseg import ops
from rtseg.errors import ArgumentError, GroupingError, ImageError
from rtseg.media.encodings import decode_image
from rtseg.ops.cuda import status
from rtseg.ops.cuda.coloring import ColoringPlan
from rtseg.ops.cuda.components import ComponentsPlan
from rtseg.ops.cuda.preprocess import PreprocessPlan, ResizePlan
from rtseg.ops.cuda.statistics import MeansPlan, StatisticsPlan
from rtseg.ops.cuda.status import check_status

SEEDS = st.integers(0, 2**31)


def spiral(height: int, width: int) -> NDArray[np.uint8]:
    """One corridor of width 1 that winds to the center."""
    image = np.zeros((height, width), np.uint8)
    y, x, dy, dx = 0, 0, 0, 1
    image[0, 0] = 1
    turns = 0
    while turns < 2:
        ny, nx = y + dy, x + dx
        ahead = (ny + dy, nx + dx)
        inside = 0 <= ny < height and 0 <= nx < width and not image[ny, nx]
        touches = inside and 0 <= ahead[0] < height and 0 <= ahead[1] < width and image[ahead]
        if inside and not touches:
            y, x, turns = ny, nx, 0
            image[y, x] = 1
        else:
            dy, dx, turns = dx, -dy, turns + 1
    return image


def adversarial() -> dict[str, NDArray[Any]]:
    checkers = np.indices((35, 67)).sum(0) % 2
    comb = np.zeros((40, 70), np.uint8)
    comb[:, ::2] = 1
    comb[-1] = 1
    return {
        "no rows": np.zeros((0, 5), np.int32),
        "no columns": np.zeros((5, 0), np.int32),
        "one pixel": np.ones((1, 1), np.int32),
        "nothing": np.zeros((20, 40), np.uint8),
        "one label": np.full((50, 70), 3, np.int32),
        "diagonal": np.eye(70, dtype=np.uint8),
        "other diagonal": np.eye(70, dtype=np.uint8)[:, ::-1],
        "checkers": checkers.astype(np.uint8),
        "two-label checkers": checkers.astype(np.int32) + 1,
        "comb": comb,
        "comb upside down": comb[::-1],
        "spiral": spiral(49, 75),
        "row": np.arange(100).reshape(1, 100) // 3 % 3,
        "column": np.arange(100).reshape(100, 1) // 3 % 3,
        "negative and huge labels": np.array([[-1, -1, 2**31 - 1], [2**40, 2**40, 2**40 + 2**32]], np.int64),
    }


def random_labels(height: int, width: int, seed: int) -> NDArray[np.int32]:
    """Blobs, noise or stripes of a few labels."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, rng.integers(2, 5), (height, width)).astype(np.int32)
    cell = int(rng.integers(1, 9))
    return np.repeat(np.repeat(noise, cell, 0), cell, 1)[:height, :width] if rng.random() < 0.5 else noise


def run_components(machine: Any, labels: NDArray[Any], connectivity: int, seed: int, workers: int = 1) -> Any:
    plan = ComponentsPlan(labels.shape, connectivity, machine.launcher(seed, workers))
    out = machine.put(np.full(labels.shape, -9, np.int32))
    plan.run(machine.put(labels), out)
    return machine.get(out), int(plan.count[0])


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("name", adversarial())
def test_components_of_hard_cases(machine: Any, name: str, connectivity: int) -> None:
    labels = adversarial()[name]
    expected, expected_count = ops.label_components(labels, connectivity)
    for seed in range(3):
        components, count = run_components(machine, labels, connectivity, seed, workers=1 + seed % 2)
        assert count == expected_count
        np.testing.assert_array_equal(components, expected)


@given(
    height=st.integers(1, 60),
    width=st.integers(1, 100),
    dtype=st.sampled_from(["bool", "uint8", "int32", "int64"]),
    connectivity=st.sampled_from([4, 8]),
    seed=SEEDS,
    workers=st.integers(1, 3),
)
def test_components_equal_the_cpu(
    machine: Any, height: int, width: int, dtype: str, connectivity: int, seed: int, workers: int
) -> None:
    labels = random_labels(height, width, seed).astype(dtype)
    components, count = run_components(machine, labels, connectivity, seed, workers)
    expected, expected_count = ops.label_components(labels, connectivity)
    assert count == expected_count
    np.testing.assert_array_equal(components, expected)


def test_components_plan_is_used_again(machine: Any) -> None:
    plan = ComponentsPlan((40, 50), launcher=machine.launcher())
    out = machine.put(np.zeros((40, 50), np.int32))
    for seed in range(3):
        labels = random_labels(40, 50, seed)
        plan.run(machine.put(labels), out)
        np.testing.assert_array_equal(machine.get(out), ops.label_components(labels)[0])


def test_components_refuse_what_does_not_fit(machine: Any) -> None:
    launcher = machine.launcher()
    with pytest.raises(ArgumentError, match="connectivity 4 or 8, got 6"):
        ComponentsPlan((4, 4), 6, launcher)
    with pytest.raises(ArgumentError, match="at most"):
        ComponentsPlan((2**16, 2**16), 8, launcher)
    plan = ComponentsPlan((4, 6), 8, launcher)
    good, out = machine.put(np.zeros((4, 6), np.uint8)), machine.put(np.zeros((4, 6), np.int32))
    with pytest.raises(ArgumentError, match="make a new plan"):
        plan.run(machine.put(np.zeros((6, 4), np.uint8)), out)
    with pytest.raises(ArgumentError, match="make a new plan"):
        plan.run(good, machine.put(np.zeros((4, 6), np.int64)))
    with pytest.raises(ArgumentError, match="cast them first"):
        plan.run(machine.put(np.zeros((4, 6), np.float32)), out)
    with pytest.raises(ArgumentError, match="strided"):
        plan.run(machine.put(np.zeros((4, 12), np.uint8))[:, ::2], out)


def run_coloring(machine: Any, maps: NDArray[np.float32], size: tuple[int, int], seed: int = 1) -> tuple[Any, Any]:
    plan = ColoringPlan(maps.shape, size, machine.launcher(seed))
    out = machine.put(np.full(size, 255, np.uint8))
    plan.run(machine.put(maps), out)
    return machine.get(out), plan.status


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 20), st.integers(1, 30)),
    size=st.tuples(st.integers(1, 70), st.integers(1, 140)),
    levels=st.sampled_from([2, 5, 1000, 0]),
    seed=SEEDS,
)
def test_coloring_equals_the_cpu(
    machine: Any, shape: tuple[int, int, int], size: tuple[int, int], levels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=shape).astype(np.float32)
    if levels:  # few values make many ties
        maps = np.rint(maps * levels) / np.float32(levels)
    colored, flags = run_coloring(machine, maps, size, seed)
    check_status(flags)
    np.testing.assert_array_equal(colored, ops.upsample_argmax(maps, size))


def test_coloring_of_256_channels_and_of_one(machine: Any) -> None:
    maps = np.random.default_rng(0).normal(size=(256, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(run_coloring(machine, maps, (12, 16))[0], ops.upsample_argmax(maps, (12, 16)))
    assert not run_coloring(machine, maps[:1], (12, 16))[0].any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0, 0), (2, 3, 4), (1, 1, 2)])
def test_coloring_flags_what_is_not_finite(machine: Any, value: float, place: tuple[int, int, int]) -> None:
    maps = np.zeros((3, 4, 5), np.float32)
    maps[place] = value
    _, flags = run_coloring(machine, maps, (16, 20))
    with pytest.raises(GroupingError, match="finite"):
        check_status(flags)


def test_coloring_refuses_what_does_not_fit(machine: Any) -> None:
    for shape in [(257, 2, 2), (0, 2, 2), (2, 2)]:
        with pytest.raises(ArgumentError, match="expected maps"):
            ColoringPlan(shape, (4, 4), machine.launcher())  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="expected a size"):
        ColoringPlan((2, 2, 2), (0, 4), machine.launcher())


def statistics(machine: Any, labels: NDArray[np.int32], regions: int, seed: int = 1) -> StatisticsPlan:
    plan = StatisticsPlan(labels.shape, regions, machine.launcher(seed, workers=2))
    plan.run(machine.put(labels))
    return plan


@given(height=st.integers(0, 30), width=st.integers(0, 300), extra=st.integers(0, 3), seed=SEEDS)
def test_statistics_equal_the_cpu(machine: Any, height: int, width: int, extra: int, seed: int) -> None:
    labels = random_labels(height, width, seed)
    count = int(labels.max(initial=0)) + extra
    plan = statistics(machine, labels, count, seed)
    check_status(plan.status)
    expected = ops.region_statistics(labels, count)
    np.testing.assert_array_equal(machine.get(plan.areas), expected.areas)
    np.testing.assert_array_equal(machine.get(plan.boxes), expected.boxes)
    np.testing.assert_array_equal(machine.get(plan.centers), expected.centers)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("turns", range(4))
def test_box_of_a_staircase(machine: Any, turns: int, seed: int) -> None:
    """Each row moves a different side of the box a little: an update lost to another thread shows."""
    labels = np.rot90(np.tril(np.eye(60, dtype=np.int32) + np.eye(60, k=-7, dtype=np.int32)), turns)
    plan = statistics(machine, np.ascontiguousarray(labels), 1, seed)
    expected = ops.region_statistics(labels, 1)
    np.testing.assert_array_equal(machine.get(plan.boxes), expected.boxes)
    np.testing.assert_array_equal(machine.get(plan.areas), expected.areas)


@pytest.mark.parametrize("bad", [-1, 4])
def test_statistics_flag_labels_out_of_range(machine: Any, bad: int) -> None:
    labels = np.ones((3, 40), np.int32)
    labels[1, 7] = bad
    with pytest.raises(ArgumentError, match=r"labels 0\.\.count"):
        check_status(statistics(machine, labels, 3).status)


def test_statistics_of_fewer_regions_than_there_is_room_for(machine: Any) -> None:
    plan = StatisticsPlan((2, 3), 5, machine.launcher())
    plan.run(machine.put(np.array([[1, 1, 0], [0, 2, 2]], np.int32)), 2)
    check_status(plan.status)
    np.testing.assert_array_equal(machine.get(plan.areas)[:2], [2, 2])
    plan.run(machine.put(np.full((2, 3), 3, np.int32)), 2)
    assert int(plan.status[0]) == status.BAD_LABEL
    with pytest.raises(ArgumentError, match="0 to 5"):
        plan.run(machine.put(np.zeros((2, 3), np.int32)), 6)


@given(
    height=st.integers(0, 20),
    width=st.integers(0, 150),
    channels=st.integers(0, 4),
    extra=st.integers(0, 3),
    seed=SEEDS,
)
def test_means_equal_the_cpu(machine: Any, height: int, width: int, channels: int, extra: int, seed: int) -> None:
    labels = random_labels(height, width, seed)
    maps = np.random.default_rng(seed).normal(size=(channels, height, width)).astype(np.float32)
    count = int(labels.max(initial=0)) + extra
    plan = MeansPlan(maps.shape, count, machine.launcher(seed, workers=2))
    plan.run(machine.put(labels), machine.put(maps))
    check_status(plan.status)
    np.testing.assert_allclose(machine.get(plan.means), ops.region_means(labels, count, maps), rtol=1e-12, atol=1e-12)


def test_means_flag_labels_out_of_range_and_pass_nan_on(machine: Any) -> None:
    labels, maps = np.ones((2, 3), np.int32), np.full((1, 2, 3), np.nan, np.float32)
    plan = MeansPlan(maps.shape, 1, machine.launcher())
    plan.run(machine.put(labels), machine.put(maps))
    check_status(plan.status)
    assert np.isnan(machine.get(plan.means)).all()
    plan.run(machine.put(labels + 1), machine.put(maps))
    with pytest.raises(ArgumentError, match=r"labels 0\.\.count"):
        check_status(plan.status)


MEAN, STD = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)


def frame(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def normalized(image: NDArray[np.uint8], size: tuple[int, int], order: str) -> NDArray[np.float32]:
    resized = ops.resize_image(image, size)
    deviation = np.asarray(STD)
    scale, shift = (1 / deviation).astype(np.float32), (-np.asarray(MEAN) / deviation).astype(np.float32)
    return ((resized[..., ::-1] if order == "rgb" else resized) * scale + shift).transpose(2, 0, 1)[None]


@given(
    shape=st.tuples(st.integers(2, 50), st.integers(2, 60)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 70)),
    order=st.sampled_from(["rgb", "bgr"]),
    seed=SEEDS,
)
def test_preprocessing_equals_the_cpu(
    machine: Any, shape: tuple[int, int], size: tuple[int, int], order: str, seed: int
) -> None:
    image = frame(*shape, seed)
    resized = machine.put(np.zeros((*size, 3), np.uint8))
    ResizePlan(shape, size, launcher=machine.launcher(seed)).run(machine.put(image), resized)
    # Both round sums of the same products; a CPU without fused multiply-adds may round a tie the other way.
    off = np.abs(machine.get(resized).astype(int) - ops.resize_image(image, size))
    assert off.max() <= 1
    assert off.mean() < 0.01
    plan = PreprocessPlan(shape, size, MEAN, STD, order, launcher=machine.launcher(seed))  # type: ignore[arg-type]
    out = machine.put(np.zeros((1, 3, *size), np.float32))
    plan.run(machine.put(image), out)
    np.testing.assert_allclose(machine.get(out), ops.preprocess(image, size, MEAN, STD, order), atol=1.001 / min(STD))
    exact = off.max() == 0
    if exact:
        np.testing.assert_array_equal(machine.get(out), normalized(image, size, order))


@pytest.mark.parametrize("encoding", ["bgr8", "rgb8", "bgra8", "rgba8", "mono8", "yuv422", "yuv422_yuy2"])
@pytest.mark.parametrize("padding", [0, 5])
def test_encodings_equal_decoding_on_the_cpu(machine: Any, encoding: str, padding: int) -> None:
    height, width = 34, 46
    pixel_bytes = {"bgr8": 3, "rgb8": 3, "mono8": 1, "yuv422": 2, "yuv422_yuy2": 2}.get(encoding, 4)
    step = width * pixel_bytes + padding
    data = np.random.default_rng(3).integers(0, 256, (height, step), np.uint8)
    plan = ResizePlan((height, width), (height, width), encoding, step, machine.launcher())
    out = machine.put(np.zeros((height, width, 3), np.uint8))
    plan.run(machine.put(data), out)
    np.testing.assert_array_equal(machine.get(out), decode_image(encoding, height, width, step, data.reshape(-1)))


def test_half_input_is_rounded_to_nearest(machine: Any) -> None:
    image = frame(31, 45, 1)
    for mean, std in [(MEAN, STD), ((0, 0, 0), (1e-3, 1.0, 1e6)), ((127.5, 0, 255), (1e4, 2.0**-8, 2e7))]:
        outs = []
        for dtype in ("float32", "float16"):
            plan = PreprocessPlan((31, 45), (31, 45), mean, std, dtype=dtype, launcher=machine.launcher())  # type: ignore[arg-type]
            outs.append(machine.put(np.zeros((1, 3, 31, 45), dtype)))
            plan.run(machine.put(image), outs[-1])
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(machine.get(outs[1]), machine.get(outs[0]).astype(np.float16))


def test_area_average_is_opencv_s(machine: Any) -> None:
    image = frame(36, 64, 2)
    out = machine.put(np.zeros((9, 16, 3), np.uint8))
    ResizePlan((36, 64), (9, 16), launcher=machine.launcher()).run(machine.put(image), out)
    area = cv2.resize(image, (16, 9), interpolation=cv2.INTER_AREA)
    assert np.abs(machine.get(out).astype(int) - area).max() <= 1


def test_preprocessing_refuses_what_does_not_fit(machine: Any) -> None:
    launcher = machine.launcher()
    with pytest.raises(ImageError, match="one of the encodings"):
        ResizePlan((4, 4), (2, 2), "bayer_rggb8", launcher=launcher)
    with pytest.raises(ImageError, match="even width"):
        ResizePlan((4, 5), (2, 2), "yuv422", launcher=launcher)
    with pytest.raises(ImageError, match="step of 11 bytes"):
        ResizePlan((4, 4), (2, 2), step=11, launcher=launcher)
    with pytest.raises(ArgumentError, match="order"):
        PreprocessPlan((4, 4), (2, 2), MEAN, STD, "gbr", launcher=launcher)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="standard deviations"):
        PreprocessPlan((4, 4), (2, 2), MEAN, (1, 0, 1), launcher=launcher)
    with pytest.raises(ArgumentError, match="dtype"):
        PreprocessPlan((4, 4), (2, 2), MEAN, STD, dtype="int8", launcher=launcher)  # type: ignore[arg-type]
    plan = ResizePlan((4, 4), (2, 2), launcher=launcher)
    out = machine.put(np.zeros((2, 2, 3), np.uint8))
    for wrong in (np.zeros((4, 5, 3), np.uint8), np.zeros((4, 4, 3), np.float32)):
        with pytest.raises(ArgumentError, match="4 rows of 12 bytes"):
            plan.run(machine.put(wrong), out)
