from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtseg.errors import ArgumentError
from rtseg.lab.render import Drive
from rtseg.lanes import DetectedLanes, LaneDecoder, LaneTracker, LaneTrackerSettings
from rtseg.lanes.motion import carried, moved, road_motion, steadied
from rtseg.lanes.sampling import compared, sample, slopes
from tests.lanes.lane_logits import SIZE, lane_logits, line

SECOND = 10**9
FRAME = SECOND // 30


def unsure(*confidence: float) -> DetectedLanes:
    found = seen(*(330 + 300 * i for i in range(len(confidence))))
    return DetectedLanes(SIZE, np.array(confidence, np.float32), found.polylines)


def seen(*bottoms: float, size: tuple[int, int] = SIZE, top: float = 300, end: float = 719) -> DetectedLanes:
    lines = tuple(line(bottom, top=top, end=end).astype(np.float32) for bottom in bottoms)
    return DetectedLanes(size, np.ones(len(lines), np.float32), lines)


def test_ids_stay_with_lines_that_move() -> None:
    tracker = LaneTracker()
    for i in range(60):
        shift = 4 * i
        assert tracker.update(seen(-300 + shift, 330 + shift, 900 + shift), i * FRAME).ids.tolist() == [1, 2, 3]


@given(st.permutations(range(4)))
def test_ids_do_not_depend_on_the_order_of_detection(order: list[int]) -> None:
    tracker = LaneTracker()
    bottoms = [-300, 330, 900, 1500]
    tracker.update(seen(*bottoms), 0)
    lanes = tracker.update(seen(*(bottoms[i] + 5 for i in order)), FRAME)
    assert lanes.ids.tolist() == [1, 2, 3, 4], "they come from left to right"
    assert [order[number - 1] for number in lanes.numbers] == [0, 1, 2, 3]


def test_a_lane_change_shifts_no_ids() -> None:
    tracker = LaneTracker()
    ids = []
    for i in range(
        90
    ):  # the lines sweep to the right by a lane's width in three seconds; a new one comes from the left
        shift = 7 * i
        bottoms = [330 + shift, 930 + shift] if i < 50 else [-270 + shift, 330 + shift, 930 + shift]
        ids.append(tracker.update(seen(*bottoms), i * FRAME).ids.tolist())
    assert ids[0] == [1, 2]
    assert ids[-1] == [3, 1, 2]


def test_a_line_survives_a_short_gap_and_not_a_long_one() -> None:
    tracker = LaneTracker(LaneTrackerSettings(carry=0.0))
    both, one = seen(330, 900), seen(900)
    tracker.update(both, 0)
    for i in range(1, 12):
        assert tracker.update(one, i * FRAME).ids.tolist() == [2]
    assert tracker.update(both, 12 * FRAME).ids.tolist() == [1, 2]
    for i in range(13, 40):
        tracker.update(one, i * FRAME)
    assert tracker.update(both, 40 * FRAME).ids.tolist() == [3, 2]


def test_a_new_line_gets_a_new_id() -> None:
    tracker = LaneTracker()
    assert tracker.update(seen(330, 900), 0).ids.tolist() == [1, 2]
    assert tracker.update(seen(330, 600, 900), FRAME).ids.tolist() == [1, 3, 2]


def test_lines_that_come_close_far_ahead_keep_their_ids() -> None:
    tracker = LaneTracker()
    for i in range(20):
        # One is seen whole, of the other only a changing far part, where the two lie within 30 pixels.
        whole, part = line(330).astype(np.float32), line(480, end=400 + 10 * (i % 3)).astype(np.float32)
        found = DetectedLanes(SIZE, np.ones(2, np.float32), (whole, part))
        assert tracker.update(found, i * FRAME).ids.tolist() == [1, 2]


def test_lines_that_cross_far_ahead_keep_their_ids() -> None:
    tracker = LaneTracker()
    for i in range(30):
        a, b = line(330, far=600 + 3 * i).astype(np.float32), line(900, far=680 - 3 * i).astype(np.float32)
        found = DetectedLanes(SIZE, np.ones(2, np.float32), (a, b))
        assert tracker.update(found, i * FRAME).ids.tolist() == [1, 2]


def test_a_line_seen_in_part_is_the_same_line() -> None:
    tracker = LaneTracker()
    tracker.update(seen(330, 900), 0)
    assert tracker.update(seen(330, 900, end=420), FRAME).ids.tolist() == [1, 2]
    assert tracker.update(seen(330, 900, top=500), 2 * FRAME).ids.tolist() == [1, 2]


