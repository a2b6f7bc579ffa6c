"""Points as sensor_msgs/PointCloud2 holds them, and lane lines in pixels, which need no calibration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.results import Lanes

PIXEL_TYPE = np.dtype([("u", "<f4"), ("v", "<f4"), ("id", "<u4"), ("confidence", "<f4"), ("solid", "<f4")])
"""A point of ``lane_pixels``: column and row, (0, 0) the center of the first pixel; its lane's id, confidence, and how
probable it is that the lane line is solid and not dashed, NaN where that is not known."""

_DATATYPES = {"<f4": 7, "<u4": 6}  # FLOAT32 and UINT32 of sensor_msgs/PointField


def point_fields(kind: np.dtype[np.void]) -> list[tuple[str, int, int]]:
    """Name, offset and datatype of the sensor_msgs/PointFields of points of a structured dtype."""
    columns = [(name, kind.fields[name]) for name in kind.names or () if kind.fields]
    return [(name, int(column[1]), _DATATYPES[column[0].str]) for name, column in columns]


def lane_pixels(lanes: Lanes) -> NDArray[np.void]:
    """``lane_pixels``: the points of all lanes' polylines, (n,) of :data:`PIXEL_TYPE`, lane after lane."""
    counts = [len(line) for line in lanes.polylines]
    cloud = np.zeros(sum(counts), dtype=PIXEL_TYPE)
    if len(cloud):
        stacked = np.concatenate(list(lanes.polylines))
        cloud["u"], cloud["v"] = stacked[:, 0], stacked[:, 1]
        cloud["id"] = np.repeat(lanes.ids, counts)
        cloud["confidence"] = np.repeat(lanes.confidence, counts)
        cloud["solid"] = np.nan if lanes.solid is None else np.repeat(lanes.solid, counts)
    return cloud
