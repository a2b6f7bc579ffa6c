"""Compressed pictures of ROS messages and of files: JPEG, PNG and WebP, whole or refused.

A decoder that fills what is missing with gray is no use in a vehicle: a picture that lacks data, or whose data is
visibly damaged, is an :class:`~rtseg.errors.ImageError`, and so is one whose header announces more than its bytes can
hold, before anything is allocated.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from rtseg.errors import ImageError
from rtseg.media.encodings import MAX_MESSAGE_PIXELS, Buffer, as_bytes

MAX_SCANS = 100
"""Scans of a progressive JPEG; each goes over the whole picture, and encoders write about ten."""

_PADDED = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_HARMLESS = re.compile(r"unknown JFIF revision|Unknown Adobe color transform")
"""What libjpeg warns of in whole pictures: cameras number their headers freely."""
MAX_PADDING = 4
"""Bytes of any value before the end marker that are taken for alignment; more of them are left-over data."""


def decode_compressed(
    format: str, data: Buffer, max_pixels: int = MAX_MESSAGE_PIXELS, upright: bool = False
) -> NDArray[np.uint8]:
    """Turn the fields of a ``sensor_msgs/CompressedImage`` into a BGR picture.

    What the bytes are is read from the bytes; `format` (``jpeg``, ``bgr8; jpeg compressed bgr8``, ...) only tells the
    order of the colors.

    Args:
        format: the message's `format`.
        data: a JPEG, PNG or WebP file as bytes, array, memoryview or array of uint8.
        max_pixels: of the largest picture that is decoded.
        upright: turn the picture as its EXIF data says; a camera's picture stays as it fits its camera_info.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        ImageError: none of the formats, incomplete, damaged as far as that shows, or larger than `max_pixels`.
    """
    pixels = as_bytes(data)
    header = check_compressed(format, pixels, max_pixels)
    image = _decode_jpeg(pixels, header.end) if header is not None and header.components in (1, 3) else None
    if image is None or upright:
        image = _decode(pixels, upright)
    if _colors_swapped(format):
        cv2.cvtColor(image, cv2.COLOR_RGB2BGR, dst=image)
    return image


def check_compressed(format: str, pixels: NDArray[np.uint8], max_pixels: int) -> JpegHeader | None:
    """Make sure that a picture is whole, and no larger than it may be, before anything is decoded.

    Args:
        format: see :func:`decode_compressed`.
        pixels: (n,) uint8, a JPEG, PNG or WebP file.
        max_pixels: of the picture.

    Returns:
        The header of a JPEG; None of the others.

    Raises:
        ImageError: as of :func:`decode_compressed`.
    """
    content = memoryview(pixels.data)
    if not pixels.size:
        raise ImageError(f"expected a compressed picture, got no data (format {format!r:.80}); check the publisher")
    header = None
    if bytes(content[:3]) == b"\xff\xd8\xff":
        header = _jpeg_header(content)
        width, height = header.width, header.height
    elif bytes(content[:8]) == b"\x89PNG\r\n\x1a\n":
        width, height = _png_size(content)
    elif bytes(content[:4]) == b"RIFF" and bytes(content[8:12]) == b"WEBP":
        width, height = _webp_size(content)
    else:
        raise ImageError(
            f"expected JPEG, PNG or WebP data, got format {format!r:.80} starting with {bytes(content[:4]).hex(' ')}; "
            "publish through image_transport's compressed plugin, or decode the video stream first"
        )
    if width * height > max_pixels:
        raise ImageError(
            f"expected a picture of at most {max_pixels} pixels, got {width}x{height}; its header is damaged, or the "
            "picture is to be made smaller"
        )
    if header is not None:
        _check_enough(header, len(content))
    return header


def _decode_jpeg(pixels: NDArray[np.uint8], end: int) -> NDArray[np.uint8]:
    """Decode a JPEG whose end marker stands at byte `end`."""
    try:
        return simplejpeg.decode_jpeg(pixels, "BGR", strict=True)
    except ValueError as error:
        padded = _PADDED.search(str(error))
        rest = pixels[end - int(padded[1]) : end] if padded else None
        # Where a hole has been read as if it were data, too, some of the data is left over at the end.
        padding = rest is not None and (rest.size <= MAX_PADDING or np.isin(rest, (0, 255)).all())
        if not padding and not _HARMLESS.search(str(error)):
            raise ImageError(f"expected a sound JPEG, got one that is damaged ({error}); drop the frame") from error
    try:
        return simplejpeg.decode_jpeg(pixels, "BGR", strict=False)
    except ValueError as error:
        raise ImageError(f"expected a sound JPEG, got one that does not decode ({error}); drop the frame") from error


def _decode(pixels: NDArray[np.uint8], upright: bool) -> NDArray[np.uint8]:
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(pixels, flags)
    except cv2.error as error:
        raise ImageError(
            f"expected a sound picture, got one that OpenCV refuses ({error.err}); drop the frame"
        ) from error
    if image is None:
        raise ImageError(f"expected a sound picture, got {pixels.size} bytes that do not decode; the data is damaged")
    return np.asarray(image, dtype=np.uint8)


class JpegHeader(NamedTuple):
    """What a JPEG says of itself."""

    width: int
    height: int
    components: int
    blocks: int  # of 8x8 coefficients
    bits: int  # that a block takes at the least, 0 if that is not known
    end: int = 0  # where its end marker stands


_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""A JPEG marker inside entropy-coded data: there 0xFF is followed by a stuffed zero or a restart marker otherwise."""


