from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import GroupingError
from rtseg.lanes import DetectedLanes, LaneDecoder, LaneTracker, LaneTrackerSettings
from tests.lanes.lane_logits import SIZE, lane_logits, line

SECOND = 10**9
FRAME = SECOND // 30


def seen(*bottoms: float, size: tuple[int, int] = SIZE, top: float = 300, end: float = 719) -> DetectedLanes:
    lines = tuple(line(bottom, top=top, end=end).astype(np.float32) for bottom in bottoms)
    return DetectedLanes(np.zeros(size, np.uint8), np.ones(len(lines), np.float32), lines)


def test_ids_stay_with_lines_that_move() -> None:
    tracker = LaneTracker()
    for i in range(60):
        shift = 4 * i
        assert tracker.update(seen(-300 + shift, 330 + shift, 900 + shift), i * FRAME).tolist() == [1, 2, 3]


@given(st.permutations(range(4)))
def test_ids_do_not_depend_on_the_order_of_detection(order: list[int]) -> None:
    tracker = LaneTracker()
    bottoms = [-300, 330, 900, 1500]
    tracker.update(seen(*bottoms), 0)
    assert tracker.update(seen(*(bottoms[i] + 5 for i in order)), FRAME).tolist() == [i + 1 for i in order]


def test_a_lane_change_shifts_no_ids() -> None:
    tracker = LaneTracker()
    ids = []
    for i in range(
        90
    ):  # the lines sweep to the right by a lane's width in three seconds; a new one comes from the left
        shift = 7 * i
        bottoms = [330 + shift, 930 + shift] if i < 50 else [-270 + shift, 330 + shift, 930 + shift]
        ids.append(tracker.update(seen(*bottoms), i * FRAME).tolist())
    assert ids[0] == [1, 2]
    assert ids[-1] == [3, 1, 2]


def test_a_line_survives_a_short_gap_and_not_a_long_one() -> None:
    tracker = LaneTracker()
    both, one = seen(330, 900), seen(900)
    tracker.update(both, 0)
    for i in range(1, 12):
        assert tracker.update(one, i * FRAME).tolist() == [2]
    assert tracker.update(both, 12 * FRAME).tolist() == [1, 2]
    for i in range(13, 40):
        tracker.update(one, i * FRAME)
    assert tracker.update(both, 40 * FRAME).tolist() == [3, 2]


def test_a_new_line_gets_a_new_id() -> None:
    tracker = LaneTracker()
    assert tracker.update(seen(330, 900), 0).tolist() == [1, 2]
    assert tracker.update(seen(330, 600, 900), FRAME).tolist() == [1, 3, 2]


def test_lines_that_come_close_far_ahead_keep_their_ids() -> None:
    tracker = LaneTracker()
    for i in range(20):
        # One is seen whole, of the other only a changing far part, where the two lie within 30 pixels.
        whole, part = line(330).astype(np.float32), line(480, end=400 + 10 * (i % 3)).astype(np.float32)
        found = DetectedLanes(np.zeros(SIZE, np.uint8), np.ones(2, np.float32), (whole, part))
        assert tracker.update(found, i * FRAME).tolist() == [1, 2]


def test_lines_that_cross_far_ahead_keep_their_ids() -> None:
    tracker = LaneTracker()
    for i in range(30):
        a, b = line(330, far=600 + 3 * i).astype(np.float32), line(900, far=680 - 3 * i).astype(np.float32)
        found = DetectedLanes(np.zeros(SIZE, np.uint8), np.ones(2, np.float32), (a, b))
        assert tracker.update(found, i * FRAME).tolist() == [1, 2]


def test_a_line_seen_in_part_is_the_same_line() -> None:
    tracker = LaneTracker()
    tracker.update(seen(330, 900), 0)
    assert tracker.update(seen(330, 900, end=420), FRAME).tolist() == [1, 2]
    assert tracker.update(seen(330, 900, top=500), 2 * FRAME).tolist() == [1, 2]


