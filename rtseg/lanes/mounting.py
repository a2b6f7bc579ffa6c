"""Whether a camera sits as its calibration says: pitch and yaw from where lane lines meet, height from their distance.

On a straight road both boundaries of the own lane run to one vanishing point, whatever the mounting is thought to be,
and the vehicle follows them on average: their direction is level and straight ahead, and by what it is not, pitch and
yaw are wrong. How far apart the boundaries are, in heights of the camera, gives its height for lanes of usual width.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rtseg.camera import Camera, Mount
from rtseg.lanes.ego import EgoLane, ego_lane
from rtseg.lanes.ground import GroundPlane
from rtseg.results import Lanes, lanes_at
from rtseg.settings import Settings

UNKNOWN, RIGHT, WRONG = "unknown", "right", "wrong"
"""Verdicts: too little road was seen, or the figures lie at the edge; the mounting fits; it surely does not."""

_LOOK = 0.24  # seconds between frames that are looked at; nearer ones tell the same
_STRETCH = 6  # looks that make one stretch of road
_FEWEST, _MOST = 14, 200  # stretches: about 20 s of straight road with both lines, and five minutes
_FEWEST_LANES = 120  # stretches, three minutes, before a height is called wrong: one lane may be narrow for a while
_ALIKE = 4  # stretches on end that see the same hill, or the same swerve
_BEND = 2.5e-3  # 1 / m; where a road bends more, its lines do not show where it goes
_SURE = 0.5  # confidence of both lines
_LONG = 0.12  # share of the picture's height that both span
_WIDTHS = (1.5, 7.0)  # metres of what may be a lane, even by a wrong mounting
_ROUNDS = 3
_NEAR, _FAR = math.radians(0.3), math.radians(15)  # errors that bend nothing, and that are none of the mounting
_NORMAL, _MEDIAN = 1.4826, 1.2533  # standard deviation by the median deviation; standard error of a median
_SIGMAS = 2.0
_HEIGHT_SIGMAS = 3.0  # one lane that is followed for minutes is one draw of the widths that lanes have

Positive = Annotated[float, Field(gt=0)]


class MountingSettings(Settings):
    """When a mounting is called wrong.

    Attributes:
        lane_width: metres that a lane is wide on the roads that are driven.
        lane_width_spread: standard deviation by which roads differ in that, as a share of it.
        pitch: degrees of error that are borne; hills and load make half of one.
        yaw: degrees of error that are borne.
        height: share of the height that is borne, beside what lane widths leave open.
    """

    lane_width: Positive = 3.5
    lane_width_spread: Positive = 0.3 / 3.5
    pitch: Positive = 1.0
    yaw: Positive = 1.5
    height: Positive = 0.18


@dataclass(frozen=True)
class Watched:
    """One figure of a mounting.

    Attributes:
        configured: as the calibration has it; radians, or metres for the height.
        seen: what the road says, NaN while that is nothing.
        spread: standard deviation of `seen`: how surely it is known, not how much single frames differ.
        verdict: :data:`UNKNOWN`, :data:`RIGHT` or :data:`WRONG`.
    """

    configured: float
    seen: float = math.nan
    spread: float = math.nan
    verdict: str = UNKNOWN


@dataclass(frozen=True)
class Mounting:
    """What the road has said of a camera's mounting so far.

    Attributes:
        configured: the mounting that is watched.
        pitch: as of :class:`rtseg.camera.Mount`, radians.
        yaw: the same.
        height: metres.
        stretches: of straight road with both lines, about 1.5 s each, on which this rests.
    """

    configured: Mount
    pitch: Watched
    yaw: Watched
    height: Watched
    stretches: int

    @property
    def figures(self) -> dict[str, tuple[Watched, float, int]]:
        """By the field of a calibration file: the figure, the factor to the field's unit, and digits worth telling."""
        degree = math.degrees(1)
        return {
            "pitch_deg": (self.pitch, degree, 1),
            "yaw_deg": (self.yaw, degree, 1),
            "height_m": (self.height, 1.0, 2),
        }

    @property
    def verdict(self) -> str:
        """:data:`WRONG` if a figure is, :data:`RIGHT` if all are, else :data:`UNKNOWN`."""
        verdicts = {figure.verdict for figure, _, _ in self.figures.values()}
        return WRONG if WRONG in verdicts else RIGHT if verdicts == {RIGHT} else UNKNOWN

    @property
    def correction(self) -> Mount:
        """The mounting with what is surely wrong set to what the road says."""
        figures = {"pitch": self.pitch, "yaw": self.yaw, "height": self.height}
        changes = {name: figure.seen for name, figure in figures.items() if figure.verdict == WRONG}
        return replace(self.configured, **changes)  # type: ignore[arg-type]

    def describe(self) -> str:
        """A sentence for people; of a wrong mounting also what to do, with the fields of the calibration file."""
        if self.stretches < _FEWEST:
            return f"not enough road seen yet: {self.stretches} of {_FEWEST} straight stretches with both lines"
        told = "; ".join(
            f"{name} {scale * figure.seen:.{digits}f} +- {scale * figure.spread:.{digits}f}, configured "
            f"{scale * figure.configured:.{digits}f}"
            for name, (figure, scale, digits) in self.figures.items()
        )
        cures = [
            f"{name}: {scale * figure.seen:.{digits}f}"
            for name, (figure, scale, digits) in self.figures.items()
            if figure.verdict == WRONG
        ]
        if cures:
            return (
                f"the camera's mounting is not as configured (seen {told}): fasten the camera, or set "
                f"{', '.join(cures)} (in rtseg_extrinsics of a camera file)"
            )
        verdict = "fits the road" if self.verdict == RIGHT else "cannot be judged surely"
        return f"the camera's mounting {verdict} (seen {told})"