def test_a_stray_fragment_takes_no_line_over() -> None:
    tracker = LaneTracker()
    for i in range(12):
        tracker.update(seen(330, 900), i * FRAME)
    stray = line(1000, top=690).astype(np.float32)
    found = seen(330, 900)
    both = DetectedLanes(SIZE, np.ones(3, np.float32), (*found.polylines, stray))
    assert tracker.update(both, 12 * FRAME).ids.tolist() == [1, 2, 3]
    assert tracker.update(seen(330, 960), 13 * FRAME).ids.tolist() == [1, 2]


def test_a_stamp_that_jumps_back_resets() -> None:
    tracker = LaneTracker()
    tracker.update(seen(330, 900), 5 * SECOND)
    tracker.update(seen(900), 5 * SECOND + FRAME)
    assert tracker.update(seen(900), SECOND).ids.tolist() == [1]


def test_after_a_long_gap_lines_are_new_but_ids_go_on() -> None:
    tracker = LaneTracker()
    tracker.update(seen(330, 900), 0)
    assert tracker.update(seen(330, 900), 10 * SECOND).ids.tolist() == [3, 4]


def test_slow_recordings_keep_ids() -> None:
    tracker = LaneTracker()
    tracker.update(seen(330, 900), 0)
    assert tracker.update(seen(340, 910), SECOND).ids.tolist() == [1, 2]


def test_frames_without_stamps_keep_and_forget_lines() -> None:
    tracker = LaneTracker(LaneTrackerSettings(carry=0.0))
    tracker.update(seen(330, 900), 0)
    for _ in range(5):
        assert tracker.update(seen(900), 0).ids.tolist() == [2]
    assert tracker.update(seen(330, 900), 0).ids.tolist() == [1, 2]
    for _ in range(40):
        tracker.update(seen(900), 0)
    assert tracker.update(seen(330, 900), 0).ids.tolist() == [3, 2]


def test_another_image_size_and_reset_start_over() -> None:
    tracker = LaneTracker()
    tracker.update(seen(330, 900), 0)
    assert tracker.update(seen(600, size=(1080, 1920)), FRAME).ids.tolist() == [1]
    tracker.reset()
    assert tracker.update(seen(330, 900), 2 * FRAME).ids.tolist() == [1, 2]


def test_ids_are_reused_late_and_never_twice_at_once() -> None:
    tracker = LaneTracker(LaneTrackerSettings(memory=0.0, carry=0.0))
    given_ids = []
    for i in range(400):  # a keeper, and a line that is elsewhere in every frame
        ids = tracker.update(seen(330, 900 if i % 2 else 1500), i * FRAME).ids
        assert ids[0] == 1
        given_ids.append(int(ids[1]))
    assert set(given_ids) == set(range(2, 256))
    assert len(set(given_ids[:254])) == 254


def test_no_lines_and_many_lines() -> None:
    tracker = LaneTracker()
    assert tracker.update(seen(), 0).ids.shape == (0,)
    for i in range(1, 4):
        ids = tracker.update(seen(*np.arange(200) * 400.0 + i * 200), i * FRAME).ids
        assert len(set(ids.tolist())) == 200
        assert ids.min() >= 1
        assert ids.max() <= 255


def test_decoded_lines_keep_their_ids_through_noise() -> None:
    decode, tracker = LaneDecoder(), LaneTracker()
    for i in range(20):
        logits = lane_logits([line(-300 + 3 * i), line(330 + 3 * i), line(900 + 3 * i)])
        logits += np.random.default_rng(i).normal(0, 0.4, logits.shape).astype(np.float32)
        assert tracker.update(decode(logits, SIZE), i * FRAME).ids.tolist() == [1, 2, 3]


def test_of_a_single_picture_the_sure_lines_are_shown() -> None:
    found = unsure(0.9, 0.1, 0.2)
    lanes = LaneTracker().update(found, 0)
    assert lanes.numbers.tolist() == [1, 3]
    np.testing.assert_array_equal(lanes.confidence, found.confidence[[0, 2]])
    assert [line is found.polylines[i] for line, i in zip(lanes.polylines, (0, 2), strict=True)] == [True, True]


def test_a_line_that_lights_up_for_one_frame_is_not_shown_and_one_that_lasts_is() -> None:
    tracker = LaneTracker()
    shown = [tracker.update(unsure(0.9, 0.5) if i in (3, 10, 17) else unsure(0.9), i * FRAME) for i in range(20)]
    assert all(lanes.ids.tolist() == [1] for lanes in shown)
    shown = [tracker.update(unsure(0.9, 0.5), i * FRAME) for i in range(20, 30)]
    assert len(shown[0].ids) == 1
    assert len(shown[-1].ids) == 2


