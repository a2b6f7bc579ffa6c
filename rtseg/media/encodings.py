"""ROS image messages to BGR pictures, without cv_bridge.

The messages come from other people's drivers, so nothing in them is trusted: whatever the bytes are, a picture or one
:class:`~rtseg.errors.ImageError` comes out.
"""

from __future__ import annotations

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

MAX_PIXELS = 50_000_000
"""Largest picture of a file: those of telephones fit, and a few bad bytes do not allocate gigabytes."""
MAX_MESSAGE_PIXELS = 20_000_000
"""Largest picture of a message: more than any camera of a vehicle sends, and decoded in a fraction of a second."""


class _Layout(NamedTuple):
    pixel_bytes: int
    channels: int
    depth: int  # bits a channel
    conversion: int | None  # OpenCV color code that gives BGR
    chroma: tuple[int, int] = (0, 1)  # bytes of the plane of colors behind that of the luma, as a fraction of its own


_LAYOUTS: dict[str, _Layout] = {
    "bgr8": _Layout(3, 3, 8, None),
    "rgb8": _Layout(3, 3, 8, cv2.COLOR_RGB2BGR),
    "bgra8": _Layout(4, 4, 8, cv2.COLOR_BGRA2BGR),
    "rgba8": _Layout(4, 4, 8, cv2.COLOR_RGBA2BGR),
    "mono8": _Layout(1, 1, 8, cv2.COLOR_GRAY2BGR),
    "mono16": _Layout(2, 1, 16, cv2.COLOR_GRAY2BGR),
    "bgr16": _Layout(6, 3, 16, None),
    "rgb16": _Layout(6, 3, 16, cv2.COLOR_RGB2BGR),
    "bgra16": _Layout(8, 4, 16, cv2.COLOR_BGRA2BGR),
    "rgba16": _Layout(8, 4, 16, cv2.COLOR_RGBA2BGR),
    "yuv422": _Layout(2, 2, 8, cv2.COLOR_YUV2BGR_UYVY),
    "yuv422_yuy2": _Layout(2, 2, 8, cv2.COLOR_YUV2BGR_YUY2),
    # OpenCV names a pattern by the second row's second and third pixel, ROS by the first row's first two.
    "bayer_rggb8": _Layout(1, 1, 8, cv2.COLOR_BayerBG2BGR),
    "bayer_bggr8": _Layout(1, 1, 8, cv2.COLOR_BayerRG2BGR),
    "bayer_gbrg8": _Layout(1, 1, 8, cv2.COLOR_BayerGR2BGR),
    "bayer_grbg8": _Layout(1, 1, 8, cv2.COLOR_BayerGB2BGR),
    "bayer_rggb16": _Layout(2, 1, 16, cv2.COLOR_BayerBG2BGR),
    "bayer_bggr16": _Layout(2, 1, 16, cv2.COLOR_BayerRG2BGR),
    "bayer_gbrg16": _Layout(2, 1, 16, cv2.COLOR_BayerGR2BGR),
    "bayer_grbg16": _Layout(2, 1, 16, cv2.COLOR_BayerGB2BGR),
    "nv12": _Layout(1, 1, 8, cv2.COLOR_YUV2BGR_NV12, (1, 2)),
    "nv21": _Layout(1, 1, 8, cv2.COLOR_YUV2BGR_NV21, (1, 2)),
    "nv24": _Layout(1, 1, 8, cv2.COLOR_YUV2BGR_NV12, (2, 1)),
}
_ALIASES = {
    "8UC1": "mono8",
    "8UC3": "bgr8",
    "8UC4": "bgra8",
    "16UC1": "mono16",
    "16UC3": "bgr16",
    "16UC4": "bgra16",
    "uyvy": "yuv422",
    "yuyv": "yuv422_yuy2",
}

ENCODINGS = (*_LAYOUTS, *_ALIASES)
"""The `encoding` strings that :func:`raw_image` takes."""


