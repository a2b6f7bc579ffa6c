"""The policy for a camera's frames: stamps, ages, the newest wins, and everything is counted."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.stream import (
    AGREEING,
    FAILED,
    INACTIVE,
    MAX_IN_ORDER,
    OLD,
    REASONS,
    STALE,
    STAMP,
    AgeLimit,
    FrameLoop,
    StampCheck,
)

SECOND = 1_000_000_000


def good(stamps: list[float]) -> list[float]:
    """Which of these stamps, in seconds, are good."""
    check = StampCheck()
    return [stamp for stamp in stamps if not check.fault(round(stamp * SECOND))]


def camera(start: float, frames: int, step: float = 0.033) -> list[float]:
    return [start + i * step for i in range(frames)]


@pytest.mark.parametrize("wrong", [0.0, -30.0, 970.0, 999.9, 1003.0, 1030.0, 1e8, 9e9])
@pytest.mark.parametrize("count", range(1, AGREEING))
def test_a_wrong_stamp_is_dropped_and_nothing_else(wrong: float, count: int) -> None:
    drive = camera(1000.0, 20)
    stamps = [*drive[:10], *[wrong] * count, *drive[10:]]
    assert good(stamps) == drive


@pytest.mark.parametrize("gap", [-1000.0, -5.0, -0.5, 3.0, 30.0, 3600.0, 1e9])
def test_several_that_agree_are_another_stream(gap: float) -> None:
    first = camera(1000.0, 10)
    second = camera(first[-1] + gap, 20)
    assert good([*first, *second]) == [*first, *second[AGREEING - 1 :]]


@pytest.mark.parametrize("step", [0.0, 0.001, 0.2, 2.0, 5.0, 100.0, 3600.0])
def test_every_rate_is_taken(step: float) -> None:
    drive = camera(1000.0, 30, step)
    assert len(good(drive)) >= 30 - AGREEING
    assert good(drive)[-20:] == drive[-20:]


def test_two_cameras_on_one_topic_and_swapped_frames_never_restart() -> None:
    one = camera(1000.0, 40, 0.1)
    late = [stamp - 0.02 for stamp in one]
    assert good([s for pair in zip(one, late, strict=True) for s in pair]) == one
    swapped = [s for i in range(0, 40, 2) for s in (one[i + 1], one[i])]
    assert good(swapped) == one[1::2]
    other_clock = [stamp - 999 for stamp in one]
    assert good([s for pair in zip(one, other_clock, strict=True) for s in pair]) == one


@pytest.mark.parametrize("apart", [0.0, 1.7e9, -40.0], ids=["one clock", "another clock", "ahead"])
@pytest.mark.parametrize("pause", [3.0, 30.0, 3600.0])
def test_a_camera_that_pauses_loses_no_frame_where_a_clock_has_gone_on_with_it(apart: float, pause: float) -> None:
    check = StampCheck()
    stamps = [*camera(1000.0, 10), *camera(1000.3 + pause, 10), *camera(1001.0 + 2 * pause, 10, step=pause)]
    for stamp in stamps:
        assert not check.fault(round(stamp * SECOND), apart + 0.01)
        # The clock has not gone on with these.
        assert check.fault(round((stamp + pause) * SECOND), apart + 0.02 - pause)
        assert check.fault(0, apart + 0.03 + stamp)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40))
def test_any_stamps_pass_and_a_good_stream_is_taken_in_the_end(stamps: list[int]) -> None:
    check = StampCheck()
    for stamp in stamps:
        check.fault(stamp)
    faults = [bool(check.fault(50 * SECOND + i * SECOND // 30)) for i in range(20)]
    assert not any(faults[AGREEING:])


@given(st.lists(st.one_of(st.integers(0, 8), st.integers(0, 400)), max_size=40))
def test_who_reads_ahead_loses_no_frame_of_a_stream_that_is_taken(seconds: list[int]) -> None:
    stamps = [s * 10**9 for s in seconds]
    frames = list(enumerate(stamps))
    refused: list[tuple[int, int]] = []
    loop: FrameLoop[None] = FrameLoop()
    read_ahead = list(loop.admit_recorded(frames, lambda frame: frame[1], refused.append))
    assert sorted(read_ahead + refused) == frames
    assert read_ahead == sorted(read_ahead)
    counts = loop.counts()
    assert (counts.received, counts.dropped[STAMP]) == (len(frames), len(refused))

    live: FrameLoop[None] = FrameLoop()
    taken = [i for i, stamp in frames if not live.admit(stamp)]
    more = {i for i, _ in read_ahead} - set(taken)
    assert {i for i, _ in read_ahead} >= set(taken)
    assert all({i, i + 1, i + 2} & set(taken) for i in more), "only the first of those that agree"


def test_a_pause_costs_a_recording_no_frame() -> None:
    stamps = [*range(0, 10**9, 10**8), *range(3600 * 10**9, 3601 * 10**9, 10**8)]
    loop: FrameLoop[None] = FrameLoop()
    assert list(loop.admit_recorded(stamps, lambda stamp: stamp)) == stamps


def test_the_age_of_a_frame_by_the_clock_and_without_it() -> None:
    limit = AgeLimit(1.0)
    limit.note(0.02)
    assert limit.exceeded(limit.age(0.0, 10.0))
    assert limit.exceeded(limit.age(0.0, 100.0)), "once the clocks agree, a stall is no other clock"
    assert not limit.exceeded(limit.age(0.5, 0.6))
    assert limit.exceeded(limit.age(1.5, 0.6))
    assert not limit.exceeded(limit.age(0.0, None))
    assert limit.apart == 0.0


@pytest.mark.parametrize("by_clock", [1.7e9, -1.7e9, 3600.0, -61.0])
def test_stamps_of_another_clock_count_from_their_arrival_and_are_told(by_clock: float) -> None:
    limit = AgeLimit(1.0)
    limit.note(by_clock)
    assert limit.apart == by_clock
    assert not limit.exceeded(limit.age(0.1, by_clock))
    assert limit.exceeded(limit.age(1.1, by_clock))
    limit.note(0.1)
    assert limit.apart == 0.0
    assert limit.exceeded(limit.age(0.1, 2.0))


def test_a_clock_that_is_set_does_not_silence_the_camera_for_ever() -> None:
    limit = AgeLimit(1.0)
    limit.note(0.01)
    ages = itertools.repeat(3600.0, 100)
    dropped = 0
    for age in ages:
        limit.note(age)
        dropped += limit.exceeded(limit.age(0.0, age))
    assert 0 < dropped < 60
    assert limit.apart == 3600.0


def test_no_limit() -> None:
    assert not AgeLimit(0.0).exceeded(1e9)


@given(st.lists(st.sampled_from(["put", "bad", "take", "fail"]), max_size=60))
def test_every_frame_is_counted_once(events: list[str]) -> None:
    loop: FrameLoop[int] = FrameLoop(1.0)
    taken: list[int] = []
    for number, event in enumerate(events):
        if event in ("put", "bad"):
            fault = loop.admit(number * SECOND // 30 if event == "put" else -(10**18))
            if not fault:
                loop.put(number)
        elif (item := loop.take()) is not None:
            assert not taken or item > taken[-1], "the newest wins"
            taken.append(item)
            if event == "fail":
                loop.drop(FAILED, "broken")
            else:
                loop.finish([])
    loop.close()
    counts = loop.counts()
    assert counts.received == counts.processed + sum(counts.dropped.values())
    assert set(counts.dropped) == set(REASONS)
    assert loop.get() is None


def test_a_late_frame_does_not_take_the_place_of_a_newer_one() -> None:
    loop: FrameLoop[str] = FrameLoop()
    for item, stamp in (("first", 10), ("second", 20), ("late", 15)):
        if not loop.admit(stamp):
            loop.put(item)
    assert loop.take() == "second"
    counts = loop.counts()
    assert (counts.dropped[STALE], counts.dropped[STAMP]) == (1, 1)
    assert "before the last one" in counts.last_fault


def test_what_builds_on_what_was_before_is_taken_in_order_and_before_frames_or_given_up_as_a_whole() -> None:
    loop: FrameLoop[int] = FrameLoop()
    loop.admit(0)
    loop.put(-1)
    assert not any(loop.put_in_order(number) for number in range(MAX_IN_ORDER))
    assert [loop.get() for _ in range(3)] == [0, 1, 2]
    assert not any(loop.put_in_order(number) for number in range(3))
    assert loop.put_in_order(4) == MAX_IN_ORDER + 1
    assert not loop.put_in_order(5)
    assert (loop.get(), loop.get()) == (5, -1)
    loop.put_in_order(6)
    loop.close()
    assert loop.get() is None
    assert not any(loop.counts().dropped.values())


def test_who_waits_is_woken_by_a_frame_and_by_the_end() -> None:
    loop: FrameLoop[int] = FrameLoop()
    got: list[int | None] = []
    worker = threading.Thread(target=lambda: got.extend(iter(loop.get, None)))
    worker.start()
    for number in range(200):
        loop.admit(number)
        loop.put(number)
    while loop.take() is not None:
        pass
    loop.close()
    worker.join(10)
    assert not worker.is_alive()
    assert got == sorted(set(got), key=got.index)
    assert np.all(np.diff([g for g in got if g is not None]) > 0)
    loop.admit(500)
    loop.put(500)
    loop.close()
    assert loop.counts().dropped[INACTIVE] == 1
    assert not loop.counts().dropped[OLD]
