"""Pixels and road coordinates: the picture's mapping and the truth's are inverses of each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtseg.camera import Camera, Mount
from rtseg.lab.render.road import REACH, grid, ground_maps, trace
from rtseg.lab.render.view import View


def _view(height: float = 1.5, pitch: float = 0.05, roll: float = 0.0, yaw: float = 0.0, k1: float = 0.0) -> View:
    matrix = np.array([[560.0, 0, 319.5], [0, 560.0, 179.5], [0, 0, 1]])
    return View(Camera(640, 360, matrix, np.array([k1, 0, 0, 0, 0]), Mount(height, pitch, roll, yaw)))


@given(
    bend=st.floats(-0.008, 0.008),
    hill=st.floats(-2e-4, 2e-4),
    offset=st.floats(-6, 6),
    heading=st.floats(-0.04, 0.04),
    roll=st.floats(-0.03, 0.03),
    yaw=st.floats(-0.06, 0.06),
    k1=st.floats(-0.1, 0.1),
    s=st.floats(7, 60),
    u=st.floats(-4, 4),
)
@settings(max_examples=80)
def test_projected_road_points_map_back(
    bend: float, hill: float, offset: float, heading: float, roll: float, yaw: float, k1: float, s: float, u: float
) -> None:
    view = _view(roll=roll, yaw=yaw, k1=k1)
    shape = trace(np.full(grid().size, bend), np.full(grid().size, hill), offset, heading)
    pixels, depth = view.project(shape.points(np.array([s]), offset + u))
    maps = ground_maps(shape, view.rays, 1.5, view.focal)
    x, y = pixels[0]
    if not (1 <= x < 638 and 1 <= y < 358) or depth[0] < 5:
        return
    i, j = int(y), int(x)
    patch = np.stack([maps.s, maps.u])[:, i : i + 2, j : j + 2].astype(float)
    if not np.isfinite(patch).all():
        return
    fy, fx = y - i, x - j
    weights = np.array([[(1 - fy) * (1 - fx), (1 - fy) * fx], [fy * (1 - fx), fy * fx]])
    found_s, found_u = (patch * weights).sum(axis=(1, 2))
    # Bilinear interpolation of a hyperbolic map errs by about one footprint squared over the distance.
    assert found_s == pytest.approx(s, abs=0.03 + (s * s / 840) ** 2 / s)
    assert found_u == pytest.approx(offset + u, abs=0.06)


def test_flat_straight_road_is_the_textbook_plane() -> None:
    view = _view(pitch=0.0)
    shape = trace(np.zeros(grid().size), np.zeros(grid().size), 0.0, 0.0)
    maps = ground_maps(shape, view.rays, 1.5, view.focal)
    rows = np.arange(190, 360)
    distance = 1.5 * 560 / (rows - 179.5)
    assert np.allclose(maps.x[rows, 320], distance, rtol=2e-3)
    assert np.allclose(maps.u[rows, 100], (319.5 - 100) / 560 * distance, rtol=3e-3)
    assert np.isinf(maps.x[:180]).all()


def test_a_crest_hides_the_road_behind_it() -> None:
    """Over a crest no pixel sees the ground that lies behind it, and what is seen lies farther row by row."""
    s = grid()
    bump = np.where((s > 20) & (s < 60), -1.2e-2, 0.0)
    view = _view()
    shape = trace(np.zeros(s.size), bump, 0.0, 0.0)
    maps = ground_maps(shape, view.rays, 1.5, view.focal)
    column = maps.x[:, 320]
    seen = column[np.isfinite(column)]
    assert (np.diff(seen) <= 1e-3).all()
    assert not ((seen > 70) & (seen < REACH - 20)).any()


def test_the_road_starts_under_the_vehicle() -> None:
    shape = trace(np.full(grid().size, 2e-3), np.zeros(grid().size), 2.5, 0.02)
    here = shape.points(np.array([0.0]), 2.5)[0]
    assert np.allclose(here, 0, atol=1e-9)
    assert shape.s[-1] == REACH


@pytest.mark.parametrize("sharp", [0.02, -0.02, 0.04])
def test_a_hairpin_is_cut_where_it_turns_away(sharp: float) -> None:
    shape = trace(np.full(grid().size, sharp), np.zeros(grid().size), 0.0, 0.0)
    assert (np.diff(shape.x) > 0).all()
    assert abs(shape.heading).max() < 1.2
