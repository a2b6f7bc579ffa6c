"""Whatever bytes come as a picture, a whole picture or one ImageError comes out."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import ImageError
from rtseg.media.compressed import decode_compressed
from rtseg.media.encodings import MAX_MESSAGE_PIXELS


def picture(height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray:
    """A smooth random BGR picture, so that lossy forms stay close to it."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def busy(height: int = 360, width: int = 640) -> np.ndarray:
    """A picture with as much detail as a camera's."""
    return cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8), (5, 5), 1.0)


def jpeg(image: np.ndarray, **settings: int) -> bytes:
    return cv2.imencode(".jpg", image, [x for k, v in settings.items() for x in (getattr(cv2, k), v)])[1].tobytes()


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def webp(image: np.ndarray, quality: int = 90) -> bytes:
    return cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("format", ["jpeg", "jpg", "bgr8; jpeg compressed bgr8", "rgb8; jpeg compressed bgr8", ""])
def test_jpeg(format: str, progressive: int) -> None:
    image = picture(48, 64)
    data = jpeg(image, IMWRITE_JPEG_PROGRESSIVE=progressive, IMWRITE_JPEG_RST_INTERVAL=2)
    assert np.abs(decode_compressed(format, data).astype(int) - image).mean() < 4


def test_png_gray_and_16_bit() -> None:
    image = picture()
    assert np.array_equal(decode_compressed("png", png(image)), image)
    assert np.array_equal(decode_compressed("mono8; png compressed", png(image[..., 0]))[..., 2], image[..., 0])
    assert decode_compressed("png", png(image.astype(np.uint16) * 257)).dtype == np.uint8


def test_old_formats_colors_are_put_right() -> None:
    image = picture()
    assert np.array_equal(decode_compressed("rgb8; png compressed ", png(image[..., ::-1])), image)


def test_padding_behind_the_end_is_no_fault() -> None:
    image = picture(48, 64)
    assert decode_compressed("jpeg", jpeg(image) + bytes(100)).shape == image.shape


@pytest.mark.parametrize("encode", [jpeg, png, webp])
def test_every_truncation_is_found(encode: Callable[[np.ndarray], bytes]) -> None:
    data = encode(picture(48, 64))
    for length in range(len(data)):
        with pytest.raises(ImageError, match="expected"):
            decode_compressed("", data[:length])


