"""Seeded damage to pictures, videos and labels: a result or one typed error, within bounds; never anything else.

``python bench/damages.py`` makes thousands more of them, and of those to recordings.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from rtseg.errors import RtsegError
from rtseg.lab.data.instance_folders import read_instances
from rtseg.lab.data.lane_labels import read_lane_labels
from rtseg.media import open_frames
from rtseg.media.images import read_image
from tests.lab.data.test_label_kinds import IMAGE, LINE, MASK, coco, cvat, labelme, points, tusimple
from tests.media.damage import mcap
from tests.media.recordings import PERIOD, START, Messages, picture, write_video

DAMAGES = 120
FRAMES = 6
PIECES = (b"[", b"{", b'"', b"]}", b"\\u0000", b"1e999", b"-1", b"9" * 4000, b"[/red]", b"\x1b[31m", b"null", b"../")
SQUARE = [[10.0, 10.0], [30.0, 10.0], [30.0, 40.0]]
METADATA = """rosbag2_bagfile_information:
  version: 9
  storage_identifier: mcap
  duration: {nanoseconds: 500000000}
  starting_time: {nanoseconds_since_epoch: 1700000000000000000}
  message_count: 6
  topics_with_message_count:
    - topic_metadata: {name: /camera/front/image_raw, type: sensor_msgs/msg/Image, serialization_format: cdr}
      message_count: 6
  compression_format: ""
  compression_mode: ""
  relative_file_paths: [drive_0.mcap, drive_1.mcap]
"""


class Kind(NamedTuple):
    """A kind of file: what it is called, what is in it, and how it is read; `folder` is made ready by `beside`."""

    name: str
    content: Callable[[Path], bytes]
    read: Callable[[Path], None]
    text: bool = False
    beside: Callable[[Path], object] = lambda folder: None


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


def read_picture(path: Path) -> None:
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.size <= 3 << 26


def read_video(path: Path) -> None:
    with open_frames(path) as frames:
        for i, frame in enumerate(frames):
            assert frame.image.ndim == 3
            assert frame.image.size <= 3 << 26
            assert i < 10_000


def read_lanes(path: Path) -> None:
    for label in read_lane_labels(path.parent):
        for line in label.polylines():
            assert np.isfinite(line).all()


def read_objects(path: Path) -> None:
    for frame in read_instances(path.parent):
        image = frame.image()
        assert frame.truth().instances.shape == image.shape[:2]


def read_bag(path: Path) -> None:
    with open_frames(path.parent) as frames:
        assert len(list(frames)) == FRAMES, "whatever metadata.yaml says, the recording is there"


def black(folder: Path) -> None:
    cv2.imwrite(str(folder / "a.jpg"), np.zeros((96, 128, 3), np.uint8))


def splits(folder: Path) -> None:
    messages = Messages(ros1=False)
    stored = [(START + i * PERIOD, messages.serialize(messages.image(i, START + i * PERIOD))) for i in range(FRAMES)]
    (folder / "drive_0.mcap").write_bytes(mcap([stored[:3]], ""))
    (folder / "drive_1.mcap").write_bytes(mcap([stored[3:]], "zstd"))


def _coco() -> bytes:
    runs = {**MASK, "id": 8, "segmentation": {"size": [96, 128], "counts": [5, 100, 96 * 128 - 105]}}
    return coco([IMAGE], [MASK, runs], "car", "bus").encode()


def _still(suffix: str) -> Kind:
    return Kind(f"a{suffix}", lambda _: cv2.imencode(suffix, picture(1))[1].tobytes(), read_picture)


def _film(name: str) -> Kind:
    return Kind(name, lambda folder: write_video(folder / name).read_bytes(), read_video)


def _label(name: str, content: Callable[[Path], bytes], read: Callable[[Path], None]) -> Kind:
    return Kind(name, content, read, True, black)


PICTURES = {suffix[1:]: _still(suffix) for suffix in (".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm")}
VIDEOS = {name[2:]: _film(name) for name in ("a.mp4", "a.mkv", "a.ts", "a.avi")}
LABELS = {
    "tusimple": _label(
        "labels.json",
        lambda folder: (tusimple(folder, "labels.json", "a.jpg", "b.jpg") / "labels.json").read_bytes(),
        read_lanes,
    ),
    "culane": _label("a.lines.txt", lambda _: b"30 95 40 60 44 40\n80 95 70 40\n", read_lanes),
    "labelme lanes": _label("a.json", lambda _: labelme("a.jpg", ("lane", "linestrip", LINE)).encode(), read_lanes),
    "cvat lanes": _label(
        "annotations.xml",
        lambda _: cvat(f'<polyline label="lane" points="{points(LINE)}"/>').encode(),
        read_lanes,
    ),
    "coco": _label("instances.json", lambda _: _coco(), read_objects),
    "roboflow": _label("_annotations.coco.json", lambda _: _coco(), read_objects),
    "labelme objects": _label(
        "a.json",
        lambda _: labelme("a.jpg", ("car", "polygon", SQUARE), ("car", "rectangle", SQUARE[::2])).encode(),
        read_objects,
    ),
    "cvat objects": _label(
        "annotations.xml",
        lambda _: cvat(f'<polygon label="car" points="{points(SQUARE)}"/>').encode(),
        read_objects,
    ),
}
KINDS = {
    **PICTURES,
    **VIDEOS,
    **LABELS,
    "metadata": Kind("metadata.yaml", lambda _: METADATA.encode(), read_bag, True, splits),
}


@cache
def sound(kind: str, folder: Path) -> bytes:
    """The content of the file before anything happened to it; makes `folder` ready."""
    KINDS[kind].beside(folder)
    return KINDS[kind].content(folder)


def check(kind: str, seed: int, folder: Path) -> str:
    """Read one damaged file in a folder of its own; what came of it."""
    content = sound(kind, folder)
    path = folder / KINDS[kind].name
    path.write_bytes(damaged(content, np.random.default_rng((seed, len(path.name))), KINDS[kind].text))
    try:
        KINDS[kind].read(path)
    except RtsegError as error:
        message = str(error)
        assert len(message) < 5000, message[:200]
        assert message.count("\n") < 20, message
        return "refused"
    return "read"


def outcomes(kind: str, folder: Path) -> tuple[int, int]:
    """How many damaged files are read, and how many refused."""
    told = [check(kind, seed, folder) for seed in range(DAMAGES)]
    return told.count("read"), told.count("refused")


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures(tmp_path: Path, kind: str) -> None:
    _, refused = outcomes(kind, tmp_path)
    if kind in ("jpg", "png"):
        assert refused > DAMAGES // 2, "what is visibly damaged is refused"


@pytest.mark.parametrize("kind", VIDEOS)
def test_videos(tmp_path: Path, kind: str) -> None:
    assert outcomes(kind, tmp_path)[0] > DAMAGES // 20, "what is sound in a damaged video is read"


@pytest.mark.parametrize("kind", LABELS)
def test_labels(tmp_path: Path, kind: str) -> None:
    assert min(outcomes(kind, tmp_path)) > 0


def test_whatever_metadata_say_the_recording_is_read(tmp_path: Path) -> None:
    assert outcomes("metadata", tmp_path) == (DAMAGES, 0)