def test_what_is_shown_needs_less_to_stay() -> None:
    tracker = LaneTracker()
    tracker.update(unsure(0.5), 0)
    lengths = [len(tracker.update(unsure(0.2), i * FRAME).ids) for i in range(1, 60)]
    assert all(lengths), "0.2 is more than half of what it takes to be shown"
    lengths = [len(tracker.update(unsure(0.1), i * FRAME).ids) for i in range(60, 120)]
    assert not lengths[-1], "and 0.1 is less"


def test_a_line_is_carried_for_some_tenths_of_a_second_and_not_seen_meanwhile() -> None:
    tracker = LaneTracker()
    for i in range(10):
        tracker.update(seen(330, 900), i * FRAME)
    carried = [tracker.update(seen(900), i * FRAME) for i in range(10, 25)]
    counts = [len(lanes.ids) for lanes in carried]
    assert counts == sorted(counts, reverse=True)
    assert counts[4] == 2
    assert counts[8] == 1, "0.3 s later it is gone"
    before = 1.0
    for lanes in carried[:5]:
        assert lanes.ids.tolist() == [1, 2]
        assert lanes.numbers.tolist() == [0, 1]
        assert lanes.confidence[0] < before
        before = lanes.confidence[0]
    assert tracker.update(seen(), 25 * FRAME).numbers.tolist() == [0]


