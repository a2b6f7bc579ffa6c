"""What comes out of the pipeline: lanes or instances, in the pixels of the input image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Lanes:
    """Lane lines found in one frame.

    Row i of `ids`, `confidence` and `polylines` describes one lane line, ordered from left to right by where the line
    meets the bottom of the image.

    Attributes:
        mask: (H, W) uint8, the lane id at each pixel, 0 where there is no lane.
        ids: (n,) int32 lane ids, 1..255; in a stream a line keeps its id from frame to frame while it stays visible.
        confidence: (n,) float32 in [0, 1].
        polylines: n arrays (k, 2) float32 of (x, y) in pixels, y strictly increasing (top to bottom).
        stamp: stamp of the frame, nanoseconds; None for a still.
        frame_id: coordinate frame of the camera.
        times: milliseconds spent in each stage, in the order the stages ran.
        restart: why ids start anew with this frame of a stream, of :mod:`rtseg.runtime.scenes`; empty where they go on.
        solid: (n,) float32, how probable it is that a line is solid and not dashed, from the picture along it; NaN
            where that cannot be told. None where the picture was on a GPU alone.
        degraded: what is wrong with the camera's pictures, of :data:`rtseg.camera.state.FAULTS`; the confidence is the
            lower for it. Empty where nothing is, and for stills.
        moving: whether the picture changes as it does while one drives; None where that cannot be told, as of a still.
    """

    mask: NDArray[np.uint8]
    ids: NDArray[np.int32]
    confidence: NDArray[np.float32]
    polylines: tuple[NDArray[np.float32], ...]
    stamp: int | None = None
    frame_id: str = ""
    times: dict[str, float] = field(default_factory=dict)
    restart: str = ""
    solid: NDArray[np.float32] | None = None
    degraded: tuple[str, ...] = ()
    moving: bool | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def markings(self) -> tuple[str, ...]:
        """Of each line ``solid`` or ``dashed`` where one is four times as probable as the other, else empty."""
        solid = np.full(len(self.ids), np.nan) if self.solid is None else self.solid
        return tuple("solid" if p >= 0.8 else "dashed" if p <= 0.2 else "" for p in solid.tolist())

    @property
    def sides(self) -> NDArray[np.int32]:
        """(n,) int32, which line each is, counted from the middle of the image's bottom.

        -1 bounds the own lane on the left, -2 the lane left of it; 1 bounds it on the right, 2 the lane right of it.
        Lines are drawn out straight to the bottom. :func:`rtseg.lanes.ego_lane` allows for a camera that looks aside or
        sits off the vehicle's middle.
        """
        height, width = self.mask.shape
        lefts = sum(bottom_x(line, height) < (width - 1) / 2 for line in self.polylines)
        places = np.arange(len(self.polylines), dtype=np.int32) - np.int32(lefts)
        return np.where(places < 0, places, places + 1).astype(np.int32)

    def sample(self, heights: NDArray[np.floating] | list[float]) -> NDArray[np.float64]:
        """Give the x of every lane at the given image rows.

        Args:
            heights: (m,) rows in pixels, any order.

        Returns:
            (n, m) float64 x in pixels, NaN where a lane does not reach that row.

        Example:
            >>> line = np.array([[10, 20], [30, 60]], np.float32)
            >>> lanes = Lanes(np.zeros((80, 80), np.uint8), np.int32([1]), np.float32([0.9]), (line,))
            >>> lanes.sample([40, 70]).tolist()
            [[20.0, nan]]
        """
        rows = np.asarray(heights, dtype=np.float64)
        sampled = np.full((len(self.polylines), rows.size), np.nan)
        for i, line in enumerate(self.polylines):
            if len(line):
                sampled[i] = np.interp(rows, line[:, 1], line[:, 0], left=np.nan, right=np.nan)
        return sampled


def lanes_at(lanes: Lanes, kept: NDArray[np.intp] | NDArray[np.bool_]) -> Lanes:
    """Give some of the lanes; the mask stays as it is.

    Args:
        lanes: of which to choose.
        kept: (m,) indices, or (n,) bool.
    """
    lines = tuple(lanes.polylines[i] for i in np.arange(len(lanes))[kept])
    solid = None if lanes.solid is None else lanes.solid[kept]
    return replace(lanes, ids=lanes.ids[kept], confidence=lanes.confidence[kept], polylines=lines, solid=solid)


def bottom_x(polyline: NDArray[np.float32], height: int) -> float:
    """Give the x at which a line, drawn out straight from its lower part, meets an image's bottom; NaN if empty.

    Args:
        polyline: (n, 2) float32 points (x, y) in pixels, from the top.
        height: of the image in pixels.
    """
    if not len(polyline):
        return float("nan")
    lower = polyline[-max(2, height // 12) :]
    (x0, y0), (x1, y1) = lower[0].tolist(), lower[-1].tolist()
    slope = (x1 - x0) / (y1 - y0) if y1 > y0 else 0.0
    return x1 + slope * (height - 1 - y1)


@dataclass(frozen=True)
class Instances:
    """Objects found in one frame; row i of every per-instance array describes label i + 1.

    Attributes:
        labels: (H, W) int32, the instance label at each pixel, 0 where there is none, consecutive 1..n.
        ids: (n,) int32 ids that stay with an object through the frames of a stream; 1..n in a still.
        class_ids: (n,) int32 indices into the card's classes.
        scores: (n,) float32 in [0, 1].
        boxes: (n, 4) float32 (x0, y0, x1, y1), x1 and y1 exclusive.
        areas: (n,) int64 pixels.
        centers: (n, 2) float32 (x, y) mean of the mask's pixels.
        stamp: stamp of the frame, nanoseconds; None for a still.
        frame_id: coordinate frame of the camera.
        times: milliseconds spent in each stage.
        restart: why ids start anew with this frame, as in :class:`Lanes`.
        degraded: what is wrong with the camera's pictures, as in :class:`Lanes`.
        drivable: (H, W) bool, pixels of the classes that the card calls drivable; None where it names none.
    """

    labels: NDArray[np.int32]
    ids: NDArray[np.int32]
    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    areas: NDArray[np.int64]
    centers: NDArray[np.float32]
    stamp: int | None = None
    frame_id: str = ""
    times: dict[str, float] = field(default_factory=dict)
    restart: str = ""
    drivable: NDArray[np.bool_] | None = None
    degraded: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


def class_name(classes: Sequence[str], class_id: int) -> str:
    """Give the name of a class; its number where there is none.

    Args:
        classes: names by class id.
        class_id: from 0.
    """
    return classes[class_id] if class_id < len(classes) else str(class_id)
