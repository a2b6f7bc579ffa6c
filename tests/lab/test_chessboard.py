from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.errors import CalibrationError
from rtseg.frame import Frame
from rtseg.lab.chessboard import calibrate_chessboard, spaced

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


class _Alive:
    """Pictures that are made when they are asked for, and counted while anybody holds them."""

    def __init__(self, pictures: list[NDArray[np.uint8]]) -> None:
        self._pictures = pictures
        self._references: list[weakref.ref[NDArray[np.uint8]]] = []
        self.most = 0

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for picture in self._pictures:
            made = picture.copy()
            self._references.append(weakref.ref(made))
            self.most = max(self.most, sum(reference() is not None for reference in self._references))
            yield made


@pytest.mark.slow
def test_of_many_boards_each_so_manieth_is_used_and_no_picture_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtseg.lab.chessboard.MOST_BOARDS", 4)
    pictures = _Alive([board_picture(*view) for view in VIEWS + VIEWS[::-1]])
    result = calibrate_chessboard(pictures, board=(9, 6))
    assert pictures.most <= 2
    assert result.used == (0, 4, 8)
    assert set(result.rejected) == set(range(12)) - set(result.used)
    np.testing.assert_allclose(result.camera.K, K, atol=10)


@pytest.mark.parametrize("shifts", [[(0.0, 0.0)] * 5, [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (-1.0, -1.0)]])
def test_boards_that_are_all_held_alike_are_refused(shifts: list[tuple[float, float]]) -> None:
    pictures = [board_picture((0.0, 0.0, 0.0), (x, y, 12.0 + x)) for x, y in shifts]
    with pytest.raises(CalibrationError, match="tilted by 30 degrees"):
        calibrate_chessboard(pictures, board=(9, 6))


def test_of_a_recording_a_frame_each_half_second_is_taken_and_every_still() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    stamps = [0, 100, 499, 500, 999, 1000, 30, 400, 530]
    frames = [Frame(pixels, stamp * 1_000_000) for stamp in stamps]
    assert [(frame.stamp or 0) // 1_000_000 for frame in spaced(frames)] == [0, 500, 1000, 30, 530]
    assert len(list(spaced([Frame(pixels)] * 5))) == 5
