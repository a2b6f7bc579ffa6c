"""Free space and the ground cloud of surfaces and objects, held against rendered streets, whose ground is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rtseg.camera import Camera, Mount
from rtseg.lab.render.road import RoadShape, ground_maps
from rtseg.lab.render.scene import HOOD, sample_camera
from rtseg.lab.render.street.street import CLASSES, StreetWorld, sample_street
from rtseg.lab.render.view import View
from rtseg.lanes import GroundPlane
from rtseg.messages import (
    Grid,
    Ground,
    Surfaces,
    lane_grid,
    surface_confidence,
    surface_kinds,
    surface_mask,
)
from rtseg.messages.free_space import DRIVABLE
from rtseg.ops import region_statistics
from rtseg.results import Instances

ROAD, SIDEWALK, STRUCTURE = (len(CLASSES) + i for i in range(3))
SURFACES = Surfaces(np.int32([ROAD]), np.int32([SIDEWALK]), np.arange(len(CLASSES), dtype=np.int32))
FREE, OCCUPIED, UNKNOWN = 0, 100, -1


class _Street(StreetWorld):
    """A rendered street that keeps what of the picture stands, and the road's shape."""

    def picture(self, *arguments: Any) -> Any:
        made = super().picture(*arguments)
        self.seen = made[1], made[3]
        return made


def instances_of(labels: np.ndarray, class_ids: list[int], scores: float = 0.9) -> Instances:
    n = len(class_ids)
    found = region_statistics(labels.astype(np.int32), n)
    return Instances(
        labels.astype(np.int32), np.arange(1, n + 1, dtype=np.int32), np.int32(class_ids),
        np.full(n, scores, np.float32), found.boxes.astype(np.float32), found.areas, found.centers.astype(np.float32),
    )  # fmt: skip


def render(seed: int, size: tuple[int, int] = (360, 640)) -> tuple[Instances, Camera, np.ndarray, _Street]:
    """A street as a perfect network would see it, its camera, and x, y and u of the ground at each pixel."""
    style = sample_street(np.random.default_rng([seed, 301]))
    style = replace(style, hilliness=0.0)
    world, camera = _Street(style, seed), sample_camera(style, size)
    view = View(camera)
    street = world.street(world.start(), camera, view, 0.0, {}, 0)
    canvas, shape = world.seen
    maps = ground_maps(shape, view.rays, camera.mount.height, view.focal)
    labels = street.instances.copy()
    count = len(street.class_ids)
    kinds = np.where((maps.u < style.left_edge) & (maps.u > style.right_edge), 1, 2)
    kinds[~np.isfinite(maps.x)] = 3
    kinds[canvas.standing > 0] = 3
    free = labels == 0
    labels[free] = count + kinds[free]
    labels[canvas.standing == HOOD] = 0  # ignored
    labels[labels < 0] = count + 3  # small things
    found = instances_of(labels, [*street.class_ids.tolist(), ROAD, SIDEWALK, STRUCTURE])
    return found, camera, np.stack([maps.x, maps.y, maps.u]), world


def middles(grid: Grid, value: int) -> np.ndarray:
    """(k, 2) x and y of the middles of the cells that have a value."""
    rows, columns = np.nonzero(grid.cells == value)
    return np.stack([grid.origin[0] + (columns + 0.5) * 0.1, grid.origin[1] + (rows + 0.5) * 0.1], axis=1)