class MountingWatch:
    """Watches the mounting of one camera by the lanes that are found in its frames; a few kilobytes, however long.

    Args:
        settings: when a mounting is called wrong.

    Example:
        >>> watch = MountingWatch()
        >>> watch.mounting is None  # no frame yet
        True
    """

    def __init__(self, settings: MountingSettings | None = None) -> None:
        self._settings = settings or MountingSettings()
        self._camera: Camera | None = None
        self._plane: GroundPlane | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the road seen so far, as when a camera was mounted anew."""
        self._last: int | None = None
        self._looks: list[NDArray[np.float64]] = []
        self._stretches: deque[NDArray[np.float64]] = deque(maxlen=_MOST)
        self._told: Mounting | None = None

    def update(self, lanes: Lanes, camera: Camera) -> None:
        """Look at the lanes of the next frame of a stream; another camera than before starts anew.

        Args:
            lanes: of a frame, of any size; stills tell nothing, nor does a vehicle that stands or a camera at fault.
            camera: with the mounting that is watched.
        """
        if self._camera is not camera and self._camera != camera:
            self.reset()
            self._plane = None
        self._camera = camera
        if lanes.stamp is None or not lanes.moving or lanes.degraded:
            return
        if self._last is not None and 0 <= lanes.stamp - self._last < 1e9 * _LOOK:
            return
        self._last = lanes.stamp
        height, width = lanes.mask.shape
        if self._plane is None or (self._plane.camera.width, self._plane.camera.height) != (width, height):
            self._plane = GroundPlane(camera.scaled(width, height))
        look = _look(_clear(lanes), self._plane)
        if look is None:
            return
        self._looks.append(look)
        if len(self._looks) == _STRETCH:
            self._stretches.append(np.median(self._looks, axis=0))
            self._looks.clear()
            self._told = None

    @property
    def mounting(self) -> Mounting | None:
        """What the road has said so far; None before the first frame."""
        if self._told is None and self._camera is not None:
            self._told = self._judge(self._camera.mount)
        return self._told

    def _judge(self, mount: Mount) -> Mounting:
        count, settings = len(self._stretches), self._settings
        pitch, yaw, height = (Watched(number) for number in (mount.pitch, mount.yaw, mount.height))
        if count >= _FEWEST:
            seen = np.array(self._stretches)
            middle = np.median(seen, axis=0)
            deviation = _NORMAL * np.median(np.abs(seen - middle), axis=0)
            spread = _MEDIAN * deviation / math.sqrt(count / _ALIKE)
            down, left, heights = middle.tolist()
            pitch = _watched(mount.pitch, down, spread[0], math.radians(settings.pitch))
            yaw = _watched(mount.yaw, left, spread[1], math.radians(settings.yaw))
            true = settings.lane_width / heights
            share = math.hypot(settings.lane_width_spread, spread[2] / heights)
            height = _watched(mount.height, true, true * share, mount.height * settings.height, _HEIGHT_SIGMAS)
            if height.verdict == WRONG and count < _FEWEST_LANES:
                height = replace(height, verdict=UNKNOWN)
        return Mounting(mount, pitch, yaw, height, count)


def _watched(configured: float, seen: float, spread: float, borne: float, sigmas: float = _SIGMAS) -> Watched:
    off = abs(seen - configured)
    verdict = UNKNOWN
    if off > borne + sigmas * spread:
        verdict = WRONG
    elif off <= borne + spread and spread <= borne / 2:
        verdict = RIGHT
    return Watched(configured, seen, float(spread), verdict)


def _clear(lanes: Lanes) -> Lanes:
    """Those lines that are sure, and seen for long enough to tell where they go."""
    height = lanes.mask.shape[0]
    spans = [len(line) and line[-1, 1] - line[0, 1] >= _LONG * height for line in lanes.polylines]
    return lanes_at(lanes, (lanes.confidence >= _SURE) & np.array(spans, dtype=np.bool_))


def _look(lanes: Lanes, plane: GroundPlane) -> NDArray[np.float64] | None:
    """How the camera is mounted by one frame: (3,) pitch and yaw in radians, the lane's width in heights of the camera.

    By a mounting that is far off, a straight road bends; so the lane is looked at again by the one that it shows. None
    where there is no straight lane to be seen.
    """
    camera = plane.camera
    for _ in range(_ROUNDS):
        lane = ego_lane(lanes, plane)
        if not (lane.left and lane.right) or not _WIDTHS[0] < lane.width < _WIDTHS[1]:
            return None
        up, aside, width = _direction(lane, camera.mount)
        if abs(up) > _FAR or abs(aside) > _FAR:
            return None
        camera = replace(
            camera, mount=replace(camera.mount, pitch=camera.mount.pitch + up, yaw=camera.mount.yaw - aside)
        )
        if max(abs(up), abs(aside)) < _NEAR:
            break
        plane = GroundPlane(camera)
    return np.array([camera.mount.pitch, camera.mount.yaw, width]) if abs(lane.curvature) <= _BEND else None


def _direction(lane: EgoLane, mount: Mount) -> tuple[float, float, float]:
    """Where a straight lane runs to by a mounting, radians up and to the left; its width in heights of the camera."""
    eye = np.array([*mount.position, mount.height])
    # Each boundary lies in a plane through the eye; where these planes meet, the lane runs to.
    left, right = (
        np.cross([1.0, slope, 0.0], np.array([0.0, start, 0.0]) - eye)
        for start, slope in zip((lane.left_distance, -lane.right_distance), lane.slopes, strict=True)
    )
    ahead = np.cross(right, left)
    ahead = ahead / (np.linalg.norm(ahead) * (1 if ahead[0] > 0 else -1))
    # Across and above the road, not the vehicle: the width does not depend on the mounting that is thought of.
    across = np.array([-ahead[1], ahead[0], 0.0]) / math.hypot(ahead[0], ahead[1])
    above = np.cross(ahead, across)
    width = (left @ above) / (left @ across) - (right @ above) / (right @ across)
    return math.asin(ahead[2]), math.atan2(ahead[1], ahead[0]), float(width)
