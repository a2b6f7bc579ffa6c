"""Between ROS messages and arrays, with one copy at most each way."""

from __future__ import annotations

import array
import json
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header, String
from visualization_msgs.msg import Marker, MarkerArray

from rtseg.errors import ImageError
from rtseg.frame import Frame, RawImage, check_image
from rtseg.media.compressed import decode_compressed
from rtseg.media.encodings import MAX_MESSAGE_PIXELS, raw_image
from rtseg.results import Lanes

try:
    from vision_msgs.msg import LabelInfo, VisionClass
except ImportError:
    LabelInfo = None

LABEL_INFO_TYPE = LabelInfo or String
"""vision_msgs/LabelInfo where that package is installed, else the same content as JSON in a std_msgs/String."""

POINT_TYPE = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("id", "<u4")])

_POINT_FIELDS = [
    PointField(name="x", offset=0, datatype=PointField.FLOAT32, count=1),
    PointField(name="y", offset=4, datatype=PointField.FLOAT32, count=1),
    PointField(name="z", offset=8, datatype=PointField.FLOAT32, count=1),
    PointField(name="id", offset=12, datatype=PointField.UINT32, count=1),
]


def nanoseconds(stamp: Time) -> int:
    """A stamp as whole nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def stamp_of(nanoseconds: int) -> Time:
    """Whole nanoseconds as a stamp."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return Time(sec=seconds, nanosec=rest)


def to_frame(message: Image | CompressedImage, max_pixels: int = MAX_MESSAGE_PIXELS) -> Frame:
    """Decode a compressed image message; a raw one is viewed, and converted when the picture is asked for.

    Raises:
        ImageError: if size, step, encoding and data do not fit together.
    """
    pixels: NDArray[np.uint8] | RawImage
    if isinstance(message, CompressedImage):
        pixels = check_image(decode_compressed(message.format, message.data, max_pixels))
    else:
        pixels = raw_image(
            message.encoding, message.height, message.width, message.step, message.data, message.is_bigendian
        )
    return Frame(pixels, nanoseconds(message.header.stamp), message.header.frame_id)


def to_image(pixels: NDArray[np.uint8] | NDArray[np.uint16], encoding: str, header: Header) -> Image:
    """Make an image message of a (H, W) or (H, W, C) array."""
    message = Image(header=header, height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.step = pixels.itemsize * pixels[0].size
    message.data = _bytes_of(pixels)
    return message


def to_jpeg(image: NDArray[np.uint8], quality: int, header: Header) -> CompressedImage:
    """Make a compressed image message of a (H, W, 3) BGR array."""
    done, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ImageError(f"could not encode an image of shape {image.shape} as JPEG")
    return CompressedImage(header=header, format="bgr8; jpeg compressed bgr8", data=_bytes_of(encoded))


def to_markers(
    lanes: Lanes, ground: Sequence[NDArray[np.floating]], colors: Sequence[Sequence[float]], header: Header
) -> MarkerArray:
    """Draw each lane as a line strip on the ground, after taking away those of the frame before.

    Args:
        lanes: the lanes of one frame.
        ground: n arrays (k, 3), metres in the frame of `header`, without NaN.
        colors: n colors (red, green, blue), 0..1.
        header: the frame's stamp with the vehicle's coordinate frame.
    """
    markers = [Marker(header=header, ns="lanes", action=Marker.DELETEALL)]
    for lane_id, confidence, points, color in zip(lanes.ids, lanes.confidence, ground, colors, strict=True):
        if len(points) < 2:
            continue
        marker = Marker(header=header, ns="lanes", id=int(lane_id), type=Marker.LINE_STRIP, action=Marker.ADD)
        marker.pose.orientation.w = 1.0
        marker.scale.x = 0.15
        red, green, blue = color
        marker.color = ColorRGBA(r=red, g=green, b=blue, a=0.3 + 0.7 * float(confidence))
        marker.lifetime = Duration(sec=1)
        marker.points = [Point(x=x, y=y, z=z) for x, y, z in points.tolist()]
        markers.append(marker)
    return MarkerArray(markers=markers)


def to_points(lanes: Lanes, ground: Sequence[NDArray[np.floating]], header: Header) -> PointCloud2:
    """All lanes' ground points as one cloud of `POINT_TYPE`, row order from left lane to right."""
    counts = [len(points) for points in ground]
    cloud = np.zeros(sum(counts), dtype=POINT_TYPE)
    if len(cloud):
        stacked = np.concatenate(list(ground))
        for axis, name in enumerate("xyz"):
            cloud[name] = stacked[:, axis]
        cloud["id"] = np.repeat(lanes.ids, counts)
    return PointCloud2(
        header=header,
        height=1,
        width=len(cloud),
        fields=_POINT_FIELDS,
        is_bigendian=False,
        point_step=POINT_TYPE.itemsize,
        row_step=cloud.nbytes,
        data=_bytes_of(cloud.view(np.uint8)),
        is_dense=True,
    )


def to_label_info(names: dict[int, str], threshold: float, header: Header) -> Any:
    """Tell what the values of a mask mean, as `LABEL_INFO_TYPE`."""
    if LabelInfo is not None:
        classes = [VisionClass(class_id=value, class_name=name) for value, name in names.items()]
        return LabelInfo(header=header, class_map=classes, threshold=threshold)
    content = {
        "threshold": threshold,
        "class_map": [{"class_id": value, "class_name": name} for value, name in names.items()],
    }
    return String(data=json.dumps(content))


def look_up(labels: NDArray[np.int32], values: NDArray[Any], dtype: type) -> NDArray[Any]:
    """Replace label i + 1 of (H, W) int32 by values[i], 0 staying 0."""
    table: NDArray[Any] = np.zeros(len(values) + 1, dtype=dtype)
    table[1:] = values
    return np.asarray(np.take(table, labels))


def with_frame(header: Header, frame_id: str) -> Header:
    """The same stamp in another coordinate frame."""
    return Header(stamp=header.stamp, frame_id=frame_id)


def _bytes_of(pixels: NDArray[Any]) -> array.array[int]:
    # rclpy copies an array('B') in one go; anything else goes through it byte by byte.
    data = array.array("B")
    if pixels.size:
        data.frombytes(np.ascontiguousarray(pixels).data.cast("B"))
    return data
