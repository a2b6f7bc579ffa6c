"""ROS image messages to BGR pictures, without cv_bridge.

The messages come from other people's drivers, so nothing in them is trusted: whatever the bytes are, a picture or one
:class:`~rtseg.errors.ImageError` comes out.
"""

from __future__ import annotations

import re
import struct
from array import array
from functools import partial
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ImageError
from rtseg.frame import RawImage

Buffer: TypeAlias = "bytes | bytearray | memoryview | array[int] | NDArray[np.uint8]"
"""How the bytes of a message arrive: rclpy gives an array, rosbags a NumPy array."""

MAX_PIXELS = 1 << 26
"""Largest picture that a compressed header may announce: a few bad bytes must not allocate gigabytes."""


class _Layout(NamedTuple):
    pixel_bytes: int
    channels: int
    depth: int  # bits a channel
    conversion: int | None  # OpenCV color code that gives BGR


_LAYOUTS: dict[str, _Layout] = {
    "bgr8": _Layout(3, 3, 8, None),
    "rgb8": _Layout(3, 3, 8, cv2.COLOR_RGB2BGR),
    "bgra8": _Layout(4, 4, 8, cv2.COLOR_BGRA2BGR),
    "rgba8": _Layout(4, 4, 8, cv2.COLOR_RGBA2BGR),
    "mono8": _Layout(1, 1, 8, cv2.COLOR_GRAY2BGR),
    "mono16": _Layout(2, 1, 16, cv2.COLOR_GRAY2BGR),
    "bgr16": _Layout(6, 3, 16, None),
    "rgb16": _Layout(6, 3, 16, cv2.COLOR_RGB2BGR),
    "yuv422": _Layout(2, 2, 8, cv2.COLOR_YUV2BGR_UYVY),
    "yuv422_yuy2": _Layout(2, 2, 8, cv2.COLOR_YUV2BGR_YUY2),
    # OpenCV names a pattern by the second row's second and third pixel, ROS by the first row's first two.
    "bayer_rggb8": _Layout(1, 1, 8, cv2.COLOR_BayerBG2BGR),
    "bayer_bggr8": _Layout(1, 1, 8, cv2.COLOR_BayerRG2BGR),
    "bayer_gbrg8": _Layout(1, 1, 8, cv2.COLOR_BayerGR2BGR),
    "bayer_grbg8": _Layout(1, 1, 8, cv2.COLOR_BayerGB2BGR),
}
_ALIASES = {
    "8UC1": "mono8",
    "8UC3": "bgr8",
    "8UC4": "bgra8",
    "16UC1": "mono16",
    "16UC3": "bgr16",
    "uyvy": "yuv422",
    "yuyv": "yuv422_yuy2",
}

ENCODINGS = (*_LAYOUTS, *_ALIASES)
"""The `encoding` strings that :func:`raw_image` takes."""


def decode_image(
    encoding: str, height: int, width: int, step: int, data: Buffer, is_bigendian: bool | int = False
) -> NDArray[np.uint8]:
    """Turn the fields of a ``sensor_msgs/Image`` into a BGR picture; arguments and errors as :func:`raw_image`.

    Returns:
        (H, W, 3) uint8 BGR, C-contiguous. For ``bgr8`` without padding it is a read-only view of `data`.
    """
    return raw_image(encoding, height, width, step, data, is_bigendian).convert()


def raw_image(
    encoding: str, height: int, width: int, step: int, data: Buffer, is_bigendian: bool | int = False
) -> RawImage:
    """Check the fields of a ``sensor_msgs/Image``, and leave the conversion for when it is asked for.

    Args:
        encoding: one of :data:`ENCODINGS`. 16-bit channels are scaled by 255/65535.
        height: rows.
        width: columns.
        step: bytes a row, padding included.
        data: the pixels: bytes, array, memoryview or array of uint8, `step` times `height` bytes (the padding of the
            last row may be missing).
        is_bigendian: byte order of 16-bit channels.

    Returns:
        A read-only view of `data`, which it keeps alive.

    Raises:
        ImageError: less than 2x2 pixels, truncated data, a step that does not fit, or an unknown encoding.
    """
    name = _ALIASES.get(encoding, encoding) if isinstance(encoding, str) else ""
    layout = _LAYOUTS.get(name)
    if layout is None:
        raise ImageError(
            f"expected one of the encodings {', '.join(_LAYOUTS)}, got {encoding!r:.80}; "
            "let the driver publish one of these"
        )
    height, width, step = (_size(name, n) for name, n in (("height", height), ("width", width), ("step", step)))
    row = width * layout.pixel_bytes
    if step < row:
        raise ImageError(
            f"expected a step of at least {row} bytes for {width} px of {encoding}, got {step}; "
            "correct step, width or encoding in the driver"
        )
    pixels = _as_bytes(data)
    pixels.flags.writeable = False  # the bytes are the message's, whoever draws on the picture
    if not step * (height - 1) + row <= pixels.size <= step * height:
        raise ImageError(
            f"expected {step * height} bytes for {width}x{height} {encoding} with step {step}, got {pixels.size}; "
            "the message is truncated or its size fields are wrong"
        )
    if pixels.size == step * height:
        rows = pixels.reshape(height, step)[:, :row]
    else:
        rows = np.lib.stride_tricks.as_strided(pixels, (height, row), (step, 1), writeable=False)
    if layout.conversion in (cv2.COLOR_YUV2BGR_UYVY, cv2.COLOR_YUV2BGR_YUY2) and width % 2:
        raise ImageError(f"expected an even width for {encoding}, got {width}; two pixels share one color sample")
    return RawImage(name, width, rows, partial(_to_bgr, rows, layout, width, bool(is_bigendian)))


