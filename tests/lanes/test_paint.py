"""Solid and dashed lines told apart, on roads drawn for it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtseg.lanes import TrackedLanes
from rtseg.lanes.paint import (
    _COLUMNS,
    _OFFSETS,
    _ROWS,
    _STEPS,
    _WIDTH,
    MarkingMemory,
    _around,
    _read_across,
    paint_of,
    solid_of,
)
from tests.lanes.road_of_lines import WHITE, YELLOW, road_with

Image = NDArray[np.uint8]


@pytest.mark.parametrize("color", [WHITE, YELLOW])
@pytest.mark.parametrize("size", [(360, 640), (720, 1280)])
def test_solid_and_dashed_lines_of_one_picture(size: tuple[int, int], color: tuple[int, int, int]) -> None:
    image, lines = road_with(["solid", "dashed", "dashed", "solid"], size, color)
    solid = solid_of(paint_of(image, lines))
    assert (solid[[0, 3]] > 0.8).all()
    assert (solid[[1, 2]] < 0.2).all()


@given(st.integers(2, 90), st.integers(2, 90), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_the_picture_is_read_across_a_line_as_opencv_reads_it(height: int, width: int, points: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = cv2.blur(rng.integers(0, 256, (height, width, 3), np.uint8), (3, 3))
    y = np.cumsum(rng.uniform(0.5, 4, points)) + rng.uniform(0, height / 2)
    line = np.stack([rng.uniform(-9, width + 9, points), y], axis=1).astype(np.float32)
    horizon = float(line[0, 1]) - rng.uniform(1, 9)
    strip = np.empty((_ROWS, _COLUMNS), np.float32)
    _read_across(image, line, horizon, _STEPS, _OFFSETS, strip)

    far, near = max(line[0, 1] - horizon, 0.05 * height), line[-1, 1] - horizon
    at_y = horizon + far * (near / far) ** _STEPS
    at_x = np.interp(at_y, line[:, 1], line[:, 0])[:, None] + _OFFSETS * (_WIDTH * (at_y[:, None] - horizon) + 1)
    at_x, at_y = np.clip(at_x, 0, width - 1), np.clip(at_y, 0, height - 1)
    maps = at_x.astype(np.float32), np.broadcast_to(at_y[:, None], at_x.shape).astype(np.float32)
    expected = cv2.remap(image[..., 2].astype(np.float32), *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # OpenCV reads at whole thirty-seconds of a pixel.
    np.testing.assert_allclose(strip, expected, atol=2 * 256 / 64 + 1e-2)
    assert np.abs(strip - expected).mean() < 1.5


@given(st.integers(1, 3), st.integers(1, 60), st.integers(0, 8), st.integers(0, 2**32 - 1))
def test_the_strongest_around_is_opencvs(lines: int, rows: int, reach: int, seed: int) -> None:
    contrast = np.random.default_rng(seed).normal(0, 30, (lines, rows)).astype(np.float32)
    found, nearby = np.empty_like(contrast), np.ones((1, 2 * reach + 1), np.uint8)
    _around(contrast, reach, np.empty(rows), found)
    dilated = cv2.copyMakeBorder(cv2.dilate(contrast, nearby), 0, 0, reach, reach, cv2.BORDER_REPLICATE)
    expected = [np.convolve(row, nearby[0] / nearby.size, "valid") for row in dilated]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("x", [np.nan, np.inf, -np.inf, 1e30])
def test_a_line_that_is_nowhere_reads_nothing_beyond_the_picture(x: float) -> None:
    image, lines = road_with(["solid", "solid"], (360, 640))
    lost = lines[0].copy()
    lost[::3, 0] = x
    assert paint_of(image, [lost, lines[1]])[1] == paint_of(image, lines)[1]


def test_any_layout_of_a_picture_is_read_alike() -> None:
    image, lines = road_with(["solid", "dashed"], (360, 640))
    padded = np.zeros((360, 700, 3), np.uint8)
    padded[:, :640] = image
    np.testing.assert_array_equal(paint_of(padded[:, :640], lines), paint_of(image, lines))
    np.testing.assert_array_equal(paint_of(np.asfortranarray(image), lines), paint_of(image, lines))


def test_a_road_without_paint_is_not_solid() -> None:
    image, lines = road_with(["none", "none"], (360, 640))
    assert (solid_of(paint_of(image, lines)) < 0.8).all()


def test_lines_too_short_to_tell_are_not_told() -> None:
    image, lines = road_with(["solid", "solid"], (360, 640))
    short = lines[1][:12]
    told = paint_of(image, [lines[0], short, lines[1][:1], np.empty((0, 2), np.float32)])
    assert np.isfinite(told).tolist() == [True, False, False, False]
    assert not len(paint_of(image, []))
    assert np.isnan(paint_of(image, [np.empty((0, 2), np.float32)])).all()


@given(st.permutations(range(4)), st.booleans(), st.integers(0, 2**16))
def test_order_and_side_do_not_matter(order: list[int], flip: bool, seed: int) -> None:
    image, lines = road_with(["solid", "dashed", "none", "solid"], (180, 320), seed=seed)
    told = paint_of(image, lines)
    if flip:
        image = np.ascontiguousarray(image[:, ::-1])
        lines = [np.stack([319 - line[:, 0], line[:, 1]], 1).astype(np.float32) for line in lines]
    mirrored = paint_of(image, [lines[i] for i in order])
    np.testing.assert_allclose(mirrored, told[order], atol=0.05 if flip else 1e-6)
    chosen = order[:2]
    np.testing.assert_allclose(paint_of(image, lines, chosen), mirrored[:2], atol=1e-6)


@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 2**16))
def test_any_line_in_any_picture_gives_a_share(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (2 * height, width, 3), dtype=np.uint8)[::2]  # rows that are not next to each other
    rows = np.sort(rng.choice(height, rng.integers(1, height + 1), replace=False))
    line = np.stack([rng.uniform(-width, 2 * width, len(rows)), rows], axis=1).astype(np.float32)
    told = paint_of(image, [line])
    assert np.isnan(told).all() or ((told >= 0).all() and (told <= 1).all())


class TestMemory:
    def tracked(self, lines: list[NDArray[np.float32]], ids: list[int]) -> TrackedLanes:
        numbers = np.arange(1, len(ids) + 1, dtype=np.int32)
        return TrackedLanes(np.int32(ids), numbers, np.ones(len(ids), np.float32), tuple(lines))

    def test_lines_take_turns_and_all_are_told_within_half_a_second(self) -> None:
        image, lines = road_with(["solid", "dashed", "dashed", "solid"], (360, 640))
        memory, lanes = MarkingMemory(), self.tracked(lines, [7, 3, 9, 1])
        first = memory.update(image, lanes, 0)
        assert np.isfinite(first).tolist() == [True, True, False, False]
        for frame in range(1, 15):
            told = memory.update(image, lanes, frame * 33_000_000)
        assert (told[[0, 3]] > 0.8).all()
        assert (told[[1, 2]] < 0.2).all()

    def test_one_frame_of_glare_changes_nothing_that_many_frames_told(self) -> None:
        image, lines = road_with(["solid", "solid"], (360, 640))
        memory, lanes = MarkingMemory(), self.tracked(lines, [1, 2])
        for frame in range(30):
            memory.update(image, lanes, frame * 33_000_000)
        told = memory.update(np.full_like(image, 255), lanes, 30 * 33_000_000)
        assert (told > 0.8).all()

    @pytest.mark.parametrize("stamp", [-1, 10_000_000_000])
    def test_a_line_of_another_time_is_another_line(self, stamp: int) -> None:
        image, lines = road_with(["solid"], (360, 640))
        dashed, others = road_with(["dashed"], (360, 640))
        memory = MarkingMemory()
        for frame in range(30):
            memory.update(image, self.tracked(lines, [1]), frame * 33_000_000)
        assert memory.update(dashed, self.tracked(others, [1]), stamp)[0] < 0.2


def test_the_strip_is_read_where_the_line_is() -> None:
    """A line beside the paint, by more than two of its widths, sees none."""
    image, lines = road_with(["solid"], (720, 1280))
    beside = lines[0] + np.array([0, 0], np.float32)
    beside[:, 0] += 4 * 0.09 * (beside[:, 1] - 0.4 * 720)
    assert paint_of(image, [lines[0]])[0] > 0.6 > 0.3 > paint_of(cv2.GaussianBlur(image, (0, 0), 1), [beside])[0]
