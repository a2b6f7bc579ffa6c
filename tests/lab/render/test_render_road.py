"""Single pictures: the same every time, and a truth that fits the pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from rtseg.errors import ConfigError
from rtseg.lab.render import RenderedRoad, render_road
from rtseg.lab.render.scene import World, sample_camera
from rtseg.lab.render.style import sample_style
from rtseg.lab.render.truth import MIN_WIDTH, NEAR_WIDTH, paint_mask
from rtseg.lab.render.view import View

SEEDS = range(24)


@pytest.fixture(scope="module")
def roads() -> list[RenderedRoad]:
    return [render_road(seed) for seed in SEEDS]


def test_same_seed_gives_the_same_bytes_whatever_was_rendered_before(roads: list[RenderedRoad]) -> None:
    for seed in (3, 11):
        again = render_road(seed)
        assert np.array_equal(again.image, roads[seed].image)
        assert np.array_equal(again.mask, roads[seed].mask)
        assert all(np.array_equal(a, b) for a, b in zip(again.lanes, roads[seed].lanes, strict=True))
        assert again.description == roads[seed].description


def test_seeds_give_different_pictures(roads: list[RenderedRoad]) -> None:
    assert len({road.image.tobytes() for road in roads}) == len(roads)


def test_truth_is_well_formed(roads: list[RenderedRoad]) -> None:
    for road in roads:
        height, width = road.image.shape[:2]
        assert road.image.dtype == np.uint8
        assert road.mask.shape == (height, width)
        assert road.mask.dtype == np.uint8
        marked = sum(kind != "none" for kind in road.description["markings"])  # type: ignore[union-attr]
        assert min(2, marked) <= len(road.lanes) <= marked <= 6
        assert road.ids == tuple(range(1, len(road.lanes) + 1))
        assert set(np.unique(road.mask)) <= {0, *road.ids}
        assert (road.camera.width, road.camera.height) == (width, height)
        for line in road.lanes:
            assert line.dtype == np.float32
            assert line.ndim == 2
            assert line.shape[1] == 2
            assert (np.diff(line[:, 1]) > 0).all()
            assert (line >= 0).all()
            assert (line <= [width - 1, height - 1]).all()


def test_lines_are_ordered_from_left_to_right(roads: list[RenderedRoad]) -> None:
    for road in roads:
        for left, right in zip(road.lanes, road.lanes[1:], strict=False):
            rows = np.arange(max(left[0, 1], right[0, 1]) + 1, min(left[-1, 1], right[-1, 1]))
            if rows.size:
                gap = np.interp(rows, *right.T[::-1]) - np.interp(rows, *left.T[::-1])
                assert gap.min() > 0


def test_mask_is_the_polylines_thickened(roads: list[RenderedRoad]) -> None:
    for road in roads:
        for line, number in zip(road.lanes, road.ids, strict=True):
            x, y = np.rint(line).astype(int).T
            own = road.mask[y, x] == number
            # Where lines converge, the one nearer to the picture's middle may cover its neighbor.
            assert own.mean() > 0.8
            thin = np.ones(road.mask.shape, np.uint8)
            cv2.polylines(thin, [np.rint(line).astype(np.int32)], False, 0)
            away = cv2.distanceTransform(thin, cv2.DIST_L2, 5)
            # A shallow line ends with its row, a few pixels past its last point.
            assert away[road.mask == number].max() < 12


def test_mask_is_thin_far_away_and_thicker_near() -> None:
    line = np.stack([np.full(260, 320.3), np.arange(100.0, 360.0)], axis=1).astype(np.float32)
    mask = paint_mask([line], [4], (360, 640))
    widths = (mask == 4).sum(axis=1)
    assert widths[101] == round(MIN_WIDTH * 640)
    assert widths[350] == round(NEAR_WIDTH * 640)
    assert (np.diff(widths[100:]) >= 0).all()
    assert not widths[:100].any()


@pytest.mark.parametrize("size", [(32, 32), (97, 131), (361, 641), (540, 960), (288, 801)])
def test_any_size_renders_with_truth_of_that_size(size: tuple[int, int]) -> None:
    road = render_road(5, size)
    assert road.image.shape == (*size, 3)
    assert road.mask.shape == size
    assert len(road.lanes) >= 2


def test_truth_scales_with_the_size() -> None:
    small, large = render_road(7, (360, 640)), render_road(7, (720, 1280))
    assert small.ids == large.ids
    for a, b in zip(small.lanes, large.lanes, strict=True):
        rows = np.linspace(max(a[0, 1], b[0, 1] / 2) + 2, min(a[-1, 1], b[-1, 1] / 2) - 2, 20)
        x = np.interp(rows, a[:, 1], a[:, 0])
        # Pixel centers: (p + 0.5) of one size is half of the other's.
        other = (np.interp((rows + 0.5) * 2 - 0.5, b[:, 1], b[:, 0]) + 0.5) / 2 - 0.5
        assert np.abs(x - other).max() < 0.3


def test_bad_arguments_are_refused_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match="at least 32x32"):
        render_road(0, (16, 640))
    with pytest.raises(ConfigError, match="seed of 0 or more"):
        render_road(-1)


@pytest.mark.slow
def test_lane_paint_lies_on_the_polylines() -> None:
    """Wherever the shader put paint of line i, in front of which nothing stands, the polyline of line i runs there."""
    checked = 0
    for seed in range(40, 60):
        style = sample_style(np.random.default_rng(seed))
        world, view = World(style, seed), View(sample_camera(style, (360, 640)))
        ego = world.start()
        _, canvas, painted, _ = world.picture(ego, view, world.parked_traffic(ego))
        road = world.render(ego, view, world.parked_traffic(ego))
        for line, number in zip(road.lanes, road.ids, strict=True):
            y, x = np.nonzero((painted == number) & (canvas.standing == 0))
            inside = (y >= line[0, 1]) & (y <= line[-1, 1])
            if inside.sum() < 20:
                continue
            away = np.abs(x[inside] - np.interp(y[inside], line[:, 1], line[:, 0]))
            slant = np.abs(np.gradient(line[:, 0], line[:, 1]))
            # Half a double stripe at this row, in pixels across; slanted lines are wider.
            depth = np.maximum(y[inside] - line[0, 1], 1) * 0.16 + 3
            assert (away <= depth * np.hypot(1, np.interp(y[inside], line[:, 1], slant))).mean() > 0.97, (seed, number)
            checked += 1
    assert checked > 40


@pytest.mark.slow
def test_marks_are_brighter_than_the_road_beside_them_on_clear_days() -> None:
    contrasts = []
    for seed in range(200):
        style = sample_style(np.random.default_rng([seed, 0]))
        if style.lighting != "sun" or style.weather != "clear":
            continue
        road = render_road(seed)
        gray = cv2.cvtColor(road.image, cv2.COLOR_BGR2GRAY).astype(float)
        marked = [kind for kind in road.description["markings"] if kind != "none"]  # type: ignore[union-attr]
        for line, kind in zip(road.lanes, marked, strict=False):
            if kind == "solid" and len(line) > 40:
                x, y = np.rint(line[20:]).astype(int).T
                beside = [gray[y, np.clip(x + shift, 0, 639)] for shift in (-14, 14)]
                contrasts.append(float(np.mean(gray[y, x] - np.mean(beside, axis=0))))
        if len(contrasts) > 30:
            break
    assert np.median(contrasts) > 8


def test_unmarked_streets_have_no_lanes(roads: list[RenderedRoad]) -> None:
    bare = 0
    for seed in range(400):
        style = sample_style(np.random.default_rng([seed, 0]))
        if all(line.kind == "none" for line in style.lines):
            road = render_road(seed, (90, 160))
            assert len(road.lanes) == 0
            assert not road.mask.any()
            bare += 1
        if bare == 3:
            break
    assert bare == 3


def test_conditions_vary_and_are_described(roads: list[RenderedRoad]) -> None:
    for key in ("setting", "lighting", "weather", "surface", "curvature"):
        assert len({road.description[key] for road in roads}) >= 2
