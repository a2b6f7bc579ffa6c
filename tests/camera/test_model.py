from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rtseg.camera import Camera, Mount
from rtseg.errors import CalibrationError

K = np.array([[1156.0, 0, 671], [0, 1151, 389], [0, 0, 1]])
CALIBRATION = Path(__file__).resolve().parents[2] / "calibration"


def camera() -> Camera:
    mount = Mount(1.4, math.radians(2), math.radians(-1), math.radians(0.5), (1.5, -0.2))
    return Camera(1280, 720, K, np.array([-0.247, -0.025, 0.001, -0.002, 0.01]), mount, "front")


def test_saved_cameras_load_again(tmp_path: Path) -> None:
    camera().save(tmp_path / "camera.yaml", comment="two\nlines")
    loaded = Camera.load(tmp_path / "camera.yaml")
    assert (loaded.width, loaded.height, loaded.name) == (1280, 720, "front")
    np.testing.assert_array_equal(loaded.K, camera().K)
    np.testing.assert_array_equal(loaded.distortion, camera().distortion)
    np.testing.assert_allclose(loaded.mount.rotation(), camera().mount.rotation(), atol=1e-12)
    assert loaded.mount.position == (1.5, -0.2)
    assert (tmp_path / "camera.yaml").read_text().startswith("# two\n# lines\nimage_width: 1280\n")


def test_layout_is_that_of_ros(tmp_path: Path) -> None:
    camera().save(tmp_path / "camera.yaml")
    content = yaml.safe_load((tmp_path / "camera.yaml").read_text())
    assert content["distortion_model"] == "plumb_bob"
    assert {key: (content[key]["rows"], content[key]["cols"], len(content[key]["data"])) for key in content if
            key.endswith(("matrix", "coefficients"))} == {
        "camera_matrix": (3, 3, 9),
        "distortion_coefficients": (1, 5, 5),
        "rectification_matrix": (3, 3, 9),
        "projection_matrix": (3, 4, 12),
    }  # fmt: skip
    assert content["rtseg_extrinsics"]["pitch_deg"] == pytest.approx(2)


@pytest.mark.parametrize("name", ["generic.yaml", "udacity.yaml"])
def test_bundled_cameras_load(name: str) -> None:
    bundled = Camera.load(CALIBRATION / name)
    assert (bundled.width, bundled.height) == (1280, 720)
    assert bundled.mount.height > 1


def test_a_file_without_extrinsics_and_with_four_coefficients_loads(tmp_path: Path) -> None:
    camera().save(tmp_path / "camera.yaml")
    content = yaml.safe_load((tmp_path / "camera.yaml").read_text())
    del content["rtseg_extrinsics"]
    content["distortion_coefficients"] = {"rows": 1, "cols": 4, "data": [1, 2, 3, 4]}
    (tmp_path / "camera.yaml").write_text(yaml.safe_dump(content))
    loaded = Camera.load(tmp_path / "camera.yaml")
    assert loaded.mount == Mount()
    assert loaded.distortion.tolist() == [1, 2, 3, 4, 0]


WRONG = [
    ({"image_width": None}, "image_width"),
    ({"image_width": "1280"}, "image_width"),
    ({"image_width": 1280.5}, "whole"),
    ({"image_width": 10**400}, "image_width"),
    ({"rtseg_extrinsics": {"height_m": 10**400}}, "height_m"),
    ({"camera_matrix": {"rows": 3, "cols": 3, "data": [10**400] * 9}}, "camera_matrix"),
    ({"camera_matrix": {"rows": float("inf"), "cols": 3, "data": [1] * 9}}, "camera_matrix"),
    ({"distortion_coefficients": {"rows": 1, "cols": 10**400, "data": [0]}}, "distortion_coefficients"),
    ({"image_height": 0}, "1x1"),
    ({"image_height": float("nan")}, "image_height"),
    ({"camera_matrix": None}, "camera_matrix"),
    ({"camera_matrix": {"rows": 3, "cols": 3, "data": [1, 2]}}, "camera_matrix"),
    ({"camera_matrix": {"rows": 1, "cols": 9, "data": list(range(9))}}, "3x3"),
    ({"camera_matrix": {"rows": 3, "cols": 3, "data": [0.0] * 9}}, "fx"),
    ({"camera_matrix": {"rows": 3, "cols": 3, "data": [float("nan")] * 9}}, "finite"),
    ({"camera_matrix": {"rows": 3, "cols": 3, "data": ["a"] * 9}}, "camera_matrix"),
    ({"distortion_model": "thin_prism"}, "plumb_bob"),
    ({"distortion_coefficients": {"rows": 1, "cols": 8, "data": [0.1] * 8}}, "with 8 coefficients"),
    ({"rtseg_extrinsics": [1, 2]}, "height_m"),
    ({"rtseg_extrinsics": {"height_m": 0}}, "height"),
    ({"rtseg_extrinsics": {"height_m": 1, "pitch": 3}}, r"rtseg_extrinsics\.pitch"),
    ({"rtseg_extrinsics": {"height_m": 1, "pitch_deg": "3"}}, "pitch_deg"),
    ({"image_widht": 3}, "image_widht"),
]


@pytest.mark.parametrize(("change", "named"), WRONG)
def test_a_wrong_field_is_named(change: dict[str, object], named: str, tmp_path: Path) -> None:
    camera().save(tmp_path / "camera.yaml")
    content = yaml.safe_load((tmp_path / "camera.yaml").read_text()) | change
    (tmp_path / "camera.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(CalibrationError, match=named):
        Camera.load(tmp_path / "camera.yaml")


@pytest.mark.parametrize("content", [b"", b"- 1\n", b"a: [", b"\xff\xfe\x00", b"!!python/object/apply:os.getcwd []"])
def test_what_is_no_camera_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "camera.yaml").write_bytes(content)
    with pytest.raises(CalibrationError, match=r"camera\.yaml"):
        Camera.load(tmp_path / "camera.yaml")
    with pytest.raises(CalibrationError, match=r"absent\.yaml"):
        Camera.load(tmp_path / "absent.yaml")


@given(st.integers(2, 3000), st.integers(2, 3000))
def test_scaling_moves_pixels_as_resizing_does(width: int, height: int) -> None:
    scaled = camera().scaled(width, height)
    point = np.array([[0.1, -0.2, 1.0]])
    x, y = cv2.projectPoints(point, np.zeros(3), np.zeros(3), camera().K, camera().distortion)[0].ravel()
    u, v = cv2.projectPoints(point, np.zeros(3), np.zeros(3), scaled.K, scaled.distortion)[0].ravel()
    assert (u + 0.5) / width == pytest.approx((x + 0.5) / 1280)
    assert (v + 0.5) / height == pytest.approx((y + 0.5) / 720)


def test_a_camera_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        camera().K[0, 0] = 1
    assert camera() == camera()
    assert camera() != camera().scaled(640, 360)


def test_refuses_matrices_of_other_shapes() -> None:
    with pytest.raises(CalibrationError, match="3x3"):
        Camera(1280, 720, np.eye(4))
    with pytest.raises(CalibrationError, match="height"):
        Mount(height=-1)
