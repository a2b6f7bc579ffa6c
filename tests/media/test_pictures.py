"""Picture files as people have them: turned by EXIF, misnamed, damaged, of every kind, absurdly large."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from rtseg.errors import ImageError, MediaError
from rtseg.media import open_frames
from rtseg.media.compressed import decode_compressed
from rtseg.media.images import image_size, read_image, read_stored
from tests.media.recordings import picture


def exif(orientation: int) -> bytes:
    """A TIFF header with one entry: the orientation."""
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)


def turned(image: np.ndarray, orientation: int, suffix: str) -> bytes:
    """A picture file that is shown otherwise than it is stored."""
    content = cv2.imencode(suffix, image)[1].tobytes()
    if suffix == ".jpg":
        part = b"Exif\0\0" + exif(orientation)
        return content[:2] + b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part + content[2:]
    chunk = b"eXIf" + exif(orientation)
    return (
        content[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[33:]
    )


SHOWN = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", SHOWN)
def test_files_are_upright_and_messages_fit_their_camera_info(tmp_path: Path, orientation: int) -> None:
    image = picture(3)
    path = tmp_path / "a.png"
    path.write_bytes(turned(image, orientation, ".png"))
    assert np.array_equal(read_image(path), SHOWN[orientation](image))
    for suffix in (".png", ".jpg"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(turned(image, orientation, suffix))
        (frame,) = open_frames(path)
        assert np.array_equal(frame.image, cv2.imread(str(path))), "as README reads it"
        assert decode_compressed(suffix, path.read_bytes()).shape == image.shape


@pytest.mark.parametrize(
    "name", ["webp_named.jpg", "png_named.jpg", "jpg_named.bmp", "bare", "A.JPEG", "a.jfif", "a.dib", "a.pnm", "a.tif"]
)
def test_what_a_picture_is_its_content_says(tmp_path: Path, name: str) -> None:
    kinds = {"webp_named.jpg": ".webp", "png_named.jpg": ".png", "a.dib": ".bmp", "a.pnm": ".ppm", "a.tif": ".tiff"}
    image = picture(0)
    (tmp_path / name).write_bytes(cv2.imencode(kinds.get(name, ".jpg"), image)[1].tobytes())
    (alone,) = open_frames(tmp_path / name)
    (of_folder,) = open_frames(tmp_path)
    assert np.array_equal(alone.image, of_folder.image)
    assert np.abs(alone.image.astype(int) - image).mean() < 12


def test_every_picture_of_a_folder_is_given_or_named(tmp_path: Path) -> None:
    sound = cv2.imencode(".jpg", picture(0))[1].tobytes()
    names = {
        "empty.jpg": b"",
        "half.jpg": sound[: len(sound) // 2],
        "half.png": cv2.imencode(".png", picture(0))[1].tobytes()[:60],
        "page.png": b"<html>not found</html>",
        "photo.heic": b"\0\0\0\x18ftypheic" + bytes(40),
        "scan.tiff": b"II*\0" + bytes(30),
        "x.hdr": b"#?RADIANCE\n",
        "sound.jpg": sound,
        "tiny.png": cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes(),
    }
    for name, content in names.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.jpg").mkdir()
    with open_frames(tmp_path) as source:
        given = {Path(frame.name).name for frame in source}
    assert given == {"sound.jpg", "tiny.png"}
    assert {Path(name).name for name, _ in source.left_out} == set(names) - given
    for name, reason in source.left_out:
        assert name in reason
        assert not any(word in reason for word in ("publish", "driver", "message", "frame", "image_transport"))
    assert source.skipped.total() == 7


def tiff(width: int, height: int) -> bytes:
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 1)]
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + bytes(8)


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "content",
    [tiff(30_000, 30_000), bmp(30_000, 30_000), b"P6 30000 30000 255\n", b"GIF89a\x30\x75\x30\x75\0\0\0"],
    ids=["tiff", "bmp", "ppm", "gif"],
)
def test_absurd_sizes_are_refused_before_anything_is_allocated(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.bmp").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.bmp"):
        read_image(tmp_path / "a.bmp")


def test_a_pattern_of_another_kind_is_answered_with_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"write .*frame_\*\.jpg"):
        open_frames(tmp_path / "frame_%04d.jpg")


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_the_size_of_a_picture_is_that_it_is_read_with(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    image = picture(0)
    stored = Image.fromarray(np.ascontiguousarray(image[:, :, ::-1]))
    told = Image.Exif()
    told[0x112] = orientation
    stored.save(path, exif=told)
    shown = read_image(path)
    assert shown.shape == SHOWN[orientation](image).shape
    assert image_size(path) == shown.shape[:2]


@pytest.mark.parametrize("name", ["a.jpg", "a.mp4", "a.mcap", "a.bag", "a"])
def test_pipes_and_devices_are_refused_without_waiting_for_them(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(MediaError, match="a pipe or a device"):
        open_frames(tmp_path / name)
    with pytest.raises(MediaError, match="expected"):
        list(open_frames(tmp_path))
    cv2.imwrite(str(tmp_path / "b.png"), picture(0))
    if name not in ("a.mcap", "a.bag"):
        with open_frames(tmp_path) as source:
            assert len(list(source)) == 1
        assert len(source.left_out) == (name == "a.jpg")


def test_what_telephones_write_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400))
    with pytest.raises(MediaError, match="HEIC; save it as JPEG"):
        list(open_frames(tmp_path / "a.heic"))


def test_no_name_is_not_this_folder() -> None:
    with pytest.raises(MediaError, match="got no name"):
        open_frames("")


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".bmp", ".webp"])
def test_what_a_mask_lacks_is_not_made_up(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mask{suffix}"
    kind, first = (np.uint16, 300) if suffix in (".png", ".tiff") else (np.uint8, 0)
    stored = np.random.default_rng(0).integers(first, first + 256, (40, 60), dtype=kind)
    cv2.imwrite(str(path), stored, [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else [])
    found = read_stored(path)
    np.testing.assert_array_equal(found if found.ndim == 2 else found[:, :, 0], stored)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(ImageError, match=f"mask{suffix}"):
        read_stored(path)
