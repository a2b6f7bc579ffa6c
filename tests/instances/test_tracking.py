from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtseg.errors import ArgumentError
from rtseg.instances import InstanceTracker, InstanceTrackerSettings, tracking
from rtseg.instances.track_table import BOX, VELOCITY
from rtseg.instances.tracking import MAX_ID
from rtseg.lab.scores.instances.identity import IdentityLog
from rtseg.ops import region_statistics
from tests.instances.plain_tracking import PlainTracker

FRAME = 33_333_333
SIZE = (120, 240)


class Scene:
    """Feeds painted boxes to a tracker, as an instance pipeline would: only visible parts, labels in raster order."""

    def __init__(self, settings: InstanceTrackerSettings | None = None, classes: int = 3) -> None:
        self.tracker = InstanceTracker(classes, settings)
        self.log = IdentityLog()
        self.stamp = 0
        self.score = 0.8

    def show(
        self, boxes: dict[int, tuple[float, float, float, float]], kinds: dict[int, int] | None = None, frames: int = 1
    ) -> dict[int, int]:
        """Show boxes (x, y, width, height) by true name, later ones in front; gives the id of each visible one."""
        self.stamp += frames * FRAME
        truth = np.zeros(SIZE, np.int32)
        for name, (x, y, width, height) in boxes.items():
            x0, y0, x1, y1 = (max(0, round(side)) for side in (x, y, x + width, y + height))
            truth[y0:y1, x0:x1] = name
        values, first = np.unique(truth, return_index=True)
        names = [int(value) for _, value in sorted(zip(first, values, strict=True)) if value]
        table = np.zeros(max(boxes, default=0) + 1, np.int32)
        table[names] = np.arange(1, len(names) + 1)
        labels = table[truth]
        found = region_statistics(labels, len(names))
        classes = np.array([(kinds or {}).get(name, 0) for name in names], np.int32)
        scores = np.full(len(names), self.score, np.float32)
        ids, self.voted = self.tracker.update(labels, found.boxes, classes, scores, self.stamp)
        assert len(set(ids.tolist())) == len(ids)
        self.log.update(truth, labels, ids)
        return dict(zip(names, ids.tolist(), strict=True))


def test_objects_keep_their_ids_at_any_speed_and_rate() -> None:
    for frames in (1, 3, 6):
        scene = Scene()
        for step in range(0, 30, frames):
            ids = scene.show({1: (5 + 4 * step, 20, 30, 20), 2: (200 - 4 * step, 70, 24, 24)}, frames=frames)
        assert ids == {1: 1, 2: 2}
        assert scene.log.switches == 0
        assert scene.log.matched == scene.log.objects


def test_crossing_objects_keep_their_ids() -> None:
    # Two objects pass each other: the one behind is hidden in part, wholly for some frames, and comes out again.
    for width in (20, 30, 44):
        scene = Scene()
        first = scene.show({2: (10, 40, width, 30), 1: (180, 36, 50, 40)})
        for step in range(1, 40):
            last = scene.show({2: (10 + 4 * step, 40, width, 30), 1: (180 - 2.5 * step, 36, 50, 40)})
        assert last == first, width
        assert scene.log.switches == 0


def test_an_object_behind_a_standing_one_is_found_again() -> None:
    scene = Scene()
    hidden = 0
    for step in range(45):
        ids = scene.show({1: (20 + 4 * step, 50, 24, 20), 2: (100, 40, 40, 44)})
        hidden += 1 not in ids
        if step == 0:
            first = ids
    assert 3 <= hidden <= 12
    assert ids == first
    assert scene.log.switches == 0


def test_an_object_gone_for_too_long_gets_another_id() -> None:
    scene = Scene(InstanceTrackerSettings(memory=0.3))
    assert scene.show({1: (20, 50, 24, 20)}) == {1: 1}
    for _ in range(15):
        assert scene.show({}) == {}
    assert scene.show({1: (20, 50, 24, 20)}) == {1: 2}


