"""Drives: the same world from frame to frame."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from rtseg.errors import ConfigError
from rtseg.lab.render import Drive, RenderedRoad

SIZE = (180, 320)


@pytest.fixture(scope="module")
def frames() -> list[RenderedRoad]:
    return list(Drive(4, 2.0, 10.0, SIZE))


def test_stamps_and_count_follow_the_rate(frames: list[RenderedRoad]) -> None:
    assert len(frames) == len(Drive(4, 2.0, 10.0, SIZE)) == 20
    assert [frame.stamp for frame in frames] == [k * 100_000_000 for k in range(20)]


def test_one_camera_of_the_frames_size(frames: list[RenderedRoad]) -> None:
    assert all(frame.camera is frames[0].camera for frame in frames)
    assert (frames[0].camera.height, frames[0].camera.width) == SIZE
    assert all(frame.image.shape == (*SIZE, 3) and frame.mask.shape == SIZE for frame in frames)


def test_driving_again_gives_the_same_frames(frames: list[RenderedRoad]) -> None:
    drive = Drive(4, 2.0, 10.0, SIZE)
    for _ in range(2):
        for old, new, _k in zip(frames, drive, range(4), strict=False):
            assert np.array_equal(old.image, new.image)
            assert np.array_equal(old.mask, new.mask)


def test_ids_stay_with_their_lines(frames: list[RenderedRoad]) -> None:
    """From one frame to the next a line of the same id moves by less than half the way to its neighbor."""
    row = 0.75 * SIZE[0]

    def at_row(frame: RenderedRoad) -> dict[int, float]:
        return {
            number: float(np.interp(row, line[:, 1], line[:, 0]))
            for number, line in zip(frame.ids, frame.lanes, strict=True)
            if line[0, 1] <= row <= line[-1, 1]
        }

    compared = 0
    for before, after in pairwise(frames):
        old, new = at_row(before), at_row(after)
        spacing = min(np.diff(sorted(old.values())), default=SIZE[1])
        for number in old.keys() & new.keys():
            assert abs(old[number] - new[number]) < 0.25 * spacing
            compared += 1
    assert compared > 30


@pytest.mark.slow
def test_truth_stays_well_formed_through_a_lane_change() -> None:
    for seed in range(6):
        drive = Drive(seed, 14.0, 1.0, (96, 160))
        for frame in drive:
            assert frame.ids == tuple(sorted(set(frame.ids)))
            assert set(np.unique(frame.mask)) <= {0, *frame.ids}
            assert len(frame.lanes) >= 2
            for line in frame.lanes:
                assert (np.diff(line[:, 1]) > 0).all()


def test_no_vehicle_drives_into_ours() -> None:
    for seed in range(8):
        drive = Drive(seed, 20.0, 5.0, SIZE)
        for k in range(len(drive)):
            ego = drive._ego(k / drive.fps)
            for mover in drive._movers:
                vehicle = drive._moved(mover, k / drive.fps)
                beside = abs(vehicle.u - ego.offset) < 1.9
                assert not (beside and -vehicle.length - 2 < vehicle.s < 4), (seed, k)


def test_the_vehicle_moves_along_its_road() -> None:
    drive = Drive(4, 20.0, 10.0, SIZE)
    path = [drive._ego(k / 10) for k in range(len(drive))]
    assert (np.diff([ego.traveled for ego in path]) > 0.5).all()
    # The heading is the direction of the path: it explains the sideways steps.
    steps = np.diff([ego.offset for ego in path])
    turned = np.tan([ego.heading for ego in path])[:-1] * np.diff([ego.traveled for ego in path])
    assert np.abs(steps - turned).max() < 0.02


@pytest.mark.parametrize(
    "bad", [(0, 0.0, 10.0, SIZE), (0, 1.0, 0.0, SIZE), (0, 1.0, 10.0, (8, 8)), (-1, 1.0, 10.0, SIZE)]
)
def test_a_drive_of_nothing_is_refused(bad: tuple[int, float, float, tuple[int, int]]) -> None:
    with pytest.raises(ConfigError, match="expected a seed of 0 or more, positive"):
        Drive(*bad)
