"""Seeded damage to pictures, videos and labels: a result or one typed error, within bounds; never anything else.

``RTSEG_DAMAGES`` is how many damages there are of each kind of file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from rtseg.errors import ImageError, RtsegError
from rtseg.lab.data.instance_folders import read_instances
from rtseg.lab.data.lane_labels import read_lane_labels
from rtseg.media import open_frames
from rtseg.media.images import read_image
from tests.lab.data.test_label_kinds import IMAGE, LINE, MASK, coco, cvat, labelme, points, tusimple
from tests.media.recordings import picture, write_video

DAMAGES = int(os.environ.get("RTSEG_DAMAGES", "120"))
PIECES = (b"[", b"{", b'"', b"]}", b"\\u0000", b"1e999", b"-1", b"9" * 4000, b"[/red]", b"\x1b[31m", b"null", b"../")


def damaged(content: bytes, rng: np.random.Generator, text: bool) -> bytes:
    """One to four damages: bits flipped, bytes lost, doubled, zeroed, sizes made absurd, the end cut off."""
    data = bytearray(content)
    for _ in range(1 if text else int(rng.integers(1, 5))):
        at = int(rng.integers(0, max(1, len(data))))
        length = int(rng.integers(1, 40))
        kind = int(rng.integers(0, 7))
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            del data[at : at + length]
        elif kind == 2:
            data[at:at] = data[at : at + length] * int(rng.integers(1, 30))
        elif kind == 3:
            data[at : at + length] = bytes(length)
        elif kind == 4:
            data[at : at + 4] = struct.pack(">I", int(rng.choice([0, 1, 2**31, 2**32 - 1, 65535, 2**30])))
        elif kind == 5 and rng.random() < 0.3:
            del data[at:]
        elif text:
            data[at:at] = PIECES[int(rng.integers(0, len(PIECES)))] * int(rng.choice([1, 1, 1, 5000]))
    return bytes(data)


def run(folder: Path, name: str, content: bytes, read: Callable[[Path], None], text: bool = False) -> tuple[int, int]:
    """Read every damaged copy; gives how many were read and how many refused."""
    done = refused = 0
    told: list[str] = []
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(DAMAGES):
        path.write_bytes(damaged(content, np.random.default_rng((seed, len(name))), text))
        try:
            read(path)
            done += 1
        except RtsegError as error:
            refused += 1
            told.append(str(error))
    assert all(len(message) < 5000 and message.count("\n") < 20 for message in told)
    return done, refused


def read_one(path: Path) -> None:
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.size <= 3 << 26


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm"])
def test_pictures(tmp_path: Path, suffix: str) -> None:
    content = cv2.imencode(suffix, picture(1))[1].tobytes()
    done, refused = run(tmp_path, f"a{suffix}", content, read_one)
    assert done + refused == DAMAGES
    if suffix in (".jpg", ".png"):
        assert refused > DAMAGES // 2, "what is visibly damaged is refused"


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_videos(tmp_path: Path, name: str) -> None:
    content = write_video(tmp_path / name).read_bytes()

    def read(path: Path) -> None:
        with open_frames(path) as frames:
            for i, frame in enumerate(frames):
                assert frame.image.ndim == 3
                assert frame.image.size <= 3 << 26
                assert i < 10_000

    done, _ = run(tmp_path, name, content, read)
    assert done > DAMAGES // 20, "what is sound in a damaged video is read"


def culane_text() -> str:
    return "30 95 40 60 44 40\n80 95 70 40\n"


@pytest.mark.parametrize("kind", ["labels.json", "a.json", "a.lines.txt", "annotations.xml"])
def test_lane_labels(tmp_path: Path, kind: str) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((96, 128, 3), np.uint8))
    content = {
        "labels.json": (tusimple(tmp_path, "labels.json", "a.jpg", "b.jpg") / "labels.json").read_bytes(),
        "a.json": labelme("a.jpg", ("lane", "linestrip", LINE)).encode(),
        "a.lines.txt": culane_text().encode(),
        "annotations.xml": cvat(f'<polyline label="lane" points="{points(LINE)}"/>').encode(),
    }[kind]
    (tmp_path / "labels.json").unlink()

    def read(_: Path) -> None:
        for label in read_lane_labels(tmp_path):
            for line in label.polylines():
                assert np.isfinite(line).all()

    done, refused = run(tmp_path, kind, content, read, text=True)
    assert min(done, refused) > 0


@pytest.mark.parametrize("kind", ["instances.json", "_annotations.coco.json", "a.json", "annotations.xml"])
def test_object_labels(tmp_path: Path, kind: str) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((96, 128, 3), np.uint8))
    square = [[10.0, 10.0], [30.0, 10.0], [30.0, 40.0]]
    runs = {**MASK, "id": 8, "segmentation": {"size": [96, 128], "counts": [5, 100, 96 * 128 - 105]}}
    content = {
        "a.json": labelme("a.jpg", ("car", "polygon", square), ("car", "rectangle", square[::2])),
        "annotations.xml": cvat(f'<polygon label="car" points="{points(square)}"/>'),
    }.get(kind, coco([IMAGE], [MASK, runs], "car", "bus")).encode()

    def read(_: Path) -> None:
        for frame in read_instances(tmp_path):
            try:
                image = frame.image()
            except (ImageError, RtsegError):
                continue
            truth = frame.truth()
            assert truth.instances.shape == image.shape[:2]

    done, refused = run(tmp_path, kind, content, read, text=True)
    assert min(done, refused) > 0