def test_a_thumbnails_end_marker_does_not_hide_the_truncation() -> None:
    image = picture(48, 64)
    thumbnail = jpeg(picture(8, 8))
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = jpeg(image)
    data = whole[:2] + segment + whole[2:]
    assert decode_compressed("jpeg", data).shape == image.shape
    with pytest.raises(ImageError, match="without the end marker"):
        decode_compressed("jpeg", data[: len(data) // 2 + 200])


def test_absurd_sizes_are_refused_before_allocating() -> None:
    data = bytearray(jpeg(picture()))
    frame_header = data.index(b"\xff\xc0")
    data[frame_header + 5 : frame_header + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(ImageError, match="at most"):
        decode_compressed("jpeg", bytes(data))


@pytest.mark.parametrize("data", [b"", b"\x00\x00\x00\x01\x67\x42", b"\xff\xd8\xff\xd9", b"GIF89a", b"\xff\xd8\xff"])
def test_other_bytes_are_named(data: bytes) -> None:
    with pytest.raises(ImageError, match="expected"):
        decode_compressed("h264", data)


@given(
    st.sampled_from(["jpeg", "png"]),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=12),
    st.integers(0, 40),
)
def test_damaged_pictures_raise_only_image_errors(kind: str, damage: list[tuple[int, int]], cut: int) -> None:
    data = bytearray((jpeg if kind == "jpeg" else png)(picture()))
    for position, value in damage:
        data[position % len(data)] = value
    try:
        decoded = decode_compressed(kind, bytes(data[: len(data) - cut]))
    except ImageError:
        return
    assert decoded.ndim == 3
    assert decoded.shape[2] == 3


@given(st.binary(max_size=300), st.text(max_size=20))
def test_random_bytes_raise_only_image_errors(data: bytes, format: str) -> None:
    for head in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x30\x00\x00\x00WEBPVP8 "):
        with pytest.raises(ImageError):
            decode_compressed(format, head + data)


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("restart", [0, 8])
def test_jpegs_that_lack_data_are_refused_though_they_end_well(progressive: int, restart: int) -> None:
    data = jpeg(busy(), IMWRITE_JPEG_PROGRESSIVE=progressive, IMWRITE_JPEG_RST_INTERVAL=restart)
    for share in (0.1, 0.5, 0.9, 0.99):
        with pytest.raises(ImageError, match="sound JPEG"):
            decode_compressed("jpeg", data[: int(share * len(data))] + b"\xff\xd9")


@pytest.mark.parametrize("fill", [bytes, lambda n: np.random.default_rng(2).bytes(n).replace(b"\xff", b"\x00")])
def test_a_hole_in_the_middle_of_a_jpeg_is_found(fill: Callable[[int], bytes]) -> None:
    data = jpeg(busy())
    third = len(data) // 3
    with pytest.raises(ImageError, match="sound JPEG"):
        decode_compressed("jpeg", data[:third] + fill(third) + data[2 * third :])


def test_padding_before_the_end_of_a_jpeg_is_a_habit_of_cameras() -> None:
    data = jpeg(busy())
    for padding in (bytes(1), bytes(64), b"\x55\x55\x55"):
        padded = data[:-2] + padding + data[-2:]
        assert np.array_equal(decode_compressed("jpeg", padded), decode_compressed("jpeg", data))


@pytest.mark.parametrize("sampling", [0x411111, 0x221111, 0x211111, 0x121111, 0x111111])
@pytest.mark.parametrize("progressive", [0, 1])
def test_the_strict_decoder_gives_what_opencv_gives(sampling: int, progressive: int) -> None:
    data = jpeg(busy(), IMWRITE_JPEG_SAMPLING_FACTOR=sampling, IMWRITE_JPEG_PROGRESSIVE=progressive)
    assert np.array_equal(
        decode_compressed("jpeg", data), cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    )


def test_the_emptiest_pictures_are_not_taken_for_too_short() -> None:
    black = np.zeros((1080, 1920, 3), np.uint8)
    for progressive in (0, 1):
        data = jpeg(black, IMWRITE_JPEG_PROGRESSIVE=progressive, IMWRITE_JPEG_OPTIMIZE=1, IMWRITE_JPEG_QUALITY=1)
        assert decode_compressed("jpeg", data).max() <= 2


def with_size(data: bytes, width: int, height: int) -> bytes:
    changed = bytearray(data)
    frame_header = next(data.index(m) for m in (b"\xff\xc0", b"\xff\xc2") if m in data)
    changed[frame_header + 5 : frame_header + 9] = struct.pack(">HH", height, width)
    return bytes(changed)


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("size", [(8191, 8191), (4000, 4000), (1920, 1080)])
def test_a_small_jpeg_does_not_hold_a_large_picture(progressive: int, size: tuple[int, int]) -> None:
    bomb = with_size(jpeg(picture(8, 8), IMWRITE_JPEG_PROGRESSIVE=progressive), *size)
    with pytest.raises(ImageError, match=r"at most|cannot hold"):
        decode_compressed("jpeg", bomb)


def test_the_limit_is_the_callers() -> None:
    data = png(np.zeros((100, 100, 3), np.uint8))
    assert decode_compressed("png", data, max_pixels=10_000).shape == (100, 100, 3)
    with pytest.raises(ImageError, match="at most 9999 pixels, got 100x100"):
        decode_compressed("png", data, max_pixels=9_999)
    assert 3840 * 2160 < MAX_MESSAGE_PIXELS < 8191 * 8191


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = jpeg(picture(), IMWRITE_JPEG_PROGRESSIVE=1)
    scan = data.index(b"\xff\xda", data.rindex(b"\xff\xc4"))
    with pytest.raises(ImageError, match="100 scans"):
        decode_compressed("jpeg", data[:-2] + data[scan:-2] * 200 + data[-2:])


def test_a_png_is_checked_by_its_checksums() -> None:
    data = bytearray(png(busy(48, 64)))
    for position in range(40, len(data) - 12, 97):
        damaged = bytes(data[:position]) + bytes([data[position] ^ 1]) + bytes(data[position + 1 :])
        with pytest.raises(ImageError, match="expected"):
            decode_compressed("png", damaged)
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = bytes(data[:8]) + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + bytes(data[33:])
    with pytest.raises(ImageError, match="at most"):
        decode_compressed("png", bomb)


@pytest.mark.parametrize("quality", [90, 101])  # lossy, lossless
def test_webp(quality: int) -> None:
    image = picture(48, 64)
    data = webp(image, quality)
    decoded = decode_compressed("webp", data)
    assert np.abs(decoded.astype(int) - image).mean() < (6 if quality == 90 else 0.1)
    with pytest.raises(ImageError, match="at most 3071 pixels, got 64x48"):
        decode_compressed("webp", data, max_pixels=3071)
    assert np.array_equal(decode_compressed("webp", data + bytes(9)), decoded)