def on_road(shape: RoadShape, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(s, u) of points (k, 2) of the vehicle frame."""
    s = np.arange(0, 60, 0.1)
    line = shape.points(s, 0.0)[:, :2]
    nearest = np.square(points[:, None] - line[None]).sum(axis=2).argmin(axis=1)
    heading = np.interp(s[nearest], shape.s, shape.heading)
    x, y = (points - line[nearest]).T
    return s[nearest] + x * np.cos(heading) + y * np.sin(heading), y * np.cos(heading) - x * np.sin(heading)


def footprints(world: _Street, s: np.ndarray, u: np.ndarray, margin: float, tall: bool) -> np.ndarray:
    """Of points on the road the metres to the nearest thing's footprint, which is made smaller by a margin."""
    apart = np.full(len(s), np.inf)
    for actor in world.population.at(0.0, world.start().traveled):
        if tall or not set(actor.classes) & {"truck", "bus", "train"}:
            long, wide = actor.extent()
            x, y = np.abs(s - actor.s) - long + margin, np.abs(u - actor.u) - wide + margin
            apart = np.minimum(apart, np.hypot(np.maximum(x, 0), np.maximum(y, 0)))
    return apart


@pytest.mark.parametrize("seed", [2, 3])
def test_free_cells_are_road_without_anything_on_it(seed: int) -> None:
    instances, camera, (_, _, u_of_pixel), world = render(seed)
    ground = Ground(GroundPlane(camera))
    kinds = surface_kinds(instances, SURFACES, ground)
    grid, style = ground.free_space(kinds), world.style
    assert grid.cells.shape == (200, 300)
    s, u = on_road(world.seen[1], middles(grid, FREE))
    assert len(s) > 5000
    assert np.maximum(u - style.left_edge, style.right_edge - u).max() < 0.15
    assert (footprints(world, s, u, 0.2, tall=False) == 0).sum() <= 50
    s, u = on_road(world.seen[1], middles(grid, OCCUPIED))
    aside = np.maximum(u - style.left_edge, style.right_edge - u)
    wrong = (aside < -0.5) & (footprints(world, s, u, 0.0, tall=True) > 0.5)
    assert wrong.sum() < 0.005 * len(middles(grid, FREE))
    # All the road that is seen, and not too far off, is free.
    near = np.isfinite(ground.points["x"]) & (ground.points["x"] < 15) & (np.abs(ground.points["y"]) < 9.9)
    seen = near & (kinds == DRIVABLE) & (u_of_pixel < style.left_edge - 0.3) & (u_of_pixel > style.right_edge + 0.3)
    row, column = (ground.points[axis][seen] // 0.1 for axis in ("y", "x"))
    assert (grid.cells[(row + 100).astype(int), column.astype(int)] == FREE).mean() > 0.98


@pytest.mark.parametrize("seed", [6, 7])
def test_beneath_the_tails_of_lorries_next_to_nothing_is_free(seed: int) -> None:
    instances, camera, _, world = render(seed)
    ground = Ground(GroundPlane(camera))

    def beneath(surfaces: Surfaces) -> int:
        points = middles(ground.free_space(surface_kinds(instances, surfaces, ground)), FREE)
        s, u = on_road(world.seen[1], points)
        all_things, low_ones = (footprints(world, s, u, 0.2, tall) == 0 for tall in (True, False))
        return int((all_things & ~low_ones).sum())

    assert beneath(SURFACES) <= 20
    # Not because there is none: what is no thing has no tail.
    assert beneath(replace(SURFACES, things=np.int32([]))) > 60


def box_scene(camera: Camera, scores: float = 0.9) -> tuple[Instances, Surfaces]:
    """Road to 3 m on either side, sidewalk beyond; a crate from 10 m on, 2 m wide, and a wall at 20 m."""
    height, width = camera.height, camera.width
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    at = GroundPlane(camera).project(np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float))
    x, y = at[:, :2].T.reshape(2, height, width)
    labels = np.where(np.abs(y) < 3, 1, 2)
    labels[~(x < 20)] = 4
    near, far = GroundPlane(camera).unproject(np.array([[10, 1, 0], [10, -1, 0.0]])), 0.35 * height
    left, right = np.rint(near[:, 0]).astype(int)
    labels[round(far) : round(near[0, 1]) + 1, left : right + 1] = 3
    return instances_of(labels, [0, 1, 2, 3], scores), Surfaces(np.int32([0]), np.int32([1]), np.int32([2]))


CAMERA = Camera(1280, 720, np.array([[1100.0, 0, 640], [0, 1100, 300], [0, 0, 1]]), np.zeros(5), Mount(1.4, 0.03))


def test_what_stands_blocks_its_foot_line_and_hides_what_is_behind() -> None:
    instances, surfaces = box_scene(CAMERA)
    ground = Ground(GroundPlane(CAMERA))
    kinds = surface_kinds(instances, surfaces, ground)
    grid = ground.free_space(kinds)

    def cell(x: float, y: float) -> int:
        return int(grid.cells[int((y + 10) / 0.1), int(x / 0.1)])

    assert [cell(8, y) for y in (0.0, 2.5, -2.5)] == [FREE] * 3
    assert [cell(12, y) for y in (3.5, -3.5)] == [OCCUPIED] * 2, "the sidewalk"
    front = grid.cells[90:110, 95:106]
    assert (front == OCCUPIED).any(axis=1).all(), "no gap in the foot line"
    assert {cell(x, 0.0) for x in (12.0, 15.0, 18.0)} == {UNKNOWN}, "behind the crate"
    assert cell(15, 2.5) == FREE, "beside it"
    assert OCCUPIED in {cell(x, 2.5) for x in np.arange(18, 22, 0.1)}, "the wall"
    assert {cell(x, 2.5) for x in np.arange(23, 29, 0.1)} == {UNKNOWN}, "behind the wall"

    mask, sure, points = surface_mask(instances), surface_confidence(instances), ground.seen(kinds)
    assert points.shape == mask.pixels.shape == sure.pixels.shape == (360, 640)
    assert (mask.encoding, sure.encoding) == ("mono8", "mono8")
    assert (sure.pixels == round(1 + 254 * 0.9)).all()
    told = np.isfinite(points["x"])
    crate = told & (mask.pixels == 3)
    assert crate.sum() == crate.any(axis=0).sum() > 50, "its foot alone"
    assert np.abs(points["x"][crate] - 10).max() < 0.2
    assert not told[np.isnan(ground.points["x"])].any()


def test_what_is_not_sure_is_not_free_but_still_in_the_way() -> None:
    ground = Ground(GroundPlane(CAMERA))
    instances, surfaces = box_scene(CAMERA, scores=0.4)
    cells = ground.free_space(surface_kinds(instances, surfaces, ground)).cells
    assert not (cells == FREE).any()
    assert (cells[90:110, 95:106] == OCCUPIED).any(axis=1).all()


def test_a_model_of_objects_alone_tells_what_is_in_the_way() -> None:
    scene, _ = box_scene(CAMERA)
    alone = instances_of((scene.labels == 3).astype(int), [0])
    things = Surfaces(np.int32([]), np.int32([]), np.int32([0]))
    ground = Ground(GroundPlane(CAMERA))
    cells = ground.free_space(surface_kinds(alone, things, ground)).cells
    assert set(np.unique(cells)) == {UNKNOWN, OCCUPIED}
    assert (cells[90:110, 95:106] == OCCUPIED).any(axis=1).all()
    none = instances_of(np.zeros((720, 1280)), [])
    assert (ground.free_space(surface_kinds(none, things, ground)).cells == UNKNOWN).all()


def test_between_the_wheels_of_a_car_nothing_is_free() -> None:
    scene, surfaces = box_scene(CAMERA)
    labels = scene.labels.copy()
    bottom = np.flatnonzero((labels == 3).any(axis=1))[-1]
    columns = np.flatnonzero((labels == 3).any(axis=0))
    labels[bottom - 19 : bottom + 1, columns[10:-10]] = 1  # the road is seen beneath it
    car = instances_of(labels, [0, 1, 2, 3])
    ground = Ground(GroundPlane(CAMERA))
    kinds = surface_kinds(car, surfaces, ground)
    cells = ground.free_space(kinds).cells
    assert not (cells[92:108, 105:150] == FREE).any()
    assert (cells[92:108, 95:106] == OCCUPIED).any(axis=1).all()
    # The layer is told no class of a pixel that is another's.
    told = np.isfinite(ground.seen(kinds)["x"]) & (surface_mask(car).pixels == 1)
    assert not (told & (kinds != DRIVABLE)).any()


@pytest.mark.parametrize(("tall", "free"), [(True, False), (False, True)])
def test_before_the_foot_of_what_is_tall_nothing_is_free(tall: bool, free: bool) -> None:
    scene, surfaces = box_scene(CAMERA)
    labels = scene.labels.copy()
    if tall:
        labels[:300, (labels == 3).any(axis=0)] = 3
    ground = Ground(GroundPlane(CAMERA))
    kinds = surface_kinds(instances_of(labels, [0, 1, 2, 3]), surfaces, ground)
    cells = ground.free_space(kinds).cells
    assert (cells[92:108, 62:98] == FREE).all() == free
    assert (cells[92:108, 62:98] == UNKNOWN).all() != free
    assert (cells[92:108, 45:58] == FREE).all(), "nearer than any tail"
    assert (cells[120:128, 62:98] == FREE).all(), "beside it"


def test_lane_lines_lie_over_free_space() -> None:
    instances, surfaces = box_scene(CAMERA)
    ground = Ground(GroundPlane(CAMERA))
    free = ground.free_space(surface_kinds(instances, surfaces, ground))
    line = np.stack([np.arange(5, 20, 0.5), np.full(30, 1.75), np.zeros(30)], axis=1)
    both, lines = lane_grid([line], free), lane_grid([line])
    assert (both.cells[lines.cells == OCCUPIED] == OCCUPIED).all()
    others = lines.cells != OCCUPIED
    np.testing.assert_array_equal(both.cells[others], free.cells[others])
    assert (free.cells[lines.cells == OCCUPIED] == FREE).any(), "is not written into"
