"""A camera with its lens, where it is mounted, and its YAML file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from rtseg.camera.lens import COEFFICIENTS, PLUMB_BOB, lens_of
from rtseg.errors import CalibrationError, MediaError
from rtseg.files import write_text
from rtseg.yaml_text import read_yaml


@dataclass(frozen=True)
class Mount:
    """Where the camera sits: the vehicle frame is x forward, y left, z up, with its origin on the ground.

    Attributes:
        height: metres above the ground.
        pitch: radians, positive looks down.
        roll: radians, positive lowers the right side.
        yaw: radians, positive looks left.
        position: metres (forward, left) from the vehicle frame's origin.
    """

    height: float = 1.5
    pitch: float = 0.0
    roll: float = 0.0
    yaw: float = 0.0
    position: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        numbers = (self.height, self.pitch, self.roll, self.yaw, *self.position)
        if len(self.position) != 2 or not all(math.isfinite(number) for number in numbers) or self.height <= 0:
            raise CalibrationError(
                f"expected a mount with finite angles, position (x, y) and height over 0, got {self}"
            )

    def rotation(self) -> NDArray[np.float64]:
        """(3, 3) matrix from the camera's optical axes (x right, y down, z forward) to the vehicle frame's."""
        cr, sr = math.cos(self.roll), math.sin(self.roll)
        cp, sp = math.cos(self.pitch), math.sin(self.pitch)
        cy, sy = math.cos(self.yaw), math.sin(self.yaw)
        roll = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
        pitch = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        yaw = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
        return yaw @ pitch @ roll @ np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


# Of no lens, and too far out to compute with: focal lengths and the principal point in sides of the image, which may be
# a small part of a sensor's; distortion's coefficients.
_SHORTEST, _LONGEST, _STRONGEST = 0.01, 1e3, 1e9


@dataclass(frozen=True)
class Camera:
    """Intrinsics in pixels of an image of `width` x `height`, and the mount.

    Attributes:
        width: image width.
        height: image height.
        K: (3, 3) float64, ``[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]``; pixel centers are whole numbers.
        distortion: float64 coefficients of the lens in the order of ROS (:data:`rtseg.camera.lens.COEFFICIENTS`).
        mount: where the camera sits on the vehicle.
        name: name of the camera.
        distortion_model: ``plumb_bob``, ``rational_polynomial`` or ``equidistant``, as ROS calls them.
    """

    width: int
    height: int
    K: NDArray[np.float64]
    distortion: NDArray[np.float64] = field(default_factory=lambda: np.zeros(5))
    mount: Mount = field(default_factory=Mount)
    name: str = "camera"
    distortion_model: str = PLUMB_BOB

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise CalibrationError(f"expected a camera image of at least 1x1, got {self.width}x{self.height}")
        matrix, distortion = np.array(self.K, np.float64), np.array(self.distortion, np.float64).ravel()
        count = COEFFICIENTS.get(self.distortion_model)
        if count is None:
            raise CalibrationError(
                f"expected a distortion_model of {', '.join(COEFFICIENTS)}, got {self.distortion_model!r}"
            )
        if matrix.shape != (3, 3) or distortion.shape != (count,):
            raise CalibrationError(
                f"expected a 3x3 camera matrix and {count} distortion coefficients, got {matrix.shape} and "
                f"{distortion.shape}"
            )
        if not (np.isfinite(matrix).all() and np.isfinite(distortion).all()):
            raise CalibrationError("expected finite camera parameters, got NaN or infinite values")
        if matrix[0, 0] <= 0 or matrix[1, 1] <= 0 or matrix[2].tolist() != [0, 0, 1] or matrix[1, 0] or matrix[0, 1]:
            raise CalibrationError(
                "expected a camera matrix [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with fx and fy over 0, got "
                f"{matrix.tolist()}"
            )
        size = np.array([self.width, self.height])
        focal, center = np.diag(matrix)[:2] / size, np.abs(matrix[:2, 2]) / size
        too_far = max(focal.max(), center.max()) > _LONGEST or np.abs(distortion).max() > _STRONGEST
        if focal.min() < _SHORTEST or too_far:
            raise CalibrationError(
                f"expected the intrinsics of a lens before an image of {self.width}x{self.height}, got fx, fy, cx, cy "
                f"{[*np.diag(matrix)[:2].tolist(), *matrix[:2, 2].tolist()]} and distortion {distortion.tolist()}"
            )
        matrix.flags.writeable = distortion.flags.writeable = False
        object.__setattr__(self, "K", matrix)
        object.__setattr__(self, "distortion", distortion)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Camera):
            return NotImplemented
        mine, theirs = ((c.width, c.height, c.mount, c.name, c.distortion_model) for c in (self, other))
        return mine == theirs and np.array_equal(self.K, other.K) and np.array_equal(self.distortion, other.distortion)

    __hash__ = None  # type: ignore[assignment]

    def scaled(self, width: int, height: int) -> Camera:
        """Give the same camera for its image resized to `width` x `height`.

        Raises:
            CalibrationError: if the size is not at least 1x1.

        Example:
            >>> camera = Camera(1280, 720, np.array([[900.0, 0, 639.5], [0, 900, 359.5], [0, 0, 1]]))
            >>> camera.scaled(640, 360).K[:2].tolist()
            [[450.0, 0.0, 319.5], [0.0, 450.0, 179.5]]
        """
        sx, sy = width / self.width, height / self.height
        matrix = self.K.copy()
        matrix[0, 0] *= sx
        matrix[1, 1] *= sy
        # Pixel (0, 0) is the center of the first pixel: its corner (-0.5, -0.5) is what stays in place.
        matrix[0, 2] = (matrix[0, 2] + 0.5) * sx - 0.5
        matrix[1, 2] = (matrix[1, 2] + 0.5) * sy - 0.5
        return replace(self, width=width, height=height, K=matrix)

    @classmethod
    def load(cls, path: str | Path) -> Camera:
        """Read a camera file: ROS camera_info YAML and, optionally, a block ``rtseg_extrinsics``.

        Args:
            path: of the file.

        Raises:
            CalibrationError: if the file cannot be read or a field is missing, unknown or wrong; it names the field.
        """
        try:
            content = read_yaml(Path(path))
        except (OSError, yaml.YAMLError) as error:
            raise CalibrationError(f"expected a camera YAML file at {path}: {error}") from error
        try:
            return _parse(content)
        except CalibrationError as error:
            raise CalibrationError(f"{path}: {error}") from error

    def save(self, path: str | Path, comment: str = "") -> None:
        """Write the camera as YAML that ROS's camera_info_manager reads too.

        Args:
            path: file to write.
            comment: goes above it.

        Raises:
            CalibrationError: if the file cannot be written.
        """
        projection = np.hstack([self.K, np.zeros((3, 1))])
        content = {
            "image_width": self.width,
            "image_height": self.height,
            "camera_name": self.name,
            "camera_matrix": _matrix(self.K),
            "distortion_model": self.distortion_model,
            "distortion_coefficients": _matrix(self.distortion[None]),
            "rectification_matrix": _matrix(np.eye(3)),
            "projection_matrix": _matrix(projection),
            "rtseg_extrinsics": {
                "height_m": float(self.mount.height),
                "pitch_deg": _degrees(self.mount.pitch),
                "roll_deg": _degrees(self.mount.roll),
                "yaw_deg": _degrees(self.mount.yaw),
                "forward_m": float(self.mount.position[0]),
                "left_m": float(self.mount.position[1]),
            },
        }
        text = "".join(f"# {line}\n" for line in comment.splitlines())
        text += yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=120)
        try:
            write_text(path, text)
        except MediaError as error:
            raise CalibrationError(f"the camera file {path} cannot be written: {error}") from error


def _degrees(radians: float) -> float:
    return round(math.degrees(radians), 12)


def _matrix(values: NDArray[np.float64]) -> dict[str, Any]:
    return {"rows": values.shape[0], "cols": values.shape[1], "data": [float(value) for value in values.ravel()]}


_FIELDS = {
    "image_width",
    "image_height",
    "camera_name",
    "camera_matrix",
    "distortion_model",
    "distortion_coefficients",
    "rectification_matrix",
    "projection_matrix",
    "binning_x",
    "binning_y",
    "roi",
}
_EXTRINSICS = ("height_m", "pitch_deg", "roll_deg", "yaw_deg", "forward_m", "left_m")


def _parse(content: object) -> Camera:
    if not isinstance(content, dict):
        raise CalibrationError(f"expected a mapping as ROS camera_info YAML has it, got {type(content).__name__}")
    unknown = [str(key) for key in content if key not in _FIELDS and key != "rtseg_extrinsics"]
    if unknown:
        raise CalibrationError(
            f"unknown field {unknown[0]}; expected those of ROS camera_info YAML and rtseg_extrinsics"
        )
    model = content.get("distortion_model", "plumb_bob")
    lens, distortion = lens_of(str(model), _array(content, "distortion_coefficients", None).ravel())
    width, height = (_number(content, key) for key in ("image_width", "image_height"))
    if width != int(width) or height != int(height):
        raise CalibrationError(f"expected whole image_width and image_height, got {width} and {height}")
    extrinsics = content.get("rtseg_extrinsics")
    return Camera(
        width=int(width),
        height=int(height),
        K=_array(content, "camera_matrix", (3, 3)),
        distortion=distortion,
        mount=Mount() if extrinsics is None else _parse_mount(extrinsics),
        name=str(content.get("camera_name", "camera")),
        distortion_model=lens,
    )


def _parse_mount(content: object) -> Mount:
    if not isinstance(content, dict) or "height_m" not in content:
        raise CalibrationError("expected rtseg_extrinsics to be a mapping with at least height_m")
    unknown = [str(key) for key in content if key not in _EXTRINSICS]
    if unknown:
        raise CalibrationError(f"unknown field rtseg_extrinsics.{unknown[0]}; expected {', '.join(_EXTRINSICS)}")
    height, pitch, roll, yaw, forward, left = (_number(content, key, 0.0) for key in _EXTRINSICS)
    return Mount(height, math.radians(pitch), math.radians(roll), math.radians(yaw), (forward, left))


def _number(content: dict[str, Any], key: str, default: float | None = None) -> float:
    value = content.get(key, default)
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
    except OverflowError:  # a whole number of hundreds of digits
        number = math.inf
    if not math.isfinite(number):
        raise CalibrationError(f"expected a finite number for {key}, got {value!r:.60}")
    return number


def _array(content: dict[str, Any], key: str, shape: tuple[int, int] | None) -> NDArray[np.float64]:
    block = content.get(key)
    try:
        rows, columns, data = int(block["rows"]), int(block["cols"]), block["data"]  # type: ignore[index]
        values = np.array(data, np.float64).reshape(rows, columns)
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise CalibrationError(
            f"expected {key} with rows, cols and rows x cols numbers in data, got {block!r:.300}"
        ) from error
    if shape is not None and values.shape != shape:
        raise CalibrationError(f"expected {key} of {shape[0]}x{shape[1]}, got {rows}x{columns}")
    return values