def test_a_stray_fragment_takes_no_line_over() -> None:
    tracker = LaneTracker()
    for i in range(12):
        tracker.update(seen(330, 900), i * FRAME)
    stray = line(1000, top=690).astype(np.float32)
    found = seen(330, 900)
    both = DetectedLanes(found.mask, np.ones(3, np.float32), (*found.polylines, stray))
    assert tracker.update(both, 12 * FRAME).tolist() == [1, 2, 3]
    assert tracker.update(seen(330, 960), 13 * FRAME).tolist() == [1, 2]


def test_a_stamp_that_jumps_back_resets() -> None:
    tracker = LaneTracker()
    tracker.update(seen(330, 900), 5 * SECOND)
    tracker.update(seen(900), 5 * SECOND + FRAME)
    assert tracker.update(seen(900), SECOND).tolist() == [1]


def test_after_a_long_gap_lines_are_new_but_ids_go_on() -> None:
    tracker = LaneTracker()
    tracker.update(seen(330, 900), 0)
    assert tracker.update(seen(330, 900), 10 * SECOND).tolist() == [3, 4]


def test_slow_recordings_keep_ids() -> None:
    tracker = LaneTracker()
    tracker.update(seen(330, 900), 0)
    assert tracker.update(seen(340, 910), SECOND).tolist() == [1, 2]


def test_frames_without_stamps_keep_and_forget_lines() -> None:
    tracker = LaneTracker()
    tracker.update(seen(330, 900), 0)
    for _ in range(5):
        assert tracker.update(seen(900), 0).tolist() == [2]
    assert tracker.update(seen(330, 900), 0).tolist() == [1, 2]
    for _ in range(40):
        tracker.update(seen(900), 0)
    assert tracker.update(seen(330, 900), 0).tolist() == [3, 2]


def test_another_image_size_and_reset_start_over() -> None:
    tracker = LaneTracker()
    tracker.update(seen(330, 900), 0)
    assert tracker.update(seen(600, size=(1080, 1920)), FRAME).tolist() == [1]
    tracker.reset()
    assert tracker.update(seen(900, 330), 2 * FRAME).tolist() == [1, 2]


def test_ids_are_reused_late_and_never_twice_at_once() -> None:
    tracker = LaneTracker(LaneTrackerSettings(memory=0.0))
    given_ids = []
    for i in range(400):  # a keeper, and a line that is elsewhere in every frame
        ids = tracker.update(seen(330, 900 if i % 2 else 1500), i * FRAME)
        assert ids[0] == 1
        given_ids.append(int(ids[1]))
    assert set(given_ids) == set(range(2, 256))
    assert len(set(given_ids[:254])) == 254


def test_no_lines_and_many_lines() -> None:
    tracker = LaneTracker()
    assert tracker.update(seen(), 0).shape == (0,)
    for i in range(1, 4):
        ids = tracker.update(seen(*np.arange(200) * 400.0 + i * 200), i * FRAME)
        assert len(set(ids.tolist())) == 200
        assert ids.min() >= 1
        assert ids.max() <= 255


def test_decoded_lines_keep_their_ids_through_noise() -> None:
    decode, tracker = LaneDecoder(), LaneTracker()
    for i in range(20):
        logits = lane_logits([line(-300 + 3 * i), line(330 + 3 * i), line(900 + 3 * i)])
        logits += np.random.default_rng(i).normal(0, 0.4, logits.shape).astype(np.float32)
        assert tracker.update(decode(logits, SIZE), i * FRAME).tolist() == [1, 2, 3]


def test_refuses_settings_that_make_no_sense() -> None:
    with pytest.raises(GroupingError, match="memory"):
        LaneTrackerSettings(memory=-1)
    with pytest.raises(GroupingError, match="distance"):
        LaneTrackerSettings(distance=float("nan"))
