from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.camera import Camera, Mount
from rtseg.errors import CalibrationError
from rtseg.lanes import GroundPlane

K = np.array([[1000.0, 0, 639.5], [0, 1000, 359.5], [0, 0, 1]])
LENS = np.array([-0.25, 0.03, 0.001, -0.001, 0.0])
angles = st.floats(-0.15, 0.15)
mounts = st.builds(
    Mount, st.floats(0.5, 3), angles, angles, angles, st.tuples(st.floats(-3, 3), st.floats(-1, 1))
)  # fmt: skip


@given(mounts, st.sampled_from([np.zeros(5), LENS]))
def test_ground_to_pixel_and_back(mount: Mount, distortion: np.ndarray) -> None:
    plane = GroundPlane(Camera(1280, 720, K, distortion, mount))
    x, y = np.meshgrid(np.linspace(5, 60, 12), np.linspace(-4, 4, 9))
    ground = np.stack([x.ravel() + mount.position[0], y.ravel(), np.zeros(x.size)], axis=1)
    pixels = plane.unproject(ground)
    seen = ((pixels > -0.5) & (pixels < [1279.5, 719.5])).all(axis=1)
    np.testing.assert_allclose(plane.project(pixels[seen]), ground[seen], rtol=1e-3, atol=1e-3)


@given(mounts)
def test_equals_opencv(mount: Mount) -> None:
    camera = Camera(1280, 720, K, LENS, mount)
    ground = np.add([[8.0, 1.5, 0], [20, -3, 0], [30, 0.5, 0.4]], [mount.position[0], 0, 0])
    to_optical = mount.rotation().T
    eye = np.array([*mount.position, mount.height])
    expected = cv2.projectPoints(ground, cv2.Rodrigues(to_optical)[0], -to_optical @ eye, K, LENS)[0].reshape(-1, 2)
    np.testing.assert_allclose(GroundPlane(camera).unproject(ground), expected, atol=1e-6)


def test_a_level_camera_by_hand() -> None:
    plane = GroundPlane(Camera(1280, 720, K, mount=Mount(height=1.5)))
    # 100 px under the center: 1.5 m / (100 / 1000) = 15 m ahead; 200 px to the right: 3 m to the right.
    np.testing.assert_allclose(plane.project(np.array([[639.5, 459.5], [839.5, 459.5]])), [[15, 0, 0], [15, -3, 0]])
    moved = GroundPlane(Camera(1280, 720, K, mount=Mount(height=1.5, position=(2.0, 0.3))))
    np.testing.assert_allclose(moved.project(np.array([[639.5, 459.5]])), [[17, 0.3, 0]])


def test_signs_of_the_angles() -> None:
    def row_and_column(mount: Mount) -> tuple[float, float]:
        x, y = GroundPlane(Camera(1280, 720, K, mount=mount)).unproject(np.array([[20.0, 0.0, 0.0]]))[0]
        return x, y

    x, y = row_and_column(Mount(1.5))
    assert row_and_column(Mount(1.5, pitch=0.05))[1] < y - 40  # looks down: the ground moves up
    assert row_and_column(Mount(1.5, yaw=0.05))[0] > x + 40  # looks left: the ground moves right
    left = GroundPlane(Camera(1280, 720, K, mount=Mount(1.5, roll=0.05))).unproject(
        np.array([[20.0, 5, 0], [20, -5, 0]])
    )
    assert left[0, 1] > left[1, 1] + 10  # right side lower: what is on the right moves up in the image


def test_nothing_above_the_horizon() -> None:
    plane = GroundPlane(Camera(1280, 720, K, mount=Mount(height=1.5, pitch=math.radians(3))))
    horizon = 359.5 - 1000 * math.tan(math.radians(3))
    found = plane.project(
        np.array([[600, horizon - 1], [600, horizon], [600, horizon + 1], [np.nan, 700], [0, np.nan]])
    )
    assert np.isnan(found[[0, 1, 3, 4]]).all()
    assert found[2, 0] > 1000


def test_nothing_behind_the_camera() -> None:
    plane = GroundPlane(Camera(1280, 720, K, LENS, Mount(height=1.5)))
    assert np.isnan(plane.unproject(np.array([[-5.0, 0, 0], [0, 3, 0], [np.nan, 0, 0]]))).all()


def test_nothing_where_the_lens_model_folds_over() -> None:
    plane = GroundPlane(Camera(1280, 720, K, np.array([-0.6, 0, 0, 0, 0]), Mount(height=1.5)))
    assert np.isnan(plane.project(np.array([[-2000.0, 700]]))).all()
    assert np.isfinite(plane.project(np.array([[600.0, 700]]))).all()


def test_no_points_and_wrong_shapes() -> None:
    plane = GroundPlane(Camera(1280, 720, K, LENS))
    assert plane.project(np.empty((0, 2))).shape == (0, 3)
    assert plane.unproject(np.empty((0, 2))).shape == (0, 2)
    with pytest.raises(CalibrationError, match=r"\(k, 2\)"):
        plane.project(np.zeros((3, 3)))
    with pytest.raises(CalibrationError, match=r"\(k, 3\)"):
        plane.unproject(np.zeros(3))
