"""Intrinsics from pictures of a chessboard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.camera.model import Camera
from rtseg.errors import CalibrationError
from rtseg.frame import Frame, check_image

_MIN_BOARDS = 3
MOST_BOARDS = 200
"""Of more every second one is used, again and again: they say no more, and fitting many takes long."""

EVERY_NS = 500_000_000
"""Of a recording a picture each half second is looked at: a board hardly moves in less."""

_LEAST_TILT = 8.0  # degrees between the two boards that differ most; five away from each other scatter the focal length
_UNCERTAIN = 0.1  # share of the focal length
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


def spaced(frames: Iterable[Frame], every: int = EVERY_NS) -> Iterator[Frame]:
    """Those of a stream's frames that lie at least `every` nanoseconds apart, and all stills."""
    last: int | None = None
    for frame in frames:
        # A stamp that jumps back begins anew.
        if frame.stamp is not None and last is not None and 0 <= frame.stamp - last < every:
            continue
        last = frame.stamp
        yield frame


def calibrate_chessboard(
    images: Iterable[NDArray[np.uint8]], board: tuple[int, int] = (9, 6), square: float = 1.0
) -> CalibrationResult:
    """Calibrate a camera from pictures of a flat chessboard held at different angles.

    Pictures without a whole board, those whose size differs from most, and of more than 200 boards every second one
    are left out and named in the result. No picture is kept, so that there may be any number of them.

    Args:
        images: (H, W, 3) uint8 BGR pictures by one camera, taken one at a time.
        board: inner corners (columns, rows), each at least 3 and of different parity for an unambiguous board.
        square: side of a square in metres; it does not change the intrinsics.

    Raises:
        CalibrationError: if fewer than three boards are found, they are all held alike, or the parameters do not fit.
        ImageError: if a picture is no such image.
    """
    if len(board) != 2 or min(board) < 3 or not 0 < square < np.inf:
        raise CalibrationError(
            f"expected a board of at least 3x3 inner corners and squares over 0 m, got {board} and {square}"
        )
    seen = _Seen(board)
    for image in images:
        seen.look(image)
    (height, width), found = seen.of_one_size()
    corners = tuple(found.values())
    columns, rows = board
    grid = np.zeros((rows * columns, 3), np.float32)
    grid[:, :2] = square * np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    try:
        rms, matrix, distortion, rotations, translations, spread, _, _ = cv2.calibrateCameraExtended(
            [grid] * len(corners), corners, (width, height), np.eye(3), np.zeros(5)
        )
    except cv2.error as error:
        raise CalibrationError(f"these boards do not determine a camera: {error.err}; vary their angles") from error
    _check_determined(matrix, spread, rotations)
    errors = []
    for points, rotation, translation in zip(corners, rotations, translations, strict=True):
        projected = cv2.projectPoints(grid, rotation, translation, matrix, distortion)[0].reshape(-1, 2)
        errors.append(np.sqrt(((projected - points) ** 2).sum(axis=1).mean()))
    camera = Camera(width, height, np.asarray(matrix, np.float64), np.asarray(distortion, np.float64).ravel()[:5])
    return CalibrationResult(camera, float(rms), tuple(found), seen.rejected, np.array(errors), corners)


class _Seen:
    """What was seen in pictures that are gone.

    Attributes:
        rejected: why a picture is not used, by its index.
    """

    def __init__(self, board: tuple[int, int]) -> None:
        self.rejected: dict[int, str] = {}
        self._board = board
        self._shapes: list[tuple[int, int]] = []
        self._corners: dict[int, NDArray[np.float32]] = {}
        self._found = 0
        self._step = 1  # of the boards that are found each how-manieth is kept

    def look(self, image: NDArray[np.uint8]) -> None:
        """Look for the board in the next picture."""
        index = len(self._shapes)
        # Of one pixel's height or width, as a tool's mark in the folder, a picture is of another size, and no fault.
        if np.ndim(image) == 3 and min(np.shape(image)[:2]) < 2:
            self._shapes.append(image.shape[:2])
            return
        self._shapes.append(check_image(image).shape[:2])
        corners = find_corners(image, self._board)
        if corners is None:
            self.rejected[index] = f"no whole board of {self._board[0]}x{self._board[1]} inner corners"
            return
        self._found += 1
        if (self._found - 1) % self._step == 0:
            self._corners[index] = corners
        else:
            self._leave(index)
        if len(self._corners) > MOST_BOARDS:
            self._step *= 2
            for surplus in list(self._corners)[1::2]:
                del self._corners[surplus]
                self._leave(surplus)

    def of_one_size(self) -> tuple[tuple[int, int], dict[int, NDArray[np.float32]]]:
        """The size (height, width) of most pictures, and the corners of the boards in those that have it."""
        sizes = Counter(shape for shape in self._shapes if min(shape) >= 2)
        if not sizes:
            raise CalibrationError(f"expected at least {_MIN_BOARDS} pictures of a chessboard, got none")
        height, width = sizes.most_common(1)[0][0]
        for index, shape in enumerate(self._shapes):
            # A picture a pixel larger, as some tools crop them, still has its pixels where the others have theirs.
            if min(shape) < 2 or abs(shape[0] - height) > 1 or abs(shape[1] - width) > 1:
                self._corners.pop(index, None)
                self.rejected[index] = f"{shape[1]}x{shape[0]} where most pictures are {width}x{height}"
        if len(self._corners) < _MIN_BOARDS:
            raise CalibrationError(
                f"expected at least {_MIN_BOARDS} pictures that show the whole board of "
                f"{self._board[0]}x{self._board[1]} corners, got {len(self._corners)} of {len(self._shapes)}; check "
                "the board's size, or take more pictures at different angles"
            )
        return (height, width), self._corners

    def _leave(self, index: int) -> None:
        self.rejected[index] = f"one of more than {MOST_BOARDS} boards"


def _check_determined(matrix: Any, spread: Any, rotations: Any) -> None:
    """Refuse a camera that the boards leave open: OpenCV then gives one of many that fit as well."""
    normals = np.stack([cv2.Rodrigues(rotation)[0][:, 2] for rotation in rotations])
    tilt = np.degrees(np.arccos(np.clip((normals @ normals.T).min(), -1, 1)))
    share = max(spread[0, 0] / matrix[0, 0], spread[1, 0] / matrix[1, 1])
    if tilt >= _LEAST_TILT and share <= _UNCERTAIN:
        return
    why = (
        f"tilted by {tilt:.1f} degrees at most" if tilt < _LEAST_TILT else f"focal length {100 * share:.0f} % uncertain"
    )
    raise CalibrationError(
        f"these {len(normals)} boards do not determine a camera ({why}): hold the board at different angles, tilted by "
        "30 degrees to each side"
    )
