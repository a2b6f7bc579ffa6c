"""A camera's faults: told within a second each, and not told of pictures that are sound, nor at night, nor standing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import rtseg
from rtseg.camera.blocks import BRIGHT, DARK, GRID, measure
from rtseg.camera.health import CameraHealth
from rtseg.camera.luma import sparse_luma
from rtseg.camera.state import COVERED, FAULTS, FROZEN
from rtseg.frame import Frame
from rtseg.lab.render import Drive
from rtseg.lab.studies.camera_health import DAMAGES, score_frames
from rtseg.lab.studies.lane_drives import CONDITIONS
from rtseg.media import raw_image
from tests.threshold_network import two_lane_road, write_threshold_model

STEP = 100_000_000


def moving(seed: int = 0, height: int = 288, width: int = 512) -> Iterable[np.ndarray]:
    """Sharp texture that flows past, without end."""
    rng = np.random.default_rng(seed)
    strip = cv2.resize(rng.integers(40, 220, (height // 6, width, 3), np.uint8), (width * 6, height), interpolation=0)
    at = 0
    while True:
        yield np.ascontiguousarray(np.roll(strip, -at, axis=1)[:, :width])
        at += 7


def frames(pictures: Iterable[np.ndarray], count: int) -> list[Frame]:
    return [Frame(picture, number * STEP) for number, picture in zip(range(count), pictures, strict=False)]


def test_every_damage_is_told_within_a_second_and_nothing_of_the_sound_frames() -> None:
    score = score_frames("texture", frames(moving(), 90))
    assert not score.false
    assert set(score.told) == set(DAMAGES)
    assert max(score.told.values()) <= 1.0


def test_a_patch_is_told_within_a_second_though_little_of_the_picture_moves() -> None:
    def plain(picture: np.ndarray) -> np.ndarray:
        picture[: len(picture) // 2], picture[len(picture) * 5 // 6 :] = 200, 90  # sky, and smooth asphalt
        return picture

    pictures = frames(map(plain, moving()), 90)
    score = score_frames("asphalt", pictures)
    assert not score.false
    assert score.told["patch"] <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("condition", CONDITIONS)
def test_on_a_rendered_drive(condition: str) -> None:
    style = replace(Drive(950_000, 8.0, 10.0, (360, 640)).style, **CONDITIONS[condition])  # type: ignore[arg-type]
    drive = Drive(950_000, 8.0, 10.0, (360, 640), style=style)
    score = score_frames(condition, (Frame(road.image, road.stamp) for road in drive))
    assert not score.false
    missing = set(DAMAGES) - set(score.told)  # of a smeared spot too few edges are told at night
    assert missing <= ({"spot"} if condition == "night" else set())
    assert max(score.told.values()) <= 1.0


def test_a_fault_ends_with_its_cause_and_a_still_says_nothing_of_the_stream() -> None:
    health = CameraHealth()
    for number in range(10):
        state = health.update(Frame(np.zeros((180, 320, 3), np.uint8), number * STEP))
    assert state.faults == ("dark",)
    assert state.trust == 0
    assert health.update(Frame(np.zeros((180, 320, 3), np.uint8))).faults == ()
    for frame in frames(moving(), 10):
        state = health.update(replace(frame, stamp=frame.stamp + 2_000_000_000))
    assert state.faults == ()
    assert state.trust == 1


def test_a_vehicle_that_stops_is_not_frozen_until_it_has_stood_without_any_noise_for_long() -> None:
    rng = np.random.default_rng(1)
    picture = next(iter(moving()))
    noisy, still = CameraHealth(), CameraHealth()
    for number in range(100):
        noise = rng.integers(-3, 4, picture.shape)
        assert not noisy.update(Frame(np.uint8(picture + noise), number * STEP)).faults
        state = still.update(Frame(picture, number * STEP))
        assert number > 45 or not state.faults
    assert state.faults == (FROZEN,)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.0])
def test_a_vehicle_that_brakes_among_others_that_move_is_not_covered(seconds: float) -> None:
    health, strip = CameraHealth(), next(iter(moving()))
    others = moving(seed=1)
    at, speed = 0.0, 14.0
    for number in range(160):
        if number > 80:
            speed = max(0.0, speed - 14.0 / (seconds * 10))
        at += speed
        # What is near flows past faster than what is far, and across the upper half others drive all the time.
        rows = [np.roll(row, -round(at * (y + 10) / len(strip)), axis=0) for y, row in enumerate(strip)]
        picture = np.stack(rows)
        picture[40:130, 100:420] = next(others)[40:130, 100:420]
        assert not health.update(Frame(picture, number * STEP)).faults, number


def test_a_patch_is_told_as_long_as_it_is_there_though_the_vehicle_stands_in_between() -> None:
    health = CameraHealth()
    clean = frames(moving(), 260)
    for frame in clean[:60]:
        health.update(frame)
    told = []
    for frame in clean[60:]:
        assert frame.stamp is not None
        stands = 130 <= frame.stamp // STEP < 150
        picture = (clean[130] if stands else frame).image.copy()
        picture[144:272, 160:416] = (20, 40, 50)
        noise = np.random.default_rng(frame.stamp).integers(0, 5, (len(picture) // 8, *picture.shape[1:]), np.uint8)
        picture[: len(noise)] = np.maximum(noise, picture[: len(noise)])
        told.append(COVERED in health.update(Frame(picture, frame.stamp)).faults)
    assert all(told[10:]), np.flatnonzero(~np.array(told))


def test_the_result_says_what_is_wrong_and_is_less_sure(tmp_path: Path) -> None:
    pipeline = rtseg.load(write_threshold_model(tmp_path / "model"), device="cpu")
    road, rng, results = two_lane_road(), np.random.default_rng(0), []
    for number in range(30):
        if number < 15:
            last = np.uint8(np.clip(road + rng.integers(-3, 4, road.shape), 0, 255))
        results.append(pipeline(Frame(last, number * STEP)))
    assert not results[14].degraded
    assert results[14].confidence.min() > 0
    assert results[-1].degraded == (FROZEN,)
    assert results[-1].confidence.max() == 0
    assert next(iter(pipeline.stream([Frame(last, 0)]))).degraded == ()


@pytest.mark.parametrize("encoding", ["bgr8", "rgb8", "bgra8", "mono8", "yuv422", "yuv422_yuy2", "nv12", "mono16"])
def test_what_a_camera_sent_is_sampled_where_it_lies_as_its_picture_is(encoding: str) -> None:
    rng = np.random.default_rng(0)
    gray = np.repeat(rng.integers(20, 230, (90, 80), np.uint8), 2, axis=1)
    wide = {"bgr8": 3, "rgb8": 3, "bgra8": 4}.get(encoding, 1)
    data = np.repeat(gray[..., None], wide, axis=2)
    if encoding.startswith("yuv422"):
        other = np.full_like(gray, 128)
        data = np.stack([other, gray] if encoding == "yuv422" else [gray, other], axis=2)
    elif encoding == "nv12":
        data = np.concatenate([gray, np.full((45, 160), 128, np.uint8)])
    elif encoding == "mono16":
        data = gray.astype("<u2") * 257
    raw = raw_image(encoding, 90, 160, data.nbytes // (135 if encoding == "nv12" else 90), data.tobytes())
    found = sparse_luma(Frame(raw)).astype(int)
    assert found.shape == (90, 160)
    assert np.abs(found - gray).max() <= 1


@settings(max_examples=25, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(18, 40), st.integers(16, 50))), st.integers(0, 9))
def test_blocks_are_measured_as_by_a_plain_reference(picture: np.ndarray, seed: int) -> None:
    before = np.random.default_rng(seed).integers(0, 256, picture.shape, dtype=np.uint8)
    blocks = measure(picture, before)
    height, width = picture.shape
    wide, old = picture.astype(int), before.astype(int)
    for r in range(GRID[0]):
        for c in range(GRID[1]):
            rows = slice(r * height // GRID[0], (r + 1) * height // GRID[0])
            left, right = c * width // GRID[1], (c + 1) * width // GRID[1]
            part = wide[rows, left:right]
            assert blocks.mean[r, c] == pytest.approx(part.mean())
            assert blocks.dark[r, c] == pytest.approx((part < DARK).mean())
            assert blocks.bright[r, c] == pytest.approx((part >= BRIGHT).mean())
            assert blocks.spread[r, c] == np.ptp(part)
            assert blocks.changed[r, c] == pytest.approx((np.abs(part - old[rows, left:right]) > 1).mean())
            steps = [
                (abs(line[x + 4] - line[x]), np.abs(np.diff(line[x : x + 5])).max())
                for line in wide[rows][::2]
                for x in range(left, min(right, width - 4))
            ]
            edges = [min(1.0, step / whole) for whole, step in steps if whole >= 24]
            assert blocks.edges[r, c] == pytest.approx(len(edges) / max(len(steps), 1))
            assert blocks.steepness[r, c] == pytest.approx(np.mean(edges) if edges else 0.0, rel=1e-5)


def test_any_frames_of_any_size_give_a_state() -> None:
    rng = np.random.default_rng(0)
    health = CameraHealth()
    for number, size in enumerate([(2, 2), (17, 16), (18, 16), (2, 4000), (4000, 2), (300, 300)] * 3):
        state = health.update(Frame(rng.integers(0, 256, (*size, 3), dtype=np.uint8), number * STEP))
        assert set(state.faults) <= set(FAULTS)
        assert 0 <= state.trust <= 1