def _jpeg_header(content: memoryview) -> JpegHeader:
    """Walk the segments of a JPEG to its end marker and return what its frame header says.

    A plain search for the end marker would find the one of an embedded thumbnail.
    """
    position, scans, header = 2, 0, None
    while (found := _MARKER.search(content, position)) is not None:
        marker, position = content[found.end() - 1], found.end()
        if marker == 0xD9:
            if header is None or not scans:
                raise ImageError("expected a JPEG with a picture, got none before its end; the data is damaged")
            return header._replace(end=found.start())
        if marker == 0x01 or marker == 0xD8:  # markers without a length
            continue
        if position + 2 > len(content):
            break
        (length,) = struct.unpack_from(">H", content, position)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            header = _frame_header(marker, bytes(content[position + 2 : position + length])) or header
        scans += marker == 0xDA
        if scans > MAX_SCANS:
            raise ImageError(f"expected a JPEG of at most {MAX_SCANS} scans, got more; save it again")
        position += max(length, 2)
    raise ImageError(
        f"expected a complete JPEG, got {len(content)} bytes without the end marker; the frame was truncated on its way"
    )


def _frame_header(marker: int, segment: bytes) -> JpegHeader | None:
    if len(segment) < 6:
        return None
    _, height, width, components = struct.unpack_from(">BHHB", segment)
    if not (height and width):
        raise ImageError(f"expected a JPEG with a size, got {width}x{height}; the data is damaged")
    sampling = [divmod(segment[7 + 3 * i], 16) for i in range(components) if 7 + 3 * i < len(segment)]
    wide, high = (max((pair[axis] for pair in sampling), default=1) or 1 for axis in range(2))
    blocks = sum(-(-width * h // (8 * wide)) * -(-height * v // (8 * high)) for h, v in sampling)
    # Huffman codes have a bit at the least: a block's first coefficient is one, and the end of a block another, which
    # only progressive files can leave out.
    bits = {0xC0: 2, 0xC1: 2, 0xC2: 1}.get(marker, 0)
    return JpegHeader(width, height, components, blocks, bits)


def _check_enough(header: JpegHeader, size: int) -> None:
    if header.blocks * header.bits > 8 * size:
        raise ImageError(
            f"expected the data of {header.width}x{header.height} pixels, got {size} bytes, which cannot hold them; "
            "the data is damaged"
        )


def _png_size(content: memoryview) -> tuple[int, int]:
    """Return (width, height) of a PNG all of whose chunks have arrived as they were sent."""
    if len(content) < 45 or bytes(content[12:16]) != b"IHDR":
        raise ImageError(f"expected a complete PNG, got {len(content)} bytes; the frame was truncated on its way")
    position = 8
    while position + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, position)
        end = position + 8 + length
        if end + 4 > len(content):
            break
        (checksum,) = struct.unpack_from(">I", content, end)
        if zlib.crc32(content[position + 4 : end]) != checksum:
            raise ImageError("expected a sound PNG, got a chunk whose checksum does not fit; drop the frame")
        if bytes(content[position + 4 : position + 8]) == b"IEND":
            width, height = struct.unpack_from(">II", content, 16)
            return int(width), int(height)
        position = end + 4
    raise ImageError(
        f"expected a complete PNG, got {len(content)} bytes without the end chunk; the frame was truncated on its way"
    )


def _webp_size(content: memoryview) -> tuple[int, int]:
    """Return (width, height) of a WebP all of whose bytes have arrived."""
    (size,) = struct.unpack_from("<I", content, 4)
    if size + 8 > len(content) or len(content) < 30:
        raise ImageError(
            f"expected a complete WebP, got {len(content)} of {size + 8} bytes; the frame was truncated on its way"
        )
    kind, head = bytes(content[12:16]), bytes(content[20:30])
    if kind == b"VP8X":
        return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    if kind == b"VP8L" and head[0] == 0x2F:
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and head[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", head, 6)
        return int(width & 0x3FFF), int(height & 0x3FFF)
    raise ImageError("expected a WebP with a picture, got none in it; the data is damaged")


def _colors_swapped(format: str) -> bool:
    """Whether the picture was compressed with red and blue exchanged.

    image_transport writes ``<encoding>; jpeg compressed bgr8`` for color. Its reference decoder takes what lacks the
    ``bgr`` for the older form, in which RGB pixels were handed to an encoder that expects BGR; so does this one.
    """
    encoding, separator, rest = str(format).partition(";")
    color = encoding.strip().startswith(("rgb", "bgr"))
    return bool(separator) and color and "compressed" in rest and "compressed bgr" not in rest
