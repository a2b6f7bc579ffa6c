"""Targets, augmentation and data sets: pictures and lines stay together, and everything is reproducible."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import DatasetError
from rtseg.lab.data.lane_targets import clip_to_image, draw_ids, nearest_lanes
from rtseg.lab.training.augment import AugmentConfig, augment_appearance, augment_geometry
from rtseg.lab.training.lanes.datasets import LabelledFrame, LaneDataset, MixtureSampler, load_real, render_cache
from rtseg.lab.training.lanes.targets import SampleShape

SHAPE = SampleShape(size=(96, 160), mean=(127.0,) * 3, std=(128.0,) * 3, lanes=3, label_stride=2)


def line(x0: float, y0: float, x1: float, y1: float, points: int = 12) -> np.ndarray:
    return np.stack([np.linspace(x0, x1, points), np.linspace(y0, y1, points)], 1).astype(np.float32)


@given(st.floats(10, 90), st.floats(10, 90), st.floats(1.5, 8.0))
def test_a_drawn_line_is_centerd_and_as_wide_as_asked(x0: float, x1: float, width: float) -> None:
    mask = draw_ids([line(x0, -5, x1, 70)], (64, 100), width, width)
    slope = (x1 - x0) / 75
    for row in (10, 32, 60):
        columns = np.flatnonzero(mask[row])
        middle = x0 + slope * (row + 5)
        across = width * np.hypot(1, slope)  # along the row
        # The fill takes every pixel that an edge crosses within the row: one to each side, and the slope's run.
        assert abs(columns.mean() - middle) <= 0.6 + 0.5 * abs(slope)
        assert -1.0 <= len(columns) - across <= 2.1 + abs(slope)


def test_lines_grow_wider_towards_the_camera_and_later_ones_lie_above() -> None:
    mask = draw_ids([line(50, 0, 50, 99), line(20, 50, 80, 50)], (100, 100), 10.0, 4.0)
    assert (mask[10] == 1).sum() < (mask[95] == 1).sum()
    assert mask[50, 50] == 2
    assert set(np.unique(mask)) == {0, 1, 2}


def test_scale_maps_pixel_centers() -> None:
    large = draw_ids([line(80, 0, 40, 127)], (64, 100), 3.0, 3.0, (0.5, 0.5))
    small = draw_ids([((line(80, 0, 40, 127) + 0.5) * 0.5 - 0.5).astype(np.float32)], (64, 100), 3.0, 3.0)
    assert np.array_equal(large, small)


def test_lines_far_outside_and_without_length_do_no_harm() -> None:
    assert not draw_ids([line(1e7, -1e7, 1e7, -1e6)], (20, 30), 3.0, 3.0).any()
    draw_ids([np.zeros((2, 2), np.float32)], (20, 30), 3.0, 3.0)
    assert not draw_ids([], (20, 30), 3.0, 3.0).any()


def test_the_nearest_lines_are_kept_and_drawn_last() -> None:
    lanes = [line(50, 20, bottom, 90) for bottom in (-200, 30, 75, 290)]
    kept, others = nearest_lanes(lanes, (100, 100), 2)
    assert [float(lane[-1, 0]) for lane in kept] == [75, 30] or [float(lane[-1, 0]) for lane in kept] == [30, 75]
    assert sorted(float(lane[-1, 0]) for lane in others) == [-200, 290]


def test_clipping_keeps_one_neighbor_on_each_side() -> None:
    clipped = clip_to_image(line(50, -50, 50, 150, 21), (100, 100))
    assert clipped is not None
    assert clipped[0, 1] == pytest.approx(-10)
    assert clipped[-1, 1] == pytest.approx(100)
    assert clip_to_image(line(500, 0, 500, 90), (100, 100)) is None


@given(st.integers(0, 2**31))
def test_geometry_moves_picture_and_lines_together(seed: int) -> None:
    image = np.zeros((180, 320, 3), np.uint8)
    lane = line(120, 80, 200, 160)
    cv2.polylines(image, [np.round(lane * 16).astype(np.int32)], False, (255, 255, 255), 3, cv2.LINE_AA, 4)
    config = AugmentConfig()  # type: ignore[call-arg]
    warped, (moved,), _ = augment_geometry(image, [lane], config, np.random.default_rng(seed))
    inside = (moved > 8).all(1) & (moved < np.array([311, 171])).all(1)
    x, y = np.round(moved[inside]).astype(int).T
    gray = cv2.dilate(warped[:, :, 0], np.ones((3, 3), np.uint8))
    assert (gray[y, x] > 80).all()
    assert warped.shape == image.shape
    assert moved.dtype == np.float32


def test_no_strength_changes_nothing() -> None:
    still = AugmentConfig(
        flip=0, zoom=(1, 1), shift=(0, 0), rotation=0, perspective=0, brightness=0, gamma=0, contrast=0,
        saturation=0, tint=0, blur=0, noise=0, shadows=0, boxes=0, bonnet=0,
    )  # fmt: skip
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    lane = line(10, 10, 50, 50)
    rng = np.random.default_rng(0)
    warped, (moved,), _ = augment_geometry(image, [lane], still, rng)
    assert np.abs(warped.astype(int) - image).max() <= 1
    np.testing.assert_allclose(moved, lane, atol=1e-3)
    assert np.array_equal(augment_appearance(image, still, rng), image)


@given(st.integers(0, 2**31))
def test_appearance_keeps_shape_and_input(seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    before = image.copy()
    changed = augment_appearance(image, AugmentConfig(), np.random.default_rng(seed))  # type: ignore[call-arg]
    assert changed.shape == image.shape
    assert changed.dtype == np.uint8
    assert np.array_equal(image, before)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = []
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), rng.integers(0, 256, (180, 320, 3), dtype=np.uint8))
        lanes = [[100 + 40 * k + i for _ in range(11)] for k in range(4)]
        lines.append(json.dumps({"raw_file": f"{i}.png", "h_samples": list(range(70, 180, 10)), "lanes": lanes}))
    (tmp_path / "labels.json").write_text("\n".join(lines))
    return tmp_path


def test_samples_are_reproducible_and_differ_by_draw(frames: Path) -> None:
    config = AugmentConfig()  # type: ignore[call-arg]
    first, again = (LaneDataset(load_real([frames]), SHAPE, config, seed=3) for _ in range(2))
    image, ids = first[(1, 5)]
    assert image.shape == (3, 96, 160)
    assert image.dtype == torch.float32
    assert ids.shape == (48, 80)
    assert torch.equal(image, again[(1, 5)][0])
    assert torch.equal(ids, again[(1, 5)][1])
    assert not torch.equal(image, first[(1, 6)][0])


def test_plain_samples_equal_the_runtimes_input(frames: Path) -> None:
    from rtseg.ops import preprocess

    image, ids = LaneDataset(load_real([frames]), SHAPE)[0]
    expected = preprocess(cv2.imread(str(frames / "0.png")), (96, 160), SHAPE.mean, SHAPE.std, "rgb")[0]
    # The runtime normalizes before rounding to whole gray levels, training after.
    np.testing.assert_allclose(image.numpy(), expected, atol=0.6 / 128)
    # Four lines, three ids: the outermost is ignored, not called background.
    assert set(ids.unique().tolist()) == {0, 1, 2, 3, 255}


def test_mixture_draws_its_shares_and_every_frame() -> None:
    sampler = MixtureSampler([10, 1000], [0.3, 0.7], 2000, seed=1)
    drawn = list(sampler)
    first = [index for index, _ in drawn if index < 10]
    assert abs(len(first) / 2000 - 0.3) < 0.04
    assert np.bincount(first).min() >= len(first) // 10 - 1
    assert len({draw for _, draw in drawn}) == 2000
    assert list(sampler) == drawn
    sampler.set_epoch(1)
    assert not {draw for _, draw in sampler} & {draw for _, draw in drawn}
    with pytest.raises(DatasetError, match="weights"):
        MixtureSampler([3], [0.0], 5)


@pytest.mark.slow
def test_rendered_frames_are_cached_once(tmp_path: Path) -> None:
    frames = render_cache(tmp_path, range(5, 7), (90, 160), workers=1)
    written = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert set(written) == {"0000005.jpg", "0000005.json", "0000006.jpg", "0000006.json"}
    assert all(len(frame.lanes) >= 2 and frame.path.is_file() for frame in frames)
    again = render_cache(tmp_path, range(5, 7), (90, 160), workers=1)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == written
    assert [frame.path for frame in again] == [frame.path for frame in frames]
    few = render_cache(tmp_path, range(5, 500), (90, 160), workers=1, until=time.monotonic())
    assert [frame.path.stem for frame in few] == ["0000005", "0000006", "0000007"], "the first that is made is the last"


def test_a_missing_picture_is_named(frames: Path) -> None:
    (frames / "1.png").unlink()
    with pytest.raises(DatasetError, match=r"1\.png"):
        load_real([frames])


def test_culane_frames_are_trained_on_by_their_list(tmp_path: Path) -> None:
    (tmp_path / "list" / "test_split").mkdir(parents=True)
    for name in ("train", "test"):
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), np.full((59, 164, 3), 90, np.uint8))
        (tmp_path / f"{name}.lines.txt").write_text("20 58 40 40 60 20\n140 58 120 20\n")
    (tmp_path / "list" / "train_gt.txt").write_text("/train.jpg /mask.png 0 1 1 0\n")
    (tmp_path / "list" / "test_split" / "test0_normal.txt").write_text("/test.jpg\n")
    (frame,) = load_real([tmp_path / "list" / "train_gt.txt"])
    assert frame.path.name == "train.jpg"
    _, ids = LaneDataset([frame], SHAPE)[0]
    assert set(np.unique(ids)) == {0, 1, 2}
    with pytest.raises(DatasetError, match="training list"):
        load_real([tmp_path])


@pytest.mark.parametrize("kind", ["pipe", "half", "colors"])
def test_masks_of_paint_are_read_as_all_labels(kind: str, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "road.png"), np.full((59, 164, 3), 90, np.uint8))
    mask = tmp_path / "mask.png"
    if kind == "pipe":
        os.mkfifo(mask)  # which OpenCV would wait for
    else:
        pixels = np.zeros((59, 164, 3) if kind == "colors" else (59, 164), np.uint8)
        encoded = cv2.imencode(".png", pixels)[1].tobytes()
        mask.write_bytes(encoded if kind == "colors" else encoded[: len(encoded) // 2])
    line = np.array([[20.0, 58.0], [40.0, 40.0]], np.float32)
    with pytest.raises(DatasetError, match=r"mask\.png"):
        LaneDataset([LabelledFrame(tmp_path / "road.png", (line,), mask=mask)], SHAPE)[0]
