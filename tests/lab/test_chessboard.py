from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.errors import CalibrationError
from rtseg.lab.chessboard import calibrate_chessboard

K = np.array([[500.0, 0, 322], [0, 510, 238], [0, 0, 1]])
DISTORTION = np.array([-0.2, 0.05, 0.001, -0.001, 0.0])
SIZE = (480, 640)


def board_picture(tilt: tuple[float, float, float], at: tuple[float, float, float]) -> NDArray[np.uint8]:
    """See a board of 10x7 squares through a distorting lens: every pixel's ray is met with the board's plane."""
    rotation = cv2.Rodrigues(np.array(tilt))[0]
    pixels = np.stack(np.meshgrid(np.arange(2 * SIZE[1]), np.arange(2 * SIZE[0])), -1).reshape(-1, 1, 2) / 2 - 0.25
    rays = cv2.undistortPoints(pixels, K, DISTORTION).reshape(-1, 2)
    rays = np.column_stack([rays, np.ones(len(rays))])
    normal = rotation[:, 2]
    points = (rays * (normal @ np.array(at) / (rays @ normal))[:, None] - np.array(at)) @ rotation
    x, y = points[:, 0] + 4, points[:, 1] + 2.5  # the origin lies in the middle of the inner corners
    board = (np.floor(x).astype(int) + np.floor(y).astype(int)) % 2 * 200 + 30
    inside = (x > -1) & (x < 9) & (y > -1) & (y < 6)
    picture = np.where(inside, board, 230).reshape(2 * SIZE[0], 2 * SIZE[1]).astype(np.uint8)
    small = cv2.resize(picture, SIZE[::-1], interpolation=cv2.INTER_AREA)
    return np.repeat(small[..., None], 3, axis=2)


VIEWS = [
    ((0.0, 0.0, 0.0), (0.0, 0.0, 12.0)),
    ((0.5, 0.1, 0.05), (1.0, 0.5, 13.0)),
    ((-0.5, 0.2, 0.1), (-1.0, 0.3, 13.0)),
    ((0.1, 0.6, -0.1), (0.5, -1.0, 14.0)),
    ((0.1, -0.6, 0.2), (-0.5, -0.5, 14.0)),
    ((0.4, 0.4, 0.3), (0.5, 1.0, 15.0)),
]


@pytest.mark.slow
def test_finds_the_camera_that_took_the_pictures() -> None:
    pictures = [board_picture(*view) for view in VIEWS]
    pictures.insert(2, np.full((*SIZE, 3), 128, np.uint8))
    pictures += [np.full((300, 400, 3), 128, np.uint8), np.zeros((1, 1, 3), np.uint8)]
    result = calibrate_chessboard(pictures, board=(9, 6), square=0.025)
    assert result.used == (0, 1, 3, 4, 5, 6)
    assert set(result.rejected) == {2, 7, 8}
    assert "no whole board" in result.rejected[2]
    assert "400x300" in result.rejected[7]
    assert "1x1" in result.rejected[8]
    assert result.rms < 0.15
    assert result.errors.shape == (6,)
    assert all(corners.shape == (54, 2) for corners in result.corners)
    assert (result.camera.width, result.camera.height) == (640, 480)
    np.testing.assert_allclose(result.camera.K, K, atol=3)
    np.testing.assert_allclose(result.camera.distortion[:2], DISTORTION[:2], atol=0.1)


def test_refuses_what_determines_no_camera() -> None:
    blank = np.full((*SIZE, 3), 128, np.uint8)
    with pytest.raises(CalibrationError, match="got none"):
        calibrate_chessboard([])
    with pytest.raises(CalibrationError, match="got 0 of 2"):
        calibrate_chessboard([blank, blank])
    with pytest.raises(CalibrationError, match="3x3"):
        calibrate_chessboard([blank], board=(9, 1))


@pytest.mark.slow
def test_real_chessboards(driving_data: Path) -> None:
    files = sorted((driving_data / "camera" / "camera_cal").glob("*.jpg"))
    expected = json.loads((driving_data / "camera" / "calibration_computed.json").read_text())
    pictures = [np.asarray(cv2.imread(str(file)), np.uint8) for file in files]
    result = calibrate_chessboard(pictures, board=(9, 6))
    assert len(result.used) == expected["boards_used"]
    assert result.rms < 1.1
    np.testing.assert_allclose(result.camera.K, expected["K"], rtol=0.005)
    np.testing.assert_allclose(result.camera.distortion[0], expected["D_plumb_bob"][0], atol=0.01)
