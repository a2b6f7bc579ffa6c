"""The own lane in metres: exact on lines that are exact, sided by where the vehicle stands, calm about outliers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.camera import Camera, Mount
from rtseg.lanes import EgoLane, GroundPlane, ego_lane
from rtseg.lanes.ego import _ALIKE as ALIKE
from rtseg.results import Lanes

SIZE = (360, 640)
K = np.array([[600.0, 0, 319.5], [0, 600.0, 150.0], [0, 0, 1]])


def plane(**mount: float) -> GroundPlane:
    return GroundPlane(Camera(640, 360, K, mount=Mount(height=1.4, pitch=0.03, **mount)))  # type: ignore[arg-type]


def lanes(
    *curves: tuple[float, float, float], ground: GroundPlane | None = None, noise: float = 0.0, seed: int = 3
) -> Lanes:
    """Lines y = c + t x + k x^2 / 2 as a camera sees them, left to right, ids from 1."""
    ground, rng = ground or plane(), np.random.default_rng(seed)
    x = np.geomspace(3, 60, 900)
    lines = []
    for c, t, k in sorted(curves, reverse=True):
        pixels = ground.unproject(np.stack([x, c + t * x + k * x * x / 2], axis=1))
        rows = np.arange(math.ceil(pixels[:, 1].min()), min(359, math.floor(pixels[:, 1].max())) + 1)
        columns = np.interp(rows, pixels[::-1, 1], pixels[::-1, 0])
        columns = columns + rng.normal(0, noise, len(rows)) if noise else columns
        inside = (columns >= 0) & (columns <= 639)
        lines.append(np.stack([columns, rows], 1)[inside].astype(np.float32))
    ids = np.arange(1, len(lines) + 1, dtype=np.int32)
    return Lanes(np.zeros(SIZE, np.uint8), ids, np.ones(len(ids), np.float32), tuple(lines))


@given(
    st.floats(-1.0, 1.0), st.floats(2.6, 4.0), st.floats(-0.04, 0.04), st.floats(-0.004, 0.004), st.floats(-0.05, 0.05)
)
def test_exact_lines_give_the_lane_they_bound(offset: float, width: float, t: float, k: float, yaw: float) -> None:
    ground = plane(yaw=yaw)
    seen = lanes((width / 2 - offset, t, k), (-width / 2 - offset, t, k), ground=ground)
    found = ego_lane(seen, ground)
    assert (found.left, found.right) == (1, 2)
    assert found.offset == pytest.approx(offset, abs=0.02)
    assert found.width == pytest.approx(width, abs=0.02)
    assert found.heading == pytest.approx(-math.atan(t), abs=0.004)
    assert found.curvature == pytest.approx(k, abs=5e-4)
    assert found.center(20.0) == pytest.approx(-offset + t * 20 + k * 200, abs=0.05)


@pytest.mark.parametrize(("shift", "own"), [(0.0, (2, 3)), (-3.5, (3, 4)), (3.5, (1, 2)), (-1.9, (3, 4))])
def test_the_own_lane_is_the_one_that_the_vehicle_is_in(shift: float, own: tuple[int, int]) -> None:
    """Moving to the right by a lane, the lines to the right become its boundaries."""
    road = lanes(*((y - shift, 0.0, 0.0) for y in (5.25, 1.75, -1.75, -5.25)))
    found = ego_lane(road, plane())
    assert (found.left, found.right) == own
    assert found.width == pytest.approx(3.5, abs=0.02)


def test_stray_pixels_move_it_little() -> None:
    clean = lanes((1.75, 0.01, 0.001), (-1.75, 0.01, 0.001))
    rough = lanes((1.75, 0.01, 0.001), (-1.75, 0.01, 0.001), noise=0.7)
    bulged = rough.polylines[0].copy()
    bulged[-len(bulged) // 8 :, 0] += 25  # 15 cm, the foot of a wheel taken in
    rough = Lanes(rough.mask, rough.ids, rough.confidence, (bulged, rough.polylines[1]))
    a, b = ego_lane(clean, plane()), ego_lane(rough, plane())
    assert b.center(20.0) == pytest.approx(a.center(20.0), abs=0.15)
    assert b.offset == pytest.approx(a.offset, abs=0.08)


def test_one_line_tells_its_distance_and_the_heading_alone() -> None:
    found = ego_lane(lanes((1.2, -0.02, 0.0)), plane())
    assert (found.left, found.right) == (1, 0)
    assert found.left_distance == pytest.approx(1.2, abs=0.02)
    assert found.heading == pytest.approx(math.atan(0.02), abs=0.003)
    assert math.isnan(found.width)
    assert math.isnan(found.offset)
    assert "1.20 m to the left line" in found.describe()


def test_nothing_is_made_up() -> None:
    sky = np.stack([np.full(40, 320.0), np.arange(10.0, 50.0)], 1).astype(np.float32)
    empty = np.empty((0, 2), np.float32)
    seen = Lanes(np.zeros(SIZE, np.uint8), np.array([1, 2], np.int32), np.ones(2, np.float32), (sky, empty))
    assert ego_lane(seen, plane()).describe() == ""
    assert not ego_lane(lanes(), plane()).left
    assert EgoLane().describe() == ""
    assert math.isnan(EgoLane().center(10.0))


def test_words_say_to_which_side() -> None:
    told = ego_lane(lanes((2.0, 0.02, 0.0), (-1.5, 0.02, 0.0)), plane()).describe()
    assert told.startswith("lane 3.5 m, 0.25 m right of its middle, heading 1.1 deg right")


def test_sides_are_counted_from_the_cameras_middle() -> None:
    assert lanes(*((y, 0.0, 0.0) for y in (5.2, 1.7, -1.8, -5.3))).sides.tolist() == [-2, -1, 1, 2]
    assert lanes((-1.8, 0.0, 0.0)).sides.tolist() == [1]
    assert lanes().sides.tolist() == []


def test_spreads_are_those_of_points_that_scatter_and_grow_where_lines_are_less_sure() -> None:
    curves = ((1.75, 0.01, 0.001), (-1.75, 0.01, 0.001))
    founds = [ego_lane(lanes(*curves, noise=0.7, seed=seed), plane()) for seed in range(60)]
    told = np.mean([found.spreads for found in founds], axis=0) / ALIKE
    seen = np.std([(f.offset, f.heading, f.curvature, f.width) for f in founds], axis=0)
    assert (told > 0.6 * seen).all()
    assert (told < 2.0 * seen).all()
    ahead = np.std([f.center(15.0) for f in founds])
    assert np.mean([f.center_spread(15.0) for f in founds]) / ALIKE == pytest.approx(ahead, rel=0.5)

    rough = lanes(*curves, noise=0.7)
    sure, unsure = (
        ego_lane(replace(rough, confidence=np.float32([1.0, confidence])), plane()) for confidence in (1.0, 0.5)
    )
    np.testing.assert_allclose(unsure.spreads, 2 * np.array(sure.spreads))
    assert sure.center_spread(0.0) == pytest.approx(sure.spreads[0])
    alone = ego_lane(lanes(curves[0], noise=0.7), plane()).spreads
    assert np.isnan(alone).tolist() == [True, False, False, True]
