"""Rendered streets: exact truth, things where they ought to be and hidden by what is before them, ids through time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtseg.camera import Camera, Mount
from rtseg.errors import ConfigError
from rtseg.lab.data.cityscapes import THINGS
from rtseg.lab.data.instance_folders import instance_frames
from rtseg.lab.render.canvas import Canvas
from rtseg.lab.render.road import grid, trace
from rtseg.lab.render.street.actors import Actor, Prop, Ride, Walker, paint_actor, painting_order
from rtseg.lab.render.street.folder import write_streets
from rtseg.lab.render.street.models import Light, bus, car, tram, truck
from rtseg.lab.render.street.people import random_appearance, random_cycle
from rtseg.lab.render.street.sheet import street_sheet
from rtseg.lab.render.street.street import CLASSES, RenderedStreet, StreetDrive, render_street, sample_street
from rtseg.lab.render.view import View

SIZE = (96, 192)
FLAT = trace(np.zeros_like(grid()), np.zeros_like(grid()), 0.0, 0.0)
LIGHT = Light(1.0, np.array([0.0, 0.0, 1.0]), False)


def _check(street: RenderedStreet, size: tuple[int, int]) -> None:
    n = len(street.class_ids)
    assert street.image.shape == (*size, 3)
    assert street.image.dtype == street.semantic.dtype == np.uint8
    assert street.instances.dtype == street.class_ids.dtype == street.ids.dtype == np.int32
    assert len(street.ids) == len(street.distances) == n == len(set(street.ids.tolist()))
    areas = np.bincount(street.instances[street.instances > 0], minlength=n + 1)[1:]
    assert len(areas) == n
    assert (areas >= 16 * (size[1] / 640) ** 2).all()
    assert ((street.instances != 0) == (street.semantic != 0)).all()
    for number, class_id in enumerate(street.class_ids.tolist(), 1):
        assert set(street.semantic[street.instances == number].tolist()) == {1 + class_id}
    assert (street.distances > 0).all()
    truth = street.truth()
    assert len(truth) == n
    assert truth.instances is street.instances


@pytest.mark.parametrize("seed", [0, 60, 65])
def test_a_street_and_its_truth(seed: int) -> None:
    street = render_street(seed, SIZE, detail=1.0)
    _check(street, SIZE)
    assert street.ids.tolist() == list(range(1, len(street.ids) + 1))
    again = render_street(seed, SIZE, detail=1.0)
    assert np.array_equal(street.image, again.image)
    assert np.array_equal(street.instances, again.instances)
    assert street.image.std() > 5


def test_painting_larger_and_averaging_moves_nothing() -> None:
    rough, fine = (render_street(62, SIZE, detail) for detail in (1.0, 2.0))
    _check(fine, SIZE)
    assert (rough.semantic != fine.semantic).mean() < 0.05
    assert CLASSES == THINGS


@pytest.mark.parametrize(
    "call",
    [
        lambda: render_street(-1),
        lambda: render_street(0, (16, 640)),
        lambda: render_street(0, detail=0.0),
        lambda: StreetDrive(0, 0.0, 10.0),
        lambda: StreetDrive(0, 1.0, -1.0),
        lambda: StreetDrive(0, 1.0, 5.0, (20, 20)),
    ],
)
def test_what_makes_no_street(call: object) -> None:
    with pytest.raises(ConfigError, match="expected"):
        call()  # type: ignore[operator]


def _canvas() -> Canvas:
    matrix = np.array([[400.0, 0, 199.5], [0, 400.0, 99.5], [0, 0, 1]])
    view = View(Camera(400, 200, matrix, np.zeros(5), Mount(1.5, 0.0, 0.0, 0.0), name="test"))
    canvas = Canvas(view, np.full((200, 400, 3), 0.4, np.float32), np.full((200, 400), 1e3, np.float32))
    canvas.labels = np.zeros((200, 400), np.int32)
    return canvas


def _paint(*actors: Actor) -> np.ndarray:
    canvas = _canvas()
    for i in painting_order(list(actors), 0.0):
        paint_actor(canvas, FLAT, actors[i], LIGHT, 0.5, 0.0, 10 * (i + 1))
    assert canvas.labels is not None
    return canvas.labels


@pytest.mark.parametrize("make", [car, truck, bus, tram])
@pytest.mark.parametrize("heading", [0.0, np.pi, 0.5 * np.pi])
def test_vehicles_are_as_large_as_perspective_makes_them(make: object, heading: float) -> None:
    hull = make(np.random.default_rng(3))  # type: ignore[operator]
    actor = Actor((0,), hull, 30.0, 1.0, heading)
    labels = _paint(actor)
    rows, columns = np.nonzero(labels == 10)
    along, across = actor.extent()
    # The corners of the box around it, projected by hand: x forward, y left, z up, camera 1.5 m above the origin.
    x = np.array([30 - along, 30 + along]).repeat(4)
    y = np.tile(np.array([1 - across, 1 + across]).repeat(2), 2)
    z = np.tile([0.0, hull.height], 4)
    u, v = 199.5 - 400 * y / x, 99.5 - 400 * (z - 1.5) / x
    for seen, expected in ((columns, u), (rows, v)):
        assert seen.min() >= expected.min() - 2
        assert seen.max() <= expected.max() + 2
        assert np.ptp(seen) >= 0.85 * np.ptp(expected) - 2
    assert 0.35 < len(rows) / ((np.ptp(u) + 1) * (np.ptp(v) + 1)) < 1.05


@given(seed=st.integers(0, 10_000), heading=st.floats(0, 6.28))
@settings(max_examples=20)
def test_people_stand_on_the_ground_at_their_height(seed: int, heading: float) -> None:
    rng = np.random.default_rng(seed)
    appearance = random_appearance(rng)
    labels = _paint(Actor((0,), Walker(appearance, 0.7), 8.0, 0.5, heading, 1.3, float(rng.uniform(0, 6))))
    rows, columns = np.nonzero(labels)
    assert set(np.unique(labels)) == {0, 10}
    assert abs(columns.mean() - (199.5 - 400 * 0.5 / 8)) < 12
    assert abs(np.ptp(rows) - 400 * appearance.height / 8) < 18
    assert abs(rows.max() - (99.5 + 400 * 1.5 / 8)) < 12


@pytest.mark.parametrize("motor", [False, True])
def test_rider_and_machine_are_two_instances(motor: bool) -> None:
    rng = np.random.default_rng(0)
    ride = Actor((0,), Ride(random_cycle(rng, motor), random_appearance(rng)), 8.0, 0.0, 0.5 * np.pi)
    assert ride.classes == ("motorcycle" if motor else "bicycle", "rider")
    labels = _paint(ride)
    machine, rider = (np.nonzero(labels == label)[0] for label in (10, 11))
    assert min(len(machine), len(rider)) > 300
    assert machine.max() > rider.max()
    assert machine.min() > rider.min() + 20
    parked = _paint(replace(ride, thing=Ride(random_cycle(rng, motor), None)))
    assert set(np.unique(parked)) == {0, 10}


def test_what_is_before_hides_what_is_behind() -> None:
    rng = np.random.default_rng(1)
    person = Walker(random_appearance(rng), 0.0)
    long = tram(rng)
    # Beside the tram towards the vehicle's path, beyond it, behind its far end, and before it.
    tram_actor = Actor((0,), long, 8.0 + 0.5 * long.length, 4.0)
    before, beyond = Actor((1,), person, 18.0, 1.8), Actor((2,), person, 18.0, 6.2)
    behind, first = Actor((3,), person, 12.0 + long.length, 4.0), Actor((4,), person, 6.5, 3.0)
    for actor, hidden in ((before, False), (first, False), (beyond, True), (behind, True)):
        both = _paint(tram_actor, actor)
        seen, whole = (both == 20).sum(), (_paint(actor) == 10).sum()
        assert (seen == whole) if not hidden else (seen < 0.2 * whole)
        # Not the order in which they are given decides.
        assert np.array_equal(both == 20, _paint(actor, tram_actor) == 10)


def test_props_hide_and_have_no_label() -> None:
    vehicle = Actor((0,), car(np.random.default_rng(0)), 15.0, 0.0)
    bin_ = Actor((1,), Prop("bin", 5), 9.0, 0.0)
    assert bin_.classes == ()
    alone, hidden = _paint(vehicle), _paint(vehicle, bin_)
    assert set(np.unique(hidden)) == {0, 10}
    assert (hidden == 10).sum() < 0.95 * (alone == 10).sum()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20)
def test_the_painting_order_is_a_permutation_from_far_to_near(seed: int) -> None:
    rng = np.random.default_rng(seed)
    thing = Walker(random_appearance(rng), 0.0)
    actors = [Actor((k,), thing, float(rng.uniform(0, 90)), float(rng.uniform(-8, 8))) for k in range(9)]
    order = painting_order(actors, 0.0)
    assert sorted(order) == list(range(9))
    place = {actor: i for i, actor in enumerate(order)}
    for i, one in enumerate(actors):
        for j, other in enumerate(actors):
            if one.s + 0.7 < other.s:
                assert place[i] > place[j]
    assert painting_order([], 0.0) == []


def test_a_drive_keeps_ids_with_their_things() -> None:
    drive = StreetDrive(3, seconds=0.25, fps=20.0, size=SIZE)
    frames = list(drive)
    assert len(frames) == len(drive) == 5
    assert [frame.stamp for frame in frames] == [k * 50_000_000 for k in range(5)]
    class_of: dict[int, int] = {}
    for frame in frames:
        _check(frame, SIZE)
        assert frame.camera is drive.camera
        for number, class_id in zip(frame.ids.tolist(), frame.class_ids.tolist(), strict=True):
            assert class_of.setdefault(number, class_id) == class_id
    followed = 0
    for old, new in pairwise(frames):
        rows = {number: i for i, number in enumerate(new.ids.tolist(), 1)}
        for i, number in enumerate(old.ids.tolist(), 1):
            before = old.instances == i
            if before.sum() < 150 or number not in rows:
                continue
            after = new.instances == rows[number]
            # Of what is about to leave the picture the smaller of both is left.
            assert (before & after).sum() > 0.4 * min(before.sum(), after.sum())
            followed += 1
    assert followed >= 8
    again = next(iter(drive))
    assert np.array_equal(again.image, frames[0].image)
    assert np.array_equal(again.ids, frames[0].ids)


def test_the_bonnet_hides_what_is_under_it() -> None:
    style = replace(sample_street(np.random.default_rng(3)), hood="body", lighting="sun", weather="clear")
    (frame,) = StreetDrive(5, 0.1, 10.0, SIZE, style)
    assert not frame.instances[-1, 60:130].any()


def test_streets_as_a_folder_in_cityscapes_layout(tmp_path: Path) -> None:
    write_streets(tmp_path, range(60, 62), SIZE, workers=1)
    frames = instance_frames([tmp_path])
    assert [frame.place for frame in frames] == ["street0", "street1"]
    assert [frame.name for frame in instance_frames([tmp_path], "holdout", ["street1"])] == ["street1_000061_000000"]
    street, truth = render_street(60, SIZE), frames[0].truth()
    assert np.array_equal(truth.semantic, street.semantic)
    assert np.array_equal(truth.instances != 0, street.instances != 0)
    assert sorted(truth.class_ids.tolist()) == sorted(street.class_ids.tolist())
    pairs = set(zip(truth.instances.ravel().tolist(), street.instances.ravel().tolist(), strict=True))
    assert len(pairs) == len(set(truth.instances.ravel().tolist())) == len(set(street.instances.ravel().tolist()))
    assert np.abs(frames[0].image().astype(int) - street.image).mean() < 6
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    write_streets(tmp_path, range(60, 62), SIZE, workers=1)
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}


def test_the_sheet_shows_picture_above_instances() -> None:
    sheet = street_sheet([60], 1, SIZE, 192)
    assert sheet.shape == (192, 192, 3)
    assert (sheet[:96] != sheet[96:]).any()