def decode_image(
    encoding: str, height: int, width: int, step: int, data: Buffer, is_bigendian: bool | int = False
) -> NDArray[np.uint8]:
    """Turn the fields of a ``sensor_msgs/Image`` into a BGR picture.

    Args:
        encoding: one of :data:`ENCODINGS`; this and the others as of :func:`raw_image`.
        height: rows.
        width: columns.
        step: bytes a row, padding included.
        data: the pixels.
        is_bigendian: byte order of 16-bit channels.

    Raises:
        ImageError: as :func:`raw_image`.

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
        step: bytes a row, padding included; of the luma's rows where colors lie in a plane of their own (``nv12``), or
            the bytes of all planes divided by `height`, as some drivers have it.
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
            f"encoding {encoding!r:.80} is not known: expected one of {', '.join(_LAYOUTS)}, got that; "
            "let the driver publish one of these"
        )
    height, width, step = (_size(name, n) for name, n in (("height", height), ("width", width), ("step", step)))
    row = width * layout.pixel_bytes
    if step < row:
        raise ImageError(
            f"expected a step of at least {row} bytes for {width} px of {encoding}, got {step}; "
            "correct step, width or encoding in the driver"
        )
    pixels = as_bytes(data)
    pixels.flags.writeable = False  # the bytes are the message's, whoever draws on the picture
    if layout.chroma[0]:
        return _planar(name, layout, height, width, step, pixels)
    rows = _rows(encoding, pixels, height, width, step, row)
    if layout.conversion in (cv2.COLOR_YUV2BGR_UYVY, cv2.COLOR_YUV2BGR_YUY2) and width % 2:
        raise ImageError(f"expected an even width for {encoding}, got {width}; two pixels share one color sample")
    return RawImage(name, width, rows, partial(_to_bgr, rows, layout, width, bool(is_bigendian)))


def _rows(encoding: str, pixels: NDArray[np.uint8], height: int, width: int, step: int, row: int) -> NDArray[np.uint8]:
    """A view of (height, row) bytes without the padding."""
    if not step * (height - 1) + row <= pixels.size <= step * height:
        raise ImageError(
            f"expected {step * height} bytes for {width}x{height} {encoding} with step {step}, got {pixels.size}; "
            "the message is truncated or its size fields are wrong"
        )
    if pixels.size == step * height:
        return pixels.reshape(height, step)[:, :row]
    return np.lib.stride_tricks.as_strided(pixels, (height, row), (step, 1), writeable=False)


def _planar(name: str, layout: _Layout, height: int, width: int, step: int, pixels: NDArray[np.uint8]) -> RawImage:
    """A plane of luma, and behind it one of colors; the rows of the result are the luma's."""
    times, divisor = layout.chroma
    if divisor == 2 and (width % 2 or height % 2):
        raise ImageError(f"expected even sizes for {name}, got {width}x{height}; four pixels share one color sample")
    lines = height + height * times // divisor  # as if the colors had rows as long as the luma's
    pitch = pixels.size // lines
    if pitch * lines != pixels.size or pitch < width or step not in (pitch, pitch * lines // height):
        raise ImageError(
            f"expected {step * lines} bytes for {width}x{height} {name} with step {step}, got {pixels.size}; "
            "the message is truncated or its size fields are wrong"
        )
    luma = pixels[: height * pitch].reshape(height, pitch)[:, :width]
    chroma = pixels[height * pitch :].reshape(height // divisor, -1)[:, : width * (times if divisor == 1 else 1)]
    return RawImage(name, width, luma, partial(_planes_to_bgr, luma, chroma, layout))


def _planes_to_bgr(luma: NDArray[np.uint8], chroma: NDArray[np.uint8], layout: _Layout) -> NDArray[np.uint8]:
    pairs = chroma.reshape(len(chroma), -1, 2)
    assert layout.conversion is not None
    if layout.chroma == (2, 1):
        # OpenCV wants one color sample to four pixels, which those of a picture twice as large have.
        luma = luma.repeat(2, axis=0).repeat(2, axis=1)
    whole = np.vstack([luma, pairs.reshape(-1, luma.shape[1])])
    image = cv2.cvtColor(whole, layout.conversion)
    return np.ascontiguousarray(image[::2, ::2] if layout.chroma == (2, 1) else image, dtype=np.uint8)


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


def _size(name: str, value: int) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ImageError(f"expected an integer {name}, got {value!r:.80}; check the message") from error
    if number <= 0 or number != value:
        raise ImageError(f"expected a {name} of at least 1, got {value}; the driver has sent no picture")
    return number


def as_bytes(data: Buffer) -> NDArray[np.uint8]:
    """A flat view of a message's bytes.

    Raises:
        ImageError: it is nothing that holds contiguous bytes.
    """
    try:
        view = memoryview(data)  # type: ignore[arg-type]
        return np.frombuffer(view, dtype=np.uint8) if view.nbytes else np.zeros(0, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise ImageError(f"expected contiguous bytes, got {type(data).__name__} ({error}); pass bytes") from error