def test_frames_that_find_nothing_or_are_dropped_change_no_id() -> None:
    scene = Scene()
    boxes = {1: (20.0, 50.0, 24.0, 20.0), 2: (60.0, 20.0, 40.0, 30.0)}
    ids = scene.show(boxes)
    scene.show({})
    scene.show({})
    assert scene.show(boxes) == ids
    assert scene.show(boxes, frames=10) == ids
    assert scene.show({1: boxes[1]}) == {1: ids[1]}


def test_objects_that_enter_and_leave() -> None:
    scene = Scene()
    seen: dict[int, set[int]] = {}
    for step in range(80):
        boxes = {}
        for name in range(1, 6):  # one after the other, from beyond the left edge to beyond the right
            x = -40 + 5 * (step - 9 * (name - 1))
            if x < SIZE[1]:
                boxes[name] = (x, 10 + 20 * (name % 3), 36, 18)
        for name, identity in scene.show({n: b for n, b in boxes.items() if b[0] + b[2] > 0}).items():
            seen.setdefault(name, set()).add(identity)
    assert sorted(seen) == [1, 2, 3, 4, 5]
    assert all(len(ids) == 1 for ids in seen.values())
    assert len(set().union(*seen.values())) == 5


def test_a_flickering_class_is_outvoted_and_costs_no_id() -> None:
    scene = Scene()
    rng = np.random.default_rng(0)
    for step in range(40):
        kind = 1 if step == 0 or rng.random() > 0.25 else 2
        ids = scene.show({1: (20 + 3 * step, 50, 24, 20)}, {1: kind})
        assert ids == {1: 1}
        assert scene.voted.tolist() == [1] if step > 4 else True
    for step in range(20):  # a class that stays wins in the end
        scene.show({1: (140 - 3 * step, 50, 24, 20)}, {1: 2})
    assert scene.voted.tolist() == [2]


def test_stamps_and_sizes_that_jump_reset_and_long_gaps_forget() -> None:
    scene = Scene()
    box = {1: (20.0, 50.0, 24.0, 20.0)}
    assert scene.show(box) == {1: 1}
    assert scene.show(box, frames=100) == {1: 2}
    scene.stamp = 0
    assert scene.show(box) == {1: 1}
    labels = np.zeros((10, 10), np.int32)
    labels[2:8, 2:8] = 1
    found = region_statistics(labels, 1)
    one = np.ones(1, np.float32)
    ids, _ = scene.tracker.update(labels, found.boxes, np.zeros(1, np.int32), one, scene.stamp + FRAME)
    assert ids.tolist() == [1]


def test_ids_wrap_without_a_clash() -> None:
    scene = Scene()
    still = {1: (200.0, 90.0, 20.0, 20.0)}
    assert scene.show(still) == {1: 1}
    scene.tracker._last_id = MAX_ID - 2
    for name, expected in ((2, MAX_ID - 1), (3, MAX_ID), (4, 2), (5, 3)):
        ids = scene.show({**still, name: (10.0 + 40 * (name % 4), 10.0 * name, 9.0, 9.0)})
        assert ids[1] == 1
        assert ids[name] == expected


