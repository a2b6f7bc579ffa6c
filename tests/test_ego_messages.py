"""The own lane as a path and as numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rtseg.camera import Camera, Mount
from rtseg.camera.lens import COEFFICIENTS
from rtseg.lanes import EgoLane, GroundPlane, ego_lane
from rtseg.messages import (
    EGO_TYPE,
    PATH_LENGTH,
    ego_numbers,
    ego_path,
    ground_lines,
    lane_grid,
    lane_markers,
    lane_points,
    point_fields,
)
from rtseg.results import Lanes

LANES = Lanes(
    np.zeros((4, 4), np.uint8), np.int32([9, 4, 7]), np.float32([0.2, 0.9, 0.6]), (np.zeros((0, 2), np.float32),) * 3
)
SPREADS = (0.05, 0.01, 0.0003, 0.1)
EGO = EgoLane(
    4, 7, 1.5, 2.1, heading=-0.03, curvature=0.004, slopes=(0.02, 0.04), covariance=np.diag(np.square(SPREADS))
)


def test_the_path_is_the_middle_and_points_along_it() -> None:
    path = ego_path(EGO)
    assert path[0, :2].tolist() == [0.0, pytest.approx(-EGO.offset)]
    assert path[-1, 0] == PATH_LENGTH
    np.testing.assert_allclose(path[:, 1], [EGO.center(x) for x in path[:, 0]])
    steps = np.diff(path[:, :2], axis=0)
    between = (path[1:, 2] + path[:-1, 2]) / 2
    np.testing.assert_allclose(np.arctan2(steps[:, 1], steps[:, 0]), between, atol=1e-5)


@pytest.mark.parametrize("ego", [EgoLane(), EgoLane(left=4, left_distance=1.5, heading=0.0, curvature=0.0)])
def test_without_both_boundaries_there_is_no_path_but_a_point_that_says_so(ego: EgoLane) -> None:
    assert ego_path(ego).shape == (0, 3)
    (point,) = ego_numbers(ego, LANES)
    assert np.isnan([point["width"], point["offset"]]).all()
    assert point["confidence"] == pytest.approx(0.9) if ego.left else np.isnan(point["confidence"])
    assert (point["left"], point["right"]) == (ego.left, 0)


def test_the_numbers_are_those_of_the_own_lane() -> None:
    (point,) = ego_numbers(EGO, LANES)
    assert point.dtype == EGO_TYPE
    assert (point["left"], point["right"], point["confidence"]) == (4, 7, np.float32(0.6))
    for name, spread in zip(("offset", "heading", "curvature", "width"), SPREADS, strict=True):
        assert point[name] == np.float32(getattr(EGO, name))
        assert point[f"{name}_spread"] == pytest.approx(spread)
    assert [name for name, *_ in point_fields(EGO_TYPE)] == list(EGO_TYPE.names or ())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("model", COEFFICIENTS)
def test_of_the_furthest_out_of_cameras_nothing_infinite_is_told(model: str) -> None:
    rows = np.arange(40, 144, dtype=np.float32)
    lines = tuple(np.stack([x + slope * rows, rows], axis=1) for x, slope in ((83, -0.33), (167, 0.33)))
    lanes = Lanes(np.zeros((144, 256), np.uint8), np.int32([1, 2]), np.float32([0.9, 0.9]), lines)
    focal, centers = (0.0101, 1.0, 999.0), (-999.0, 0.4, 999.0)
    for fx, fy, cx, cy, bend in itertools.product(focal, focal, centers, centers, (0.0, -0.3, 1e9, -1e9)):
        matrix = np.array([[256 * fx, 0, 256 * cx], [0, 144 * fy, 144 * cy], [0, 0, 1]])
        bent = np.full(COEFFICIENTS[model], bend)
        plane = GroundPlane(Camera(256, 144, matrix, bent, Mount(height=1.4), distortion_model=model))
        own, on_ground = ego_lane(lanes, plane), ground_lines(lanes, plane)
        points = lane_points(lanes, on_ground)
        assert all(np.isfinite(points[axis]).all() for axis in "xyz")
        assert np.isfinite(ego_path(own)).all()
        assert len(ego_numbers(own, lanes)) == 1
        for marker in lane_markers(lanes, on_ground, own):
            assert np.isfinite(np.float32(marker.points)).all()
        assert lane_grid(on_ground, None).cells.shape
