"""Intrinsics from pictures of a chessboard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.camera.model import Camera
from rtseg.errors import CalibrationError
from rtseg.frame import check_image

_MIN_BOARDS = 3
_REFINE = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 40, 0.001)


@dataclass(frozen=True)
class CalibrationResult:
    """A calibrated camera and how it came about.

    Attributes:
        camera: the camera, with the default mount.
        rms: root mean square of the reprojection error, pixels.
        used: indices of the pictures whose boards were used.
        rejected: why each other picture was not, by its index.
        errors: root mean square error of each used board, pixels, in the order of `used`.
        corners: (rows * columns, 2) float32 corners of each used board, pixels, in the order of `used`.
    """

    camera: Camera
    rms: float
    used: tuple[int, ...]
    rejected: dict[int, str]
    errors: NDArray[np.float64]
    corners: tuple[NDArray[np.float32], ...]


def find_corners(image: NDArray[np.uint8], board: tuple[int, int]) -> NDArray[np.float32] | None:
    """Find the inner corners of a chessboard to sub-pixel accuracy.

    Args:
        image: (H, W, 3) uint8 BGR.
        board: inner corners (columns, rows).

    Returns:
        (columns * rows, 2) float32 (x, y) pixels, row by row; None if the whole board is not in sight.
    """
    gray = cv2.cvtColor(check_image(image), cv2.COLOR_BGR2GRAY)
    found, corners = cv2.findChessboardCorners(
        gray, board, flags=cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE
    )
    if not found:
        return None
    # The window must not reach the neighboring corners, which lie close together on a small or slanted board.
    grid = corners.reshape(board[1], board[0], 2)
    nearest = min(np.linalg.norm(np.diff(grid, axis=axis), axis=2).min() for axis in (0, 1))
    half = int(np.clip(nearest / 3, 2, 11))
    refined = cv2.cornerSubPix(gray, corners, (half, half), (-1, -1), _REFINE)
    return np.asarray(refined, np.float32).reshape(-1, 2)


def calibrate_chessboard(
    images: Sequence[NDArray[np.uint8]], board: tuple[int, int] = (9, 6), square: float = 1.0
) -> CalibrationResult:
    """Calibrate a camera from pictures of a flat chessboard held at different angles.

    Pictures without a whole board, and those whose size differs from most, are left out and named in the result.

    Args:
        images: (H, W, 3) uint8 BGR pictures by one camera.
        board: inner corners (columns, rows), each at least 3 and of different parity for an unambiguous board.
        square: side of a square in metres; it does not change the intrinsics.

    Raises:
        CalibrationError: if fewer than three boards are found or the parameters do not fit.
        ImageError: if a picture is no such image.
    """
    if len(board) != 2 or min(board) < 3 or not 0 < square < np.inf:
        raise CalibrationError(
            f"expected a board of at least 3x3 inner corners and squares over 0 m, got {board} and {square}"
        )
    # Of one pixel's height or width, as a tool's mark in the folder, a picture is of another size, and no fault.
    dots = {i for i, image in enumerate(images) if np.ndim(image) == 3 and min(np.shape(image)[:2]) < 2}
    sizes = Counter(check_image(image).shape[:2] for i, image in enumerate(images) if i not in dots)
    if not sizes:
        raise CalibrationError(f"expected at least {_MIN_BOARDS} pictures of a chessboard, got none")
    height, width = sizes.most_common(1)[0][0]
    used: list[int] = []
    corners: list[NDArray[np.float32]] = []
    rejected: dict[int, str] = {}
    for i, image in enumerate(images):
        # A picture a pixel larger, as some tools crop them, still has its pixels where the others have theirs.
        if i in dots or abs(image.shape[0] - height) > 1 or abs(image.shape[1] - width) > 1:
            rejected[i] = f"{image.shape[1]}x{image.shape[0]} where most pictures are {width}x{height}"
            continue
        found = find_corners(image, board)
        if found is None:
            rejected[i] = f"no whole board of {board[0]}x{board[1]} inner corners"
            continue
        used.append(i)
        corners.append(found)
    if len(used) < _MIN_BOARDS:
        raise CalibrationError(
            f"expected at least {_MIN_BOARDS} pictures that show the whole board of {board[0]}x{board[1]} corners, "
            f"got {len(used)} of {len(images)}; check the board's size, or take more pictures at different angles"
        )
    columns, rows = board
    grid = np.zeros((rows * columns, 3), np.float32)
    grid[:, :2] = square * np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    try:
        rms, matrix, distortion, rotations, translations = cv2.calibrateCamera(
            [grid] * len(corners), corners, (width, height), None, None
        )
    except cv2.error as error:
        raise CalibrationError(f"these boards do not determine a camera: {error.err}; vary their angles") from error
    errors = []
    for found, rotation, translation in zip(corners, rotations, translations, strict=True):
        projected = cv2.projectPoints(grid, rotation, translation, matrix, distortion)[0].reshape(-1, 2)
        errors.append(np.sqrt(((projected - found) ** 2).sum(axis=1).mean()))
    camera = Camera(width, height, np.asarray(matrix, np.float64), np.asarray(distortion, np.float64).ravel()[:5])
    return CalibrationResult(camera, float(rms), tuple(used), rejected, np.array(errors), tuple(corners))