@pytest.mark.parametrize("count", [0, 1, 2000])
def test_many_objects(count: int) -> None:
    side = math.ceil(math.sqrt(max(count, 1)))
    tracker = InstanceTracker(2)
    before = None
    for step in range(3):
        labels = np.zeros((8 * side + 8, 8 * side + 8), np.int32)
        for number in range(count):
            y, x = 8 * (number // side) + step, 8 * (number % side) + step
            labels[y : y + 5, x : x + 5] = number + 1
        found = region_statistics(labels, count)
        ones = np.ones(count, np.float32)
        ids, _ = tracker.update(labels, found.boxes, np.zeros(count, np.int32), ones, step * FRAME)
        assert before is None or np.array_equal(before, ids)
        before = ids


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_noise_never_breaks_it(seed: int) -> None:
    """Random labels, counts and stamps: unique ids, classes in range, and label order changes nothing."""
    rng = np.random.default_rng(seed)
    tracker, shuffled = InstanceTracker(3), InstanceTracker(3)
    stamp = 0
    for _ in range(6):
        stamp += int(rng.integers(0, 10)) * FRAME
        size = (int(rng.integers(1, 40)), 400) if seed % 5 == 0 else (30, 40)
        count = int(rng.integers(0, 6))
        labels = (rng.integers(0, count + 1, size) * (rng.random(size) < 0.7)).astype(np.int32)
        labels.reshape(-1)[:count] = np.arange(1, count + 1)  # every label has a pixel
        found = region_statistics(labels, count)
        kinds, scores = rng.integers(0, 3, count).astype(np.int32), rng.random(count).astype(np.float32)
        ids, classes = tracker.update(labels, found.boxes, kinds, scores, stamp)
        assert len(set(ids.tolist())) == count
        assert ((classes >= 0) & (classes < 3)).all()
        order = rng.permutation(count)
        table = np.zeros(count + 1, np.int32)
        table[order + 1] = np.arange(1, count + 1)
        again, _ = shuffled.update(table[labels], found.boxes[order], kinds[order], scores[order], stamp)
        assert len(set(again.tolist())) == count


def boxes_of_noise(rng: np.random.Generator, size: tuple[int, int], before: list[np.ndarray]) -> list[np.ndarray]:
    """Boxes (x, y, width, height): of one pixel or large, moved on from the last frame's, some gone, in any order."""
    moved = [box + np.append(rng.integers(-4, 5, 2), rng.integers(-1, 2, 2)) for box in before if rng.random() < 0.8]
    sides = [1, 3, 9, size[0], 2 * size[1]]
    fresh = [
        np.append(rng.integers(-3, size[::-1]), rng.choice(sides, 2)) for _ in range(int(rng.choice([0, 1, 2, 40])))
    ]
    boxes = [*moved, *fresh]
    return [boxes[i] for i in rng.permutation(len(boxes))[: 1 + int(rng.integers(0, 60))]]


@settings(max_examples=60)
@given(st.integers(0, 10**6))
def test_it_does_what_plain_arrays_do(seed: int) -> None:
    """Noise with pauses, stamps that jump back, images of other sizes, more objects than tracks, ids that run over."""
    rng = np.random.default_rng(seed)
    most, memory, size = int(rng.choice([6, 2048])), float(rng.choice([0.0, 0.1, 0.7])), (33, 47)
    limits = InstanceTrackerSettings(memory=memory, gate=float(rng.choice([0.0, 0.75, 10.0])), reset_after=1.0)
    plain, tracker = PlainTracker(3, limits, most), InstanceTracker(3, limits)
    plain._last_id = tracker._last_id = int(rng.choice([0, MAX_ID - 5]))
    stamp, boxes = 0, list[np.ndarray]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "_MAX_TRACKS", most)
        for _ in range(12):
            stamp += int(rng.choice([0, 1, 1, 1, 5, 40, -2], p=[0.1, 0.2, 0.2, 0.2, 0.2, 0.05, 0.05])) * FRAME
            size = (int(rng.integers(1, 40)), int(rng.choice([1, 47, 700]))) if rng.random() < 0.05 else size
            boxes = boxes_of_noise(rng, size, boxes)
            truth = np.zeros(size, np.int32)
            for name, (x, y, width, height) in enumerate(boxes):
                truth[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)] = name + 1
            names, labels = np.unique(np.append(0, truth), return_inverse=True)
            labels, count = labels[1:].reshape(size).astype(np.int32), len(names) - 1
            found = region_statistics(labels, count)
            arguments = labels, found.boxes, rng.integers(0, 3, count).astype(np.int32), rng.random(count), stamp
            for one, other in zip(tracker.update(*arguments), plain.update(*arguments), strict=True):
                np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(tracker._tracks[:, BOX : BOX + 4], plain._boxes)
            np.testing.assert_array_equal(tracker._tracks[:, VELOCITY : VELOCITY + 4], plain._velocities)


def test_scores_that_are_no_numbers_break_nothing() -> None:
    scene = Scene()
    scene.score = float("nan")
    for step in range(4):
        assert scene.show({1: (20 + step, 50, 24, 20), 2: (90, 50, 30, 20)}) == {1: 1, 2: 2}
        assert set(scene.voted.tolist()) <= {0, 1, 2}


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ArgumentError, match="memory"):
        InstanceTrackerSettings(memory=-1)
    with pytest.raises(ArgumentError, match="gate"):
        InstanceTrackerSettings(gate=float("nan"))
