"""Lens models against OpenCV's projection, there and back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtseg.camera import Camera, Mount
from rtseg.camera.lens import COEFFICIENTS, EQUIDISTANT, PLUMB_BOB, RATIONAL, distort, undistort
from rtseg.lanes import GroundPlane

MATRIX = np.array([[700.0, 0, 640], [0, 710, 360], [0, 0, 1]])
MILD = {
    PLUMB_BOB: (-0.28, 0.08, 0.001, -0.0005, -0.01),
    RATIONAL: (0.4, 0.05, 0.0002, -0.0003, 0.002, 0.7, 0.12, 0.004),
    EQUIDISTANT: (-0.02, 0.004, -0.001, 0.0002),
}


def opencv(points: NDArray[np.float64], model: str, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixels of points of the plane at depth 1."""
    solid = np.column_stack([points, np.ones(len(points))])[:, None]
    if model == EQUIDISTANT:
        bent = cv2.fisheye.projectPoints(solid, np.zeros(3), np.zeros(3), MATRIX, coefficients)[0]
    else:
        bent = cv2.projectPoints(solid, np.zeros(3), np.zeros(3), MATRIX, coefficients)[0]
    return np.asarray(bent, np.float64).reshape(-1, 2)


@pytest.mark.parametrize("model", COEFFICIENTS)
@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), strength=st.floats(0, 1))
def test_rays_bend_as_opencv_has_it_and_come_back(model: str, seed: int, strength: float) -> None:
    coefficients = strength * np.array(MILD[model])
    points = np.random.default_rng(seed).uniform(-0.8, 0.8, (30, 2))
    points[0] = 0.0
    pixels = distort(points, model, coefficients) * MATRIX[[0, 1], [0, 1]] + MATRIX[:2, 2]
    np.testing.assert_allclose(pixels, opencv(points, model, coefficients), atol=1e-6)
    np.testing.assert_allclose(undistort(pixels, MATRIX, model, coefficients), points, atol=1e-5)


def test_a_fisheye_sees_more_than_a_plane_before_it_holds() -> None:
    camera = Camera(1280, 720, MATRIX, np.zeros(4), Mount(1.5), distortion_model=EQUIDISTANT)
    ahead, beside = (640 + 700 * np.radians(angle) for angle in (60.0, 95.0))
    ground = GroundPlane(camera).project(np.array([[ahead, 900.0], [beside, 900.0], [1e6, 1e6], [np.nan, 1.0]]))
    assert np.isfinite(ground[0]).all()
    assert np.isnan(ground[1:]).all()


@pytest.mark.parametrize("model", COEFFICIENTS)
def test_the_ground_is_found_again_through_any_lens(model: str) -> None:
    camera = Camera(1280, 720, MATRIX, np.array(MILD[model]), Mount(1.5, pitch=0.05), distortion_model=model)
    plane = GroundPlane(camera)
    points = np.array([[x, y] for x in (6.0, 12.0, 40.0) for y in (-3.0, 0.0, 2.0)])
    np.testing.assert_allclose(plane.project(plane.unproject(points))[:, :2], points, atol=2e-3)
    smaller = camera.scaled(640, 360)
    assert smaller.distortion_model == model
    halves = (plane.unproject(points) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(GroundPlane(smaller).unproject(points), halves, atol=1e-9)


@pytest.mark.parametrize("model", COEFFICIENTS)
def test_camera_files_keep_the_lens(model: str, tmp_path: Path) -> None:
    camera = Camera(1280, 720, MATRIX, np.array(MILD[model]), distortion_model=model)
    camera.save(tmp_path / "camera.yaml")
    assert Camera.load(tmp_path / "camera.yaml") == camera
