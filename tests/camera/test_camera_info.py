"""CameraInfo messages of both ROS generations become the camera of their pictures."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rtseg.camera import Mount, camera_info_topic, camera_of, check_aspect, is_rectified
from rtseg.errors import CalibrationError
from rtseg.lanes import GroundPlane

K = (500.0, 0.0, 320.0, 0.0, 510.0, 360.0, 0.0, 0.0, 1.0)
P = (400.0, 0.0, 310.0, 0.0, 0.0, 410.0, 350.0, 0.0, 0.0, 0.0, 1.0, 0.0)
MOUNT = Mount(height=1.5, pitch=0.1)


def info(ros1: bool = False, roi: tuple[int, int, int, int] = (0, 0, 0, 0), **changes: Any) -> SimpleNamespace:
    """A message of a 640x720 sensor; `roi` is left, top, width, height."""
    left, top, width, height = roi
    fields = {"k": np.array(K), "p": np.array(P), "d": np.array([-0.2, 0.05, 0.001, 0.002, 0.01])} | changes
    if ros1:
        fields = {(name.upper() if len(name) == 1 else name): value for name, value in fields.items()}
    region = SimpleNamespace(x_offset=left, y_offset=top, width=width, height=height, do_rectify=False)
    rest = {"width": 640, "height": 720, "distortion_model": "plumb_bob", "binning_x": 0, "binning_y": 0}
    return SimpleNamespace(**(rest | fields), roi=region)


@pytest.mark.parametrize("ros1", [False, True])
def test_the_message_as_it_stands(ros1: bool) -> None:
    camera = camera_of(info(ros1), mount=MOUNT)
    assert camera is not None
    assert (camera.width, camera.height, camera.mount) == (640, 720, MOUNT)
    assert np.array_equal(np.ravel(camera.K), K)
    assert np.array_equal(camera.distortion, [-0.2, 0.05, 0.001, 0.002, 0.01])


def test_a_point_on_the_ground_is_the_same_through_any_region_and_binning() -> None:
    """Whatever part of the sensor is read out, and however binned, a place on the road keeps its metres."""
    whole = camera_of(info(), mount=MOUNT)
    assert whole is not None
    pixel = np.array([[350.0, 500.0]])
    place = GroundPlane(whole).project(pixel)
    for left, top, width, height, binning in [(0, 200, 640, 360, 1), (40, 100, 500, 500, 2), (0, 0, 0, 0, 4)]:
        camera = camera_of(info(roi=(left, top, width, height)), mount=MOUNT)
        assert camera is not None
        shown = camera.scaled((width or 640) // binning, (height or 720) // binning)
        seen = (pixel - (left, top) + 0.5) / binning - 0.5
        assert GroundPlane(shown).project(seen) == pytest.approx(place, abs=1e-6)


def test_rectified_pictures_have_no_distortion_and_the_projection_of_the_rectification() -> None:
    camera = camera_of(info(roi=(0, 200, 640, 360)), rectified=True)
    assert camera is not None
    assert not camera.distortion.any()
    assert np.array_equal(camera.K, [[400, 0, 310], [0, 410, 150], [0, 0, 1]])
    equidistant = camera_of(info(distortion_model="equidistant"), rectified=True)
    assert equidistant is not None, "how the lens distorts does not matter once the pictures are rectified"


@pytest.mark.parametrize("ros1", [False, True])
@pytest.mark.parametrize(
    ("changes", "rectified"),
    [
        ({"k": np.zeros(9)}, False),
        ({"k": np.eye(3).ravel()}, False),
        ({"p": np.zeros(12)}, True),
        ({"p": np.eye(3, 4).ravel()}, True),
    ],
)
def test_uncalibrated_cameras_say_so(ros1: bool, changes: dict, rectified: bool) -> None:
    assert camera_of(info(ros1, **changes), rectified) is None


@pytest.mark.parametrize(
    ("model", "coefficients", "used"),
    [
        ("plumb_bob", (), ("plumb_bob", 0, 0, 0, 0, 0)),
        ("", (0.1, 0.2, 0.3, 0.4), ("plumb_bob", 0.1, 0.2, 0.3, 0.4, 0)),
        ("plumb_bob", (0.1, 0.2, 0.3, 0.4, 0.5, 0, 0, 0), ("plumb_bob", 0.1, 0.2, 0.3, 0.4, 0.5)),
        ("rational_polynomial", (0.1, 0.2, 0.3, 0.4, 0.5, 0, 0, 0), ("plumb_bob", 0.1, 0.2, 0.3, 0.4, 0.5)),
        ("rational_polynomial", (0.1, 0, 0, 0, 0, 0.4), ("rational_polynomial", 0.1, 0, 0, 0, 0, 0.4, 0, 0)),
        ("rational_polynomial", (*[0.1] * 8, *[0] * 6), ("rational_polynomial", *[0.1] * 8)),
        ("equidistant", (0.1, 0.2, 0.3, 0.4), ("equidistant", 0.1, 0.2, 0.3, 0.4)),
        ("equidistant", (0.1, 0.2, 0.3, 0.4, 0), ("equidistant", 0.1, 0.2, 0.3, 0.4)),
        ("fisheye", (0, 0, 0, 0), ("equidistant", 0, 0, 0, 0)),
        ("none", (), ("plumb_bob", 0, 0, 0, 0, 0)),
        ("none", (0, 0, 0, 0, 0), ("plumb_bob", 0, 0, 0, 0, 0)),
        ("none", (0.1,), None),
        ("plumb_bob", (0.1, 0, 0, 0, 0, 0.2), None),
        ("rational_polynomial", (*[0.1] * 8, 0.1), None),
        ("equidistant", (0.1, 0.2, 0.3, 0.4, 0.5), None),
        ("kannala", (0, 0, 0, 0), None),
        ("\x1b[31mred", (), None),
    ],
)
def test_models_are_taken_for_what_their_coefficients_say(model: str, coefficients: tuple, used: tuple | None) -> None:
    message = info(distortion_model=model, d=np.array(coefficients))
    if used is None:
        with pytest.raises(
            CalibrationError,
            match="of one of the models plumb_bob, rational_polynomial, equidistant",
        ) as raised:
            camera_of(message)
        assert str(raised.value).isprintable(), "a driver's text is no command to a terminal"
    else:
        camera = camera_of(message)
        assert camera is not None
        assert (camera.distortion_model, *camera.distortion) == used


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"roi": (0, 400, 640, 360)}, "region of interest within 640x720"),
        ({"roi": (640, 0, 0, 0)}, "region of interest"),
        ({"width": 0, "height": 0}, "region of interest"),
        ({"k": np.full(9, np.nan)}, "finite"),
        ({"k": -np.array(K)}, "camera matrix"),
        ({"d": np.array([np.inf, 0, 0, 0, 0])}, "finite"),
        ({"k": np.zeros(4)}, "9 numbers in K"),
    ],
)
def test_numbers_that_do_not_fit_are_named(changes: dict, words: str) -> None:
    with pytest.raises(CalibrationError, match=words):
        camera_of(info(**changes))


@pytest.mark.parametrize(
    ("topic", "rectified", "beside"),
    [
        ("/front/image_raw", False, "/front/camera_info"),
        ("/front/image_raw/compressed", False, "/front/camera_info"),
        ("/front/image_rect", True, "/front/camera_info"),
        ("/front/image_rect_color/compressed", True, "/front/camera_info"),
        ("/image_rect/ffmpeg", True, "/camera_info"),
        ("image", False, "camera_info"),
        ("/image_rectified_view/image_raw", False, "/image_rectified_view/camera_info"),
        ("", False, "camera_info"),
    ],
)
def test_what_a_topics_name_says(topic: str, rectified: bool, beside: str) -> None:
    assert is_rectified(topic) == rectified
    assert camera_info_topic(topic) == beside


@pytest.mark.parametrize(
    ("size", "fits"), [((640, 720), True), ((320, 360), True), ((427, 480), True), ((640, 360), False)]
)
def test_pictures_of_another_shape_are_not_the_calibrations(size: tuple[int, int], fits: bool) -> None:
    camera = camera_of(info())
    assert camera is not None
    if fits:
        check_aspect(camera, *size)
    else:
        with pytest.raises(CalibrationError, match="640x720, got 640x360"):
            check_aspect(camera, *size)