def test_a_carried_line_follows_its_line() -> None:
    roads = list(Drive(5, 1.2, 25.0, (90, 160)))
    hidden, gone = roads[10].ids[1], range(12, 18)
    errors, still = [], []
    tracker = LaneTracker()
    for k, road in enumerate(roads):
        lines = {i: line for i, line in zip(road.ids, road.lanes, strict=True) if len(line) > 5}
        if k < gone[0]:
            last = lines[hidden]
        truth = lines[hidden]
        shown = [line for i, line in lines.items() if i != hidden or k not in gone]
        found = DetectedLanes(road.mask.shape, np.ones(len(shown), np.float32), tuple(shown))
        lanes = tracker.update(found, road.stamp)
        if k in gone:
            (carried,) = (line for line, number in zip(lanes.polylines, lanes.numbers, strict=True) if not number)
            rows = np.linspace(truth[0, 1] + 2, truth[-1, 1], 20)
            x, kept, true = (np.interp(rows, line[:, 1], line[:, 0]) for line in (carried, last, truth))
            errors.append(np.abs(x - true).mean())
            still.append(np.abs(kept - true).mean())
    assert len(errors) == len(gone)
    assert max(errors) < 0.01 * 160
    assert np.mean(errors) < 0.8 * np.mean(still), "it moves with the road"


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_turn_drift_and_pitch_are_found_and_applied(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.linspace(200, 719, 32)
    before = np.stack(
        [line(bottom, bend)[:, 0][:: 80 // 32][:32] for bottom, bend in ((-300, 40), (330, 0), (1500, -30))]
    )
    motion = np.array([rng.uniform(-20, 20), rng.uniform(-20, 20), rng.uniform(-3, 3)])
    after = moved(before, rows, motion)
    weight = np.broadcast_to((rows / rows[-1]) ** 2, before.shape)
    found = moved(before, rows, road_motion(before, after, weight, rows))
    assert np.abs(found - after).mean() < 0.1 * np.abs(after - before).mean() + 0.1
    # Least squares with a prior, as NumPy solves them.
    terms = np.stack(
        [np.ones_like(before), np.broadcast_to(rows / rows[-1], before.shape), _slope_of(before, rows)], -1
    )
    prior = 0.02 * weight.sum() / len(before) * np.diag([0.05, 0.05, 1.0])
    normal = np.einsum("nmi,nmj->ij", terms * weight[..., None], terms) + prior
    solved = np.linalg.solve(normal, np.einsum("nmi,nm->i", terms * weight[..., None], after - before))
    np.testing.assert_allclose(road_motion(before, after, weight, rows), solved, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(moved(before, rows, solved), before + terms @ solved, rtol=1e-12)
    still = road_motion(before, before, weight, rows)
    np.testing.assert_allclose(still, 0, atol=1e-9)
    assert not road_motion(before[:0], before[:0], weight[:0], rows).any()


def _slope_of(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.stack([np.gradient(line, rows) for line in x])


@given(st.integers(1, 40), st.integers(8, 400), st.integers(0, 2**32 - 1))
def test_a_carried_line_is_the_line_moved_and_cut_by_the_image(points: int, height: int, seed: int) -> None:
    rng, width = np.random.default_rng(seed), 200
    rows = np.linspace(0.3 * height, height - 1, 32)
    start = rng.integers(0, height - points) if points < height else 0
    y = start + np.arange(min(points, height))
    x = rng.uniform(-20, width + 20) + np.cumsum(rng.normal(0, 8, len(y)))
    polyline = np.stack([x, y], 1).astype(np.float32)
    motion = rng.normal(0, [20, 20, 3])
    expected = polyline.copy()
    if len(y) > 1:
        slope = np.gradient(sample(polyline, rows)[0], rows)
        pitched = motion[2] * np.interp(y, rows, slope)
        expected[:, 0] = polyline[:, 0].astype(np.float64) + motion[0] + motion[1] * y / rows[-1] + pitched
    seen = np.flatnonzero((expected[:, 0] >= 0) & (expected[:, 0] <= width - 1))
    expected = expected[seen[0] : seen[-1] + 1] if len(seen) else expected[:0]
    expected[:, 0] = np.clip(expected[:, 0], 0, width - 1)
    np.testing.assert_array_equal(carried(polyline, rows, motion, width), expected)


def _rows_of(x: np.ndarray, top: int) -> np.ndarray:
    return np.stack([x, top + np.arange(len(x))], axis=1).astype(np.float32)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 60), st.integers(0, 60), st.integers(0, 2**32 - 1))
def test_a_line_is_drawn_towards_where_it_was_expected(j: int, k: int, above: int, below: int, seed: int) -> None:
    rng, width = np.random.default_rng(seed), 500
    expected = _rows_of(rng.uniform(0, width - 1, j), above)
    seen = _rows_of(np.clip(250 + np.cumsum(rng.normal(0, 9, k)), 0, width - 1), below)
    share = rng.uniform(0, 1)
    steady = steadied(expected, seen, share, width)
    plain = seen.copy()
    if j > 1 and k and below <= above + j - 1 and below + k - 1 >= above:
        at = np.clip(seen[:, 1], above, above + j - 1)
        off = np.interp(at, expected[:, 1], expected[:, 0]) - seen[np.clip(at - below, 0, k - 1).astype(int), 0]
        plain[:, 0] = np.clip(seen[:, 0] + share * off, 0, width - 1)
    np.testing.assert_allclose(steady, plain, atol=1e-3)


@pytest.mark.parametrize("fps", [10, 30])
def test_lines_hold_still_against_noise_and_go_along_where_the_road_moves(fps: int) -> None:
    rng = np.random.default_rng(3)
    rows = np.arange(80, 160)

    def drive(drift: float, smoothing: float) -> np.ndarray:
        """Errors of four lines, frame by frame, that move sideways by so many pixels a second."""
        tracker, errors = LaneTracker(LaneTrackerSettings(smoothing=smoothing)), []
        for k in range(3 * fps):
            true = [start + drift * k / fps + 0.3 * rows for start in (20.0, 80.0, 140.0, 200.0)]
            seen = tuple(_rows_of(x + rng.normal(0, 2), 80) for x in true)
            lanes = DetectedLanes((160, 400), np.full(4, 0.9, np.float32), seen)
            shown = tracker.update(lanes, int(k * 1e9 / fps)).polylines
            errors.append([float(np.mean(line[:, 0] - x)) for line, x in zip(shown, true, strict=True)])
        return np.array(errors[fps:])

    as_seen, steady, moving = drive(0, 0), drive(0, 0.2), drive(15, 0.2)
    assert np.abs(np.diff(steady, axis=0)).mean() < 0.6 * np.abs(np.diff(as_seen, axis=0)).mean()
    assert steady.std() < as_seen.std()
    assert abs(moving.mean()) < 1, "no lag behind a road that moves evenly: 15 pixels a second in 0.2 s were 3"


@pytest.mark.parametrize("fps", [10, 30])
def test_lines_are_shown_where_the_surest_frames_had_them(fps: int) -> None:
    """As on a road of studs: seen well twice a second, and guessed ten pixels off between, beside painted lines."""
    rows, tracker, errors = np.arange(80, 160), LaneTracker(), []
    true = [start + 0.3 * rows for start in (20.0, 100.0, 180.0)]
    for k in range(4 * fps):
        sure = k % (fps // 2) == 0
        found = tuple(_rows_of(x, 80) for x in (true[0], true[1] + (0 if sure else 10), true[2]))
        confidence = np.array([0.97, 0.97 if sure else 0.7, 0.97], np.float32)
        shown = tracker.update(DetectedLanes((160, 400), confidence, found), int(k * 1e9 / fps)).polylines
        errors.append(float(np.mean(shown[1][:, 0] - true[1])))
    assert max(errors[fps:]) < 5, "a plain mean would be 8 pixels off, and most frames 10"


@pytest.mark.parametrize("fps", [10, 30])
def test_a_sure_line_does_not_hold_its_place_for_long_against_one_that_moved(fps: int) -> None:
    rows, tracker = np.arange(80, 160), LaneTracker()
    for k in range(5 * fps):
        moved_away = k >= 2 * fps
        x = 100 + 0.3 * rows + (12 if moved_away else 0)
        lanes = DetectedLanes((160, 400), np.array([0.5 if moved_away else 1.0], np.float32), (_rows_of(x, 80),))
        (shown,) = tracker.update(lanes, int(k * 1e9 / fps)).polylines
    assert abs(float(np.mean(shown[:, 0] - x))) < 2.5


def test_refuses_settings_that_make_no_sense() -> None:
    with pytest.raises(ArgumentError, match="memory"):
        LaneTrackerSettings(memory=-1)
    with pytest.raises(ArgumentError, match="distance"):
        LaneTrackerSettings(distance=float("nan"))


def _plain_sample(polyline: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = polyline.astype(np.float64).T
    sampled = np.interp(rows, y, x)
    reach = max(1, len(y) // 4)
    if len(y) > 1:
        above, below = rows < y[0], rows > y[-1]
        sampled[above] += (x[reach] - x[0]) / (y[reach] - y[0]) * (rows[above] - y[0])
        sampled[below] += (x[-1] - x[-1 - reach]) / (y[-1] - y[-1 - reach]) * (rows[below] - y[-1])
    near = (rows / rows[-1]) ** 2
    return sampled, np.where((rows >= y[0]) & (rows <= y[-1]), near, 0.15 * near)


def _plain_distance(a: np.ndarray, a_weight: np.ndarray, b: np.ndarray, b_weight: np.ndarray, rows: np.ndarray):
    slope = 0.5 * np.gradient(a + b, rows, axis=-1)
    weight = a_weight * b_weight
    return (weight * np.abs(a - b) / np.sqrt(1 + slope * slope)).sum(-1) / weight.sum(-1)


@given(st.integers(2, 40), st.booleans(), st.integers(0, 2**32 - 1))
def test_slopes_are_those_of_numpy_to_the_last_bit(count: int, even: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.arange(count) * 8.0 if even else np.cumsum(rng.uniform(0.01, 30, count))
    x, out = rng.normal(0, 300, count), np.empty(count)
    slopes(x, rows, out)
    np.testing.assert_array_equal(out, np.gradient(x, rows))


@given(st.integers(20, 2160), st.integers(1, 8), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_lines_are_sampled_and_compared_as_by_numpy_to_the_last_bit(height: int, n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.linspace(0.3 * height, height - 1, 32)
    polylines = []
    for _ in range(n + k):
        if rng.random() < 0.5:  # a point a row, or any
            y = np.arange(*np.sort(rng.choice(height + 1, 2, replace=False)))
        else:
            y = np.unique(rng.choice([*rng.uniform(0, height, 9), *rows], rng.integers(1, 20)))
        polylines.append(np.stack([rng.uniform(0, 1280, len(y)), y], 1).astype(np.float32))
    polylines = [each[np.r_[True, np.diff(each[:, 1]) > 0]] for each in polylines]
    found = [sample(each, rows) for each in polylines]
    for each, (x, weight) in zip(polylines, found, strict=True):
        plain_x, plain_weight = _plain_sample(each, rows)
        np.testing.assert_array_equal(x, plain_x)
        np.testing.assert_array_equal(weight, plain_weight)
    distance, unshared = compared(found[:n], found[n:], rows)
    (a, a_weight), (b, b_weight) = (map(np.array, zip(*part, strict=True)) for part in (found[:n], found[n:]))
    a, a_weight = a[:, None], a_weight[:, None]
    np.testing.assert_array_equal(distance, _plain_distance(a, a_weight, b, b_weight, rows))
    shared = np.minimum(a_weight, b_weight).sum(-1) / np.maximum(a_weight, b_weight).sum(-1)
    np.testing.assert_array_equal(unshared, 1 - shared)


def test_a_line_without_points_is_refused() -> None:
    with pytest.raises(ArgumentError, match="at least one point"):
        LaneTracker().update(DetectedLanes(SIZE, np.ones(1, np.float32), (np.empty((0, 2), np.float32),)), 0)
