"""Between ROS messages and arrays, with one copy at most each way."""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion
from nav_msgs.msg import MapMetaData, OccupancyGrid, Path
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header, String
from visualization_msgs.msg import Marker, MarkerArray

from rtseg.frame import Frame, RawImage, check_image
from rtseg.media.compressed import decode_compressed
from rtseg.media.encodings import MAX_MESSAGE_PIXELS, raw_image
from rtseg.messages import JPEG_FORMAT, Detection, Grid, LaneMarker, Mask, jpeg_bytes, label_text, point_fields

try:
    from vision_msgs.msg import (
        Detection2D,
        Detection2DArray,
        LabelInfo,
        ObjectHypothesis,
        ObjectHypothesisWithPose,
        VisionClass,
    )
except ImportError:
    Detection2DArray = LabelInfo = None

LABEL_INFO_TYPE = LabelInfo or String
"""vision_msgs/LabelInfo where that package is installed, else the same content as JSON in a std_msgs/String."""


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


def to_mask(mask: Mask, header: Header) -> Image:
    """Make an image message of a mask."""
    return to_image(mask.pixels, mask.encoding, header)


def to_png(mask: Mask, header: Header) -> CompressedImage:
    """Make a compressed image message of a mask, every value as it is."""
    return CompressedImage(header=header, format=mask.png_format, data=_bytes_of(mask.png_bytes()))


def to_jpeg(image: NDArray[np.uint8], quality: int, header: Header) -> CompressedImage:
    """Make a compressed image message of a (H, W, 3) BGR array."""
    return CompressedImage(header=header, format=JPEG_FORMAT, data=_bytes_of(jpeg_bytes(image, quality)))


def to_markers(markers: Sequence[LaneMarker], header: Header) -> MarkerArray:
    """Draw each lane as a line strip on the ground, after taking away those of the frame before.

    Args:
        markers: of the lanes of one frame.
        header: the frame's stamp with the vehicle's coordinate frame.
    """
    made = [Marker(header=header, ns="lanes", action=Marker.DELETEALL)]
    for lane in markers:
        marker = Marker(header=header, ns=lane.namespace, id=lane.id, type=Marker.LINE_STRIP, action=Marker.ADD)
        marker.pose.orientation.w = 1.0
        marker.scale.x = lane.width
        red, green, blue, alpha = lane.color
        marker.color = ColorRGBA(r=red, g=green, b=blue, a=alpha)
        marker.lifetime = Duration(sec=lane.lifetime)
        marker.points = [Point(x=x, y=y, z=z) for x, y, z in lane.points.tolist()]
        marker.text = lane.text
        made.append(marker)
    return MarkerArray(markers=made)


def to_points(cloud: NDArray[np.void], header: Header) -> PointCloud2:
    """A cloud of a type of :mod:`rtseg.messages`; of rows and columns an organized one, NaN where it has no point."""
    height, width = cloud.shape if cloud.ndim == 2 else (1, len(cloud))
    return PointCloud2(
        header=header,
        height=height,
        width=width,
        fields=[
            PointField(name=name, offset=at, datatype=kind, count=1) for name, at, kind in point_fields(cloud.dtype)
        ],
        is_bigendian=False,
        point_step=cloud.dtype.itemsize,
        row_step=width * cloud.dtype.itemsize,
        data=_bytes_of(cloud.view(np.uint8)),
        is_dense=cloud.ndim == 1,
    )


def to_path(path: NDArray[np.float64], header: Header) -> Path:
    """A path on the ground of (k, 3) x, y and direction; without points it takes away what was told before."""
    half = path[:, 2] / 2
    turned = zip(path[:, :2].tolist(), np.sin(half).tolist(), np.cos(half).tolist(), strict=True)
    poses = [Pose(position=Point(x=x, y=y), orientation=Quaternion(z=z, w=w)) for (x, y), z, w in turned]
    return Path(header=header, poses=[PoseStamped(header=header, pose=pose) for pose in poses])


def to_grid(grid: Grid, header: Header) -> OccupancyGrid:
    """A grid on the ground."""
    height, width = grid.cells.shape
    info = MapMetaData(map_load_time=header.stamp, resolution=grid.resolution, width=width, height=height)
    info.origin.position.x, info.origin.position.y = grid.origin
    return OccupancyGrid(header=header, info=info, data=array.array("b", grid.cells.tobytes()))


def to_detections(detections: Sequence[Detection], header: Header) -> Any:
    """Tell objects as a vision_msgs/Detection2DArray; only where that package is installed."""
    made = []
    for each in detections:
        hypothesis = ObjectHypothesis(class_id=each.class_id, score=each.score)
        found = Detection2D(header=header, id=each.id, results=[ObjectHypothesisWithPose(hypothesis=hypothesis)])
        found.bbox.center.position.x, found.bbox.center.position.y = each.center
        found.bbox.size_x, found.bbox.size_y = each.size
        made.append(found)
    return Detection2DArray(header=header, detections=made)


def to_label_info(names: dict[int, str], threshold: float, header: Header) -> Any:
    """Tell what the values of a mask mean, as `LABEL_INFO_TYPE`."""
    if LabelInfo is not None:
        classes = [VisionClass(class_id=value, class_name=name) for value, name in names.items()]
        return LabelInfo(header=header, class_map=classes, threshold=threshold)
    return String(data=label_text(names, threshold))


def with_frame(header: Header, frame_id: str) -> Header:
    """The same stamp in another coordinate frame."""
    return Header(stamp=header.stamp, frame_id=frame_id)


def _bytes_of(pixels: NDArray[Any]) -> array.array[int]:
    # rclpy copies an array('B') in one go; anything else goes through it byte by byte.
    data = array.array("B")
    if pixels.size:
        data.frombytes(np.ascontiguousarray(pixels).data.cast("B"))
    return data