def _to_bgr(rows: NDArray[np.uint8], layout: _Layout, width: int, bigendian: bool) -> NDArray[np.uint8]:
    height = len(rows)
    image: NDArray = np.ascontiguousarray(rows)
    if layout.depth == 16:
        wide = image.view(">u2" if bigendian else "<u2").astype(np.uint16, copy=False)
        image = cv2.convertScaleAbs(wide, alpha=255.0 / 65535.0)
    image = image.reshape((height, width) if layout.channels == 1 else (height, width, layout.channels))
    if layout.conversion is None:
        return image
    try:
        return np.asarray(cv2.cvtColor(image, layout.conversion), dtype=np.uint8)
    except cv2.error as error:  # demosaicing wants more than a few pixels
        raise ImageError(
            f"expected a picture that OpenCV can convert, got {width}x{height} ({error.err}); send a larger picture"
        ) from error


def decode_compressed(format: str, data: Buffer) -> NDArray[np.uint8]:
    """Turn the fields of a ``sensor_msgs/CompressedImage`` into a BGR picture.

    What the bytes are is read from the bytes; `format` (``jpeg``, ``bgr8; jpeg compressed bgr8``, ...) only tells the
    order of the colors. EXIF rotation is ignored, so that the picture fits its camera_info.

    Args:
        format: the message's `format`.
        data: a JPEG or PNG file as bytes, array, memoryview or array of uint8.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        ImageError: neither JPEG nor PNG, incomplete (OpenCV would fill the rest with gray), damaged or absurdly large.
    """
    pixels = _as_bytes(data)
    content = memoryview(pixels.data)
    if not pixels.size:
        raise ImageError(f"expected a compressed picture, got no data (format {format!r:.80}); check the publisher")
    if bytes(content[:3]) == b"\xff\xd8\xff":
        width, height = _jpeg_size(content)
    elif bytes(content[:8]) == b"\x89PNG\r\n\x1a\n":
        width, height = _png_size(content)
    else:
        raise ImageError(
            f"expected JPEG or PNG data, got format {format!r:.80} starting with {bytes(content[:4]).hex(' ')}; "
            "publish through image_transport's compressed plugin, or decode the video stream first"
        )
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"expected a picture of at most {MAX_PIXELS} pixels, got {width}x{height}; its header is damaged"
        )
    try:
        image = cv2.imdecode(pixels, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageError(
            f"expected a sound picture, got one that OpenCV refuses ({error.err}); drop the frame"
        ) from error
    if image is None:
        raise ImageError(f"expected a sound picture, got {pixels.size} bytes that do not decode; the data is damaged")
    if _colors_swapped(format):
        cv2.cvtColor(image, cv2.COLOR_RGB2BGR, dst=image)
    return np.asarray(image, dtype=np.uint8)


def _size(name: str, value: int) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ImageError(f"expected an integer {name}, got {value!r:.80}; check the message") from error
    if number <= 0 or number != value:
        raise ImageError(f"expected a {name} of at least 1, got {value}; the driver has sent no picture")
    return number


def _as_bytes(data: Buffer) -> NDArray[np.uint8]:
    try:
        view = memoryview(data)  # type: ignore[arg-type]
        return np.frombuffer(view, dtype=np.uint8) if view.nbytes else np.zeros(0, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise ImageError(f"expected contiguous bytes, got {type(data).__name__} ({error}); pass bytes") from error


_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""A JPEG marker inside entropy-coded data: there 0xFF is followed by a stuffed zero or a restart marker otherwise."""


def _jpeg_size(content: memoryview) -> tuple[int, int]:
    """Walk the segments of a JPEG to its end marker and return (width, height).

    A plain search for the end marker would find the one of an embedded thumbnail.
    """
    position, size = 2, None
    while True:
        found = _MARKER.search(content, position)
        if found is None:
            break
        marker, position = content[found.end() - 1], found.end()
        if marker == 0xD9:
            if size is None:
                raise ImageError("expected a JPEG with a frame header, got none before its end; the data is damaged")
            return size
        if marker == 0x01 or marker == 0xD8:  # markers without a length
            continue
        if position + 2 > len(content):
            break
        (length,) = struct.unpack_from(">H", content, position)
        is_frame_header = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        if is_frame_header and position + 7 <= len(content):
            height, width = struct.unpack_from(">HH", content, position + 3)
            if not (height and width):
                raise ImageError(f"expected a JPEG with a size, got {width}x{height}; the data is damaged")
            size = (width, height)
        position += max(length, 2)
    raise ImageError(
        f"expected a complete JPEG, got {len(content)} bytes without the end marker; the frame was truncated on its way"
    )


def _png_size(content: memoryview) -> tuple[int, int]:
    """Return (width, height) of a PNG whose last chunk has arrived."""
    if len(content) < 45 or bytes(content[12:16]) != b"IHDR":
        raise ImageError(f"expected a complete PNG, got {len(content)} bytes; the frame was truncated on its way")
    position = 8
    while position + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, position)
        if bytes(content[position + 4 : position + 8]) == b"IEND":
            width, height = struct.unpack_from(">II", content, 16)
            return int(width), int(height)
        position += 12 + length
    raise ImageError(
        f"expected a complete PNG, got {len(content)} bytes without the end chunk; the frame was truncated on its way"
    )


def _colors_swapped(format: str) -> bool:
    """Whether the picture was compressed with red and blue exchanged.

    image_transport writes ``<encoding>; jpeg compressed bgr8`` for color. Its reference decoder takes what lacks the
    ``bgr`` for the older form, in which RGB pixels were handed to an encoder that expects BGR; so does this one.
    """
    encoding, separator, rest = str(format).partition(";")
    color = encoding.strip().startswith(("rgb", "bgr"))
    return bool(separator) and color and "compressed" in rest and "compressed bgr" not in rest
