"""A wrong mounting is told by the road, with the numbers to set; not a right one, nor by too little road."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtseg.camera import Camera, Mount
from rtseg.lanes import GroundPlane, MountingWatch
from rtseg.lanes.mounting import RIGHT, UNKNOWN, WRONG, MountingSettings
from rtseg.results import Lanes

SIZE = (360, 640)
K = np.array([[600.0, 0, 319.5], [0, 600.0, 170.0], [0, 0, 1]])
TRUE = Mount(1.45, math.radians(2.0), 0.0, math.radians(-1.0), (0.3, 0.1))


def plane(mount: Mount) -> GroundPlane:
    return GroundPlane(Camera(640, 360, K, mount=mount))


def drive(watch: MountingWatch, configured: Mount, seconds: float = 60.0, **changes: object) -> None:
    """A vehicle that sways in its lane on a road that bends to and fro, seen by a camera that is mounted as `TRUE`."""
    rng, camera, true = np.random.default_rng(5), plane(configured).camera, plane(TRUE)
    x = np.geomspace(3, 60, 400)
    for k in range(round(4 * seconds)):
        t = k / 4
        heading, bend = 0.01 * math.sin(t / 1.3), 8e-4 * math.sin(t / 7)
        lines = []
        for start in (1.75, -1.75):
            ahead = start + 0.2 * math.sin(t / 2) - heading * x + bend * x * x / 2
            pixels = true.unproject(np.stack([x, ahead], axis=1))[::-1]
            pixels = pixels + rng.normal(0, 0.3, 2) * [1, 0]
            inside = (pixels[:, 0] >= 0) & (pixels[:, 0] <= 639) & (pixels[:, 1] <= 359)
            lines.append(pixels[inside].astype(np.float32))
        lanes = Lanes(
            np.zeros(SIZE, np.uint8),
            np.array([1, 2], np.int32),
            np.full(2, 0.9, np.float32),
            tuple(lines),
            k * 250_000_000,
        )
        watch.update(replace(lanes, **{"moving": True, **changes}), camera)  # type: ignore[arg-type]


def test_the_right_mounting_is_called_right() -> None:
    watch = MountingWatch()
    assert watch.mounting is None
    drive(watch, TRUE)
    told = watch.mounting
    assert told is not None
    assert told.verdict == RIGHT
    assert told.correction == TRUE
    assert "fits the road" in told.describe()


@settings(deadline=None, max_examples=5)
@given(st.floats(-4, 4), st.floats(-4, 4), st.floats(0.75, 1.3))
def test_what_is_seen_is_how_the_camera_is_mounted(pitch: float, yaw: float, height: float) -> None:
    configured = Mount(
        TRUE.height * height, TRUE.pitch + math.radians(pitch), 0.0, TRUE.yaw + math.radians(yaw), TRUE.position
    )
    watch = MountingWatch()
    drive(watch, configured, 25.0)
    told = watch.mounting
    assert told is not None
    assert math.degrees(told.pitch.seen - TRUE.pitch) == pytest.approx(0, abs=0.3)
    assert math.degrees(told.yaw.seen - TRUE.yaw) == pytest.approx(0, abs=0.4)
    assert told.height.seen == pytest.approx(TRUE.height, rel=0.04)
    assert told.pitch.verdict == (WRONG if abs(pitch) > 1.6 else told.pitch.verdict)
    assert told.pitch.verdict != WRONG or abs(pitch) > 0.9


def test_a_wrong_pitch_comes_with_the_number_to_set() -> None:
    watch = MountingWatch()
    drive(watch, replace(TRUE, pitch=TRUE.pitch - math.radians(2.0)))
    told = watch.mounting
    assert told is not None
    assert (told.verdict, told.yaw.verdict, told.height.verdict) == (WRONG, RIGHT, RIGHT)
    assert "set pitch_deg: 2.0" in told.describe()
    assert math.degrees(told.correction.pitch) == pytest.approx(2.0, abs=0.1)
    assert told.correction.height == TRUE.height


@pytest.mark.parametrize(
    "changes",
    [
        {"moving": False},
        {"moving": None},
        {"degraded": ("frozen",)},
        {"stamp": None},
        {"confidence": np.array([0.9, 0.4], np.float32)},
    ],
)
def test_what_tells_nothing_leaves_it_unknown(changes: dict[str, object]) -> None:
    watch = MountingWatch()
    drive(watch, replace(TRUE, pitch=0.2), **changes)
    told = watch.mounting
    assert told is not None
    assert told.verdict == UNKNOWN
    assert told.describe().startswith("not enough road seen yet: 0 of")


def test_another_camera_starts_anew() -> None:
    watch = MountingWatch()
    drive(watch, TRUE, 30.0)
    drive(watch, replace(TRUE, pitch=0.1), 2.0)
    told = watch.mounting
    assert told is not None
    assert (told.stretches, told.configured.pitch) == (1, 0.1)


def test_one_narrow_lane_is_no_wrong_height() -> None:
    """Of a height that is off, or a lane that is narrow for a minute, nothing is said before three have gone by."""
    configured = replace(TRUE, height=1.6 * TRUE.height)
    watch = MountingWatch()
    drive(watch, configured, 60.0)
    assert watch.mounting is not None
    assert (watch.mounting.height.verdict, watch.mounting.verdict) == (UNKNOWN, UNKNOWN)
    drive(watch, configured, 130.0)
    assert watch.mounting.height.verdict == WRONG
    assert watch.mounting.correction.height == pytest.approx(TRUE.height, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("width", [2.35, 5.25])
def test_a_lane_of_unusual_width_that_is_followed_for_minutes_is_no_wrong_height(width: float) -> None:
    # What a camera sees of lanes 3.5 m wide from 1.45 m is what it sees of those so wide from a height so changed.
    watch = MountingWatch()
    drive(watch, replace(TRUE, height=width / 3.5 * TRUE.height), 200.0)
    assert watch.mounting is not None
    assert watch.mounting.height.verdict == UNKNOWN


@pytest.mark.slow
def test_where_lanes_are_narrow_the_height_is_right_once_that_is_said() -> None:
    # What a camera sees of lanes 3.5 m wide from 1.45 m is what it sees of those 2.6 m wide from 1.08 m.
    configured = replace(TRUE, height=2.6 / 3.5 * TRUE.height)
    usual, told = MountingWatch(), MountingWatch(MountingSettings(lane_width=2.6))
    for watch, verdict in ((usual, UNKNOWN), (told, RIGHT)):
        drive(watch, configured, 190.0)
        assert watch.mounting is not None
        assert watch.mounting.height.verdict == verdict
