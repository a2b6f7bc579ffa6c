"""Whatever a driver sends, a picture or one ImageError comes out."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import ImageError
from rtseg.frame import Frame, RawImage
from rtseg.media.encodings import ENCODINGS, decode_image, raw_image

BAYER_16 = ("bayer_rggb16", "bayer_bggr16", "bayer_gbrg16", "bayer_grbg16")
BAYER = {"bayer_rggb8": "RGGB", "bayer_bggr8": "BGGR", "bayer_gbrg8": "GBRG", "bayer_grbg8": "GRBG"}


def picture(height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray:
    """A smooth random BGR picture, so that subsampled and lossy forms stay close to it."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def pack(encoding: str, image: np.ndarray) -> np.ndarray:
    """Encode BGR as (H, row bytes) uint8: the reference, written the other way round."""
    b, g, r = (image[..., i] for i in range(3))
    alpha = np.full_like(b, 200)
    if encoding in ("rgb8", "bgr8", "rgba8", "bgra8"):
        return np.stack([{"b": b, "g": g, "r": r, "a": alpha}[c] for c in encoding[:-1]], axis=-1).reshape(len(b), -1)
    if encoding == "mono8":
        return g
    if encoding == "mono16":
        return (g.astype("<u2") * 257).view(np.uint8)
    if encoding in ("rgb16", "bgr16", "rgba16", "bgra16"):
        planes = [{"b": b, "g": g, "r": r, "a": alpha}[c] for c in encoding[:-2]]
        return np.stack(planes, axis=-1).astype("<u2").reshape(len(b), -1).__mul__(257).view(np.uint8)
    if encoding in BAYER_16:
        return (pack(encoding.replace("16", "8"), image).astype("<u2") * 257).view(np.uint8)
    if encoding in BAYER:
        mosaic = np.empty_like(b)
        for k, color in enumerate(BAYER[encoding]):
            y, x = divmod(k, 2)
            mosaic[y::2, x::2] = {"B": b, "G": g, "R": r}[color][y::2, x::2]
        return mosaic
    # BT.601 limited range, the color of two neighbors averaged.
    color = image.astype(np.float64) @ np.array(
        [[0.098, 0.439, -0.071], [0.504, -0.291, -0.368], [0.257, -0.148, 0.439]]
    )
    luma, u, v = color[..., 0] + 16, color[..., 1] + 128, color[..., 2] + 128
    if encoding == "nv24":
        return planes_of(luma, np.stack([u, v], axis=-1).reshape(len(b), -1))
    if encoding in ("nv12", "nv21"):
        quarter = [(p[0::2, 0::2] + p[0::2, 1::2] + p[1::2, 0::2] + p[1::2, 1::2]) / 4 for p in (u, v)]
        pairs = quarter if encoding == "nv12" else quarter[::-1]
        return planes_of(luma, np.stack(pairs, axis=-1).reshape(len(b) // 2, -1))
    u, v = (np.repeat((p[:, 0::2] + p[:, 1::2]) / 2, 2, axis=1) for p in (u, v))
    chroma = np.where(np.arange(image.shape[1]) % 2 == 0, u, v)
    pair = (chroma, luma) if encoding == "yuv422" else (luma, chroma)
    return np.stack(pair, axis=-1).round().clip(0, 255).astype(np.uint8).reshape(len(b), -1)


def planes_of(luma: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """Rows as long as the luma's, those of the colors behind it."""
    width = luma.shape[1]
    return np.concatenate([luma.ravel(), chroma.ravel()]).round().clip(0, 255).astype(np.uint8).reshape(-1, width)


EXACT = ("bgr8", "rgb8", "bgra8", "rgba8", "mono8", "mono16", "bgr16", "rgb16", "bgra16", "rgba16")
PLANAR = ("nv12", "nv21", "nv24")


@pytest.mark.parametrize("encoding", [*EXACT, "yuv422", "yuv422_yuy2", *BAYER, *BAYER_16])
@pytest.mark.parametrize("padding", [0, 6])
def test_every_encoding_gives_back_the_picture(encoding: str, padding: int) -> None:
    image = picture()
    if encoding in ("mono8", "mono16"):
        image = np.repeat(image[..., 1:2], 3, axis=2)
    rows = np.ascontiguousarray(pack(encoding, image))
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    height, width = image.shape[:2]
    decoded = decode_image(encoding, height, width, padded.shape[1], padded.tobytes())
    assert decoded.shape == image.shape
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    error = np.abs(decoded.astype(int) - image)[2:-2, 2:-2]
    assert error.max() == 0 if encoding in EXACT else error.mean() < 6 and error.max() < 40


@pytest.mark.parametrize("encoding", PLANAR)
@pytest.mark.parametrize("padding", [0, 6])
def test_colors_in_a_plane_of_their_own(encoding: str, padding: int) -> None:
    image = picture(48, 64)
    height, width = image.shape[:2]
    rows = pack(encoding, image)
    luma, chroma = rows[:height], rows[height:].reshape(height if encoding == "nv24" else height // 2, -1)
    wide = padding * chroma.shape[1] // width
    padded = np.pad(luma, ((0, 0), (0, padding))).tobytes() + np.pad(chroma, ((0, 0), (0, wide))).tobytes()
    lines = len(rows)
    for step in (width + padding, (width + padding) * lines // height):  # drivers differ in what a row is
        raw = raw_image(encoding, height, width, step, padded)
        assert raw.rows.shape == (height, width)
        decoded = raw.convert()
        error = np.abs(decoded.astype(int) - image)[2:-2, 2:-2]
        assert decoded.flags.c_contiguous
        assert error.mean() < 6
        assert error.max() < 40
    assert Frame(raw).size == (height, width)


def test_colors_at_full_resolution_are_those_of_their_pixel() -> None:
    noise = np.random.default_rng(0).integers(60, 190, (24, 32, 3), dtype=np.uint8)
    error = np.abs(decode_image("nv24", 24, 32, 32, pack("nv24", noise).tobytes()).astype(int) - noise)
    assert error.max() <= 3


@pytest.mark.parametrize(
    ("encoding", "height", "width", "step", "size"),
    [
        ("nv12", 24, 32, 32, 24 * 32 * 3 // 2 - 1),
        ("nv12", 24, 32, 32, 24 * 32 * 2),
        ("nv12", 24, 32, 31, 24 * 31 * 3 // 2),
        ("nv12", 23, 32, 32, 23 * 48),
        ("nv21", 24, 31, 31, 24 * 31 * 3 // 2),
        ("nv24", 24, 32, 33, 24 * 32 * 3),
        ("nv24", 24, 32, 32, 0),
    ],
)
def test_planes_that_do_not_fit_are_refused(encoding: str, height: int, width: int, step: int, size: int) -> None:
    with pytest.raises(ImageError, match="expected"):
        decode_image(encoding, height, width, step, bytes(size))


@pytest.mark.parametrize(
    ("alias", "encoding"), [("8UC1", "mono8"), ("8UC3", "bgr8"), ("16UC1", "mono16"), ("yuyv", "yuv422_yuy2")]
)
def test_aliases_mean_the_same(alias: str, encoding: str) -> None:
    rows = np.ascontiguousarray(pack(encoding, picture()))
    arguments = (24, 32, rows.shape[1], rows.tobytes())
    assert np.array_equal(decode_image(alias, *arguments), decode_image(encoding, *arguments))


def test_big_endian_is_the_same_picture() -> None:
    wide = np.arange(0, 65536, 64, dtype=np.uint16).reshape(16, 64)
    little = decode_image("mono16", 16, 64, 128, wide.astype("<u2").tobytes(), False)
    assert np.array_equal(little, decode_image("mono16", 16, 64, 128, wide.astype(">u2").tobytes(), 1))
    assert np.abs(little[..., 0].astype(float) - wide / 257).max() <= 0.5


def test_bgr8_is_not_copied() -> None:
    data = array("B", picture().tobytes())
    decoded = decode_image("bgr8", 24, 32, 96, data)
    assert np.shares_memory(decoded, np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: array("B", data), np.frombuffer])
@pytest.mark.parametrize("padding", [0, 5])
def test_what_was_borrowed_cannot_be_written_to_and_lives_on(kind: Callable, padding: int) -> None:
    rows = np.pad(picture().reshape(24, 96), ((0, 0), (0, padding)))
    data = kind(bytearray(rows.tobytes())) if kind is not np.frombuffer else rows.reshape(-1).copy()
    frame = Frame(raw_image("bgr8", 24, 32, 96 + padding, data))
    assert isinstance(frame.pixels, RawImage)
    assert not frame.pixels.rows.flags.writeable
    assert frame.image.flags.writeable == bool(padding), "a copy is the caller's"
    if isinstance(data, (bytearray, array)):
        with pytest.raises(BufferError):
            data.extend(b"more")  # would move the bytes
    del data
    assert np.array_equal(frame.image, picture())


def test_last_rows_padding_may_be_missing() -> None:
    image = picture()
    padded = np.pad(image.reshape(24, 96), ((0, 0), (0, 5))).tobytes()
    assert np.array_equal(decode_image("bgr8", 24, 32, 101, padded[:-5]), image)


def test_nothing_is_converted_before_it_is_asked_for() -> None:
    data = array("B", np.ascontiguousarray(pack("rgb8", picture())).tobytes())
    raw = raw_image("8UC3", 24, 32, 96, data)
    assert (raw.encoding, raw.width) == ("bgr8", 32)
    frame = Frame(raw_image("rgb8", 24, 32, 96, data), 7, "front")
    assert frame.size == (24, 32)
    assert isinstance(frame.pixels, RawImage)
    assert np.shares_memory(frame.pixels.rows, np.frombuffer(data, np.uint8))
    assert np.array_equal(frame.image, picture())
    assert frame.image is frame.image
    assert replace(frame, stamp=8).image.shape == (24, 32, 3)
    assert Frame(picture()).size == (24, 32)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rgb8", 1, 32, 96, bytes(96)), "at least 2x2 pixels, got 32x1"),
        (("mono8", 24, 1, 1, bytes(24)), "at least 2x2 pixels, got 1x24"),
        (("bgr8", 0, 32, 96, b""), "height of at least 1, got 0"),
        (("bgr8", 24, -1, 96, b""), "width of at least 1, got -1"),
        (("bgr8", 24, 32, 95, bytes(24 * 96)), "step of at least 96 bytes for 32 px of bgr8, got 95"),
        (("bgr8", 24, 32, 96, bytes(24 * 96 - 1)), "expected 2304 bytes for 32x24 bgr8 with step 96, got 2303"),
        (("bgr8", 24, 32, 96, bytes(24 * 128)), "expected 2304 bytes"),
        (("bgr8", 24, 32, 96, b""), "got 0"),
        (("yuv422", 2, 3, 6, bytes(12)), "even width"),
        (("32FC1", 24, 32, 128, bytes(24 * 128)), "encoding '32FC1' is not known"),
        ((None, 24, 32, 96, b""), "encoding None"),
        (("bgr8", 24.5, 32, 96, b""), "height"),
        (("bgr8", 24, "x", 96, b""), "integer width"),
        (("bgr8", 24, 32, 96, "text"), "got str"),
        (("bgr8", 2**31, 2**31, 2**33, b"123"), "got 3"),
    ],
)
def test_bad_fields_are_named(arguments: tuple, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        decode_image(*arguments)


@given(
    encoding=st.sampled_from([*ENCODINGS, "", "bgr", "h264"]),
    height=st.integers(-1, 9),
    width=st.integers(-1, 9),
    extra=st.integers(-3, 5),
    data=st.binary(max_size=400),
    bigendian=st.booleans(),
    fit=st.booleans(),
)
def test_only_image_errors_come_out(
    encoding: str, height: int, width: int, extra: int, data: bytes, bigendian: bool, fit: bool
) -> None:
    step = max(width, 0) * {"bgr8": 3, "mono8": 1, "yuv422": 2}.get(encoding, 4) + extra
    if fit and height > 0 and step > 0:
        data = (data + bytes(height * step))[: height * step]
    try:
        decoded = decode_image(encoding, height, width, step, data, bigendian)
    except ImageError:
        return
    assert decoded.shape == (height, width, 3)
