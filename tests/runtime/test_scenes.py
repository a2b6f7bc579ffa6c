"""Where ids start anew: a cut, a pause, stamps that go back, another size; and where they must not."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

import rtseg
from rtseg.frame import Frame
from rtseg.lab.render import Drive, StreetDrive
from rtseg.media import open_frames, raw_image
from rtseg.runtime.scenes import CUT, PAUSE, RESIZED, REWIND, SceneCheck
from tests.threshold_network import two_lane_road, write_threshold_model

SECOND = 1_000_000_000
STEP = SECOND // 30


@cache
def _drive(seed: int) -> tuple[np.ndarray, ...]:
    return tuple(road.image for road in itertools.islice(Drive(seed, 0.6, 30.0, (144, 256)), 12))


def drive(seed: int) -> list[np.ndarray]:
    """A dozen frames of a rendered road."""
    return list(_drive(seed))


def reasons(frames: list[Frame]) -> dict[int, str]:
    """By the number of the frame."""
    check = SceneCheck()
    told = [check.check(frame) for frame in frames]
    return {number: reason for number, reason in enumerate(told) if reason}


def stream(pictures: list[np.ndarray], step: int = STEP) -> list[Frame]:
    return [Frame(picture, stamp=i * step) for i, picture in enumerate(pictures)]


def as_encoding(picture: np.ndarray, encoding: str) -> Frame:
    conversions = {"rgb8": cv2.COLOR_BGR2RGB, "mono8": cv2.COLOR_BGR2GRAY}
    if encoding == "yuv422":
        conversions["yuv422"] = getattr(cv2, "COLOR_BGR2YUV_UYVY", None) or pytest.skip("this OpenCV writes no UYVY")
    sent = np.ascontiguousarray(cv2.cvtColor(picture, conversions[encoding]))
    height, width = picture.shape[:2]
    return Frame(raw_image(encoding, height, width, sent[0].nbytes, sent.tobytes()))


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations([3, 5, 8], 2)))
def test_one_drive_after_another_is_a_cut(first: int, second: int) -> None:
    assert reasons(stream(drive(first) + drive(second))) == {12: CUT}


@pytest.mark.parametrize("encoding", ["rgb8", "mono8", "yuv422"])
def test_a_cut_is_seen_in_what_a_camera_sends(encoding: str) -> None:
    pictures = drive(3) + drive(5)
    frames = [Frame(as_encoding(p, encoding).pixels, i * STEP) for i, p in enumerate(pictures)]
    assert reasons(frames) == {12: CUT}


def test_a_street_after_a_road_is_a_cut() -> None:
    street = [frame.image for frame in itertools.islice(StreetDrive(4, 0.6, 30.0, (144, 256)), 12)]
    assert reasons(stream(drive(3) + street)) == {12: CUT}


def test_stamps_pauses_and_sizes() -> None:
    picture = drive(3)[0]
    stamps = [0, 1, 2, 62, 122.1, 122.2, 3, 3.1]
    frames = [Frame(picture, round(s * SECOND)) for s in stamps]
    assert reasons(frames) == {4: PAUSE, 6: REWIND}
    frames = [Frame(picture, 0), Frame(picture[:-2], STEP), Frame(picture[:-2], 2 * STEP), Frame(picture, 3 * STEP)]
    assert reasons(frames) == {1: RESIZED, 3: RESIZED}


def test_stills_and_pictures_that_say_nothing_are_no_cut() -> None:
    pictures = drive(3)
    frames = stream(pictures)
    mixed = [each for frame in frames for each in (frame, Frame(np.roll(pictures[0], 90, axis=1)))]
    assert reasons(mixed) == {}
    for blank in (0, 128, 255):
        pictures[5] = pictures[8] = np.full_like(pictures[5], blank)
        assert reasons(stream(pictures)) == {}
    assert reasons(stream([picture[:16, :16] for picture in pictures])) == {}


def _real(driving_data: Path) -> Iterator[tuple[str, list[Frame]]]:
    sources = [*sorted((driving_data / "videos").glob("*.mp4")), driving_data / "bags/challenge_10hz_compressed_mcap"]
    for source in sources:
        with open_frames(source) as frames:
            # Small ones are kept: their thumbnails are nearly the same.
            small = [
                Frame(cv2.resize(f.image, (320, 180), interpolation=cv2.INTER_AREA), f.stamp)
                for f in itertools.islice(frames, 700)
            ]
        yield source.name, small


@pytest.mark.slow
def test_real_drives_have_no_cut_whatever_is_dropped_and_their_joints_have(driving_data: Path) -> None:
    drives = dict(_real(driving_data))
    rng = np.random.default_rng(5)
    for name, frames in drives.items():
        for every, dropped in itertools.product((1, 2, 3, 5), (0.0, 0.2, 0.5)):
            kept = [frame for frame in frames[::every] if rng.random() >= dropped]
            assert reasons(kept) == {}, (name, every, dropped)
    found = []
    for one, other in itertools.permutations(drives, 2):
        if {one[:9], other[:9]} == {"challenge"} or {one[:7], other[:7]} <= {"challen", "project"}:
            continue  # partly the same drive
        start = int(rng.integers(len(drives[other]) - 40))
        joined = [f.pixels for f in (*drives[one][-60:], *drives[other][start : start + 40])]
        step = (drives[one][-1].stamp or 0) - (drives[one][-2].stamp or 0)
        told = reasons(stream(joined, step))
        assert set(told) <= {60}
        found.append(told == {60: CUT})
    assert np.mean(found) >= 0.95, found


def test_ids_start_anew_at_a_cut_and_the_result_says_so(tmp_path: Path) -> None:
    pipeline = rtseg.load(write_threshold_model(tmp_path / "thresholds"))

    def road(seed: int, shift: int) -> np.ndarray:
        """Lines that the model answers to, over a background of its own."""
        rng = np.random.default_rng(seed)
        ground = cv2.resize(rng.integers(20, 110, (9, 16), dtype=np.uint8), (256, 144), interpolation=cv2.INTER_CUBIC)
        picture = np.roll(two_lane_road(), shift, axis=1)
        return np.where(picture.any(axis=2, keepdims=True), picture, ground[..., None]).astype(np.uint8)

    first = [Frame(road(1, 40 + i), stamp=i * STEP) for i in range(8)]
    # As another video after the first: lines elsewhere, and the same old ids would be carried on or given to them.
    second = [Frame(road(2, i), stamp=(8 + i) * STEP) for i in range(6)]
    one_by_one = [pipeline(frame) for frame in (*first, *second)]
    pipeline.reset()
    for results in (one_by_one, list(pipeline.stream([*first, *second]))):
        assert [result.restart for result in results] == [""] * 8 + [CUT] + [""] * 5
        fresh = rtseg.load(tmp_path / "thresholds")
        for frame, result in zip(second, results[8:], strict=True):
            np.testing.assert_array_equal(result.mask, fresh(frame).mask)


def test_a_frame_that_fails_does_not_swallow_the_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = rtseg.load(write_threshold_model(tmp_path / "thresholds"))
    road = two_lane_road()
    pipeline(Frame(road, 5 * SECOND))
    monkeypatch.setattr(pipeline, "_result", lambda started: (_ for _ in ()).throw(ValueError("broken")))
    with pytest.raises(ValueError, match="broken"):
        pipeline(Frame(road, SECOND))
    monkeypatch.undo()
    assert pipeline(road).restart == ""
    assert pipeline(Frame(road, SECOND + STEP)).restart == REWIND
    assert pipeline(Frame(road, SECOND + 2 * STEP)).restart == ""


def test_looking_for_cuts_takes_next_to_no_time() -> None:
    frames = stream([cv2.resize(picture, (1280, 720)) for picture in drive(3)])
    check = SceneCheck()
    spent = []
    for frame in frames * 4:
        start = time.perf_counter()
        check.check(frame)
        spent.append(time.perf_counter() - start)
    assert np.median(spent) < 2e-3
