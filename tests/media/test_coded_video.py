"""Video that was recorded packet by packet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from rtseg.errors import MediaError
from rtseg.media import open_frames
from rtseg.media.coded_video import FFMPEG, FOXGLOVE, definitions
from tests.media.recordings import PERIOD, START, Messages, picture, write_bag

TOPIC = "/camera/front/image_raw/ffmpeg"
SIZE = (96, 128)
STEADY = {"tune": "zerolatency", "x264-params": "scenecut=0"}


def packets(codec: str, frames: int, **options: str) -> list[tuple[int, bytes]]:
    """(number of the picture, packet) in the order of coding; a key frame each 10."""
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = SIZE[1], SIZE[0], "yuv420p", 10
    encoder.options = {"g": "10", "crf": "10", **(options or STEADY)}
    out = []
    for i in range(frames):
        frame = av.VideoFrame.from_ndarray(picture(i, *SIZE), format="bgr24")
        frame.pts = i
        out += encoder.encode(frame)
    out += encoder.encode(None)
    return [(int(packet.pts), bytes(packet)) for packet in out]


def record(folder: Path, msgtype: str, named: str, sent: list[tuple[int, bytes]]) -> Path:
    messages = Messages(ros1=False)
    messages.store.register(definitions())
    kind = messages.store.types[msgtype]
    entries: list[tuple[str, int, Any]] = []
    for i, (number, data) in enumerate(sent):
        content = np.frombuffer(data, np.uint8)
        header = messages.header(START + number * PERIOD)
        if msgtype == FOXGLOVE:
            message = kind(timestamp=header.stamp, frame_id="front", data=content, format=named)
        else:
            message = kind(
                header=header,
                width=128,
                height=96,
                encoding=named,
                pts=number,
                flags=0,
                is_bigendian=False,
                data=content,
            )
        entries.append((TOPIC, START + i * PERIOD, message))
    return write_bag(folder, "mcap", entries, messages)


def check(frames: list[Any], numbers: list[int]) -> None:
    assert [round((frame.stamp - START) / PERIOD) for frame in frames] == numbers
    for frame, number in zip(frames, numbers, strict=True):
        assert np.abs(frame.image.astype(int) - picture(number, *SIZE)).mean() < 6


@pytest.mark.parametrize(
    ("msgtype", "codec", "named"),
    [
        (FOXGLOVE, "libx264", "h264"),
        (FOXGLOVE, "libx265", "h265"),
        (FFMPEG[0], "libx264", "libx264"),
        (FFMPEG[0], "libx264", "h264;yuv420p;bgr8;bgr8"),
        (FFMPEG[1], "libx265", "hevc"),
    ],
)
def test_pictures_are_those_that_were_sent(tmp_path: Path, msgtype: str, codec: str, named: str) -> None:
    tune = {"x265-params": "bframes=0:log-level=0"} if codec == "libx265" else STEADY
    path = record(tmp_path, msgtype, named, packets(codec, 24, **tune))
    with open_frames(path) as source:
        assert source.fps == 10
        check(list(source), list(range(24)))
        assert not source.skipped
        parts = [frame for start in (0, 7, 15) for frame in source.between(start, {0: 7, 7: 15, 15: None}[start])]
    check(parts, list(range(24)))


def test_pictures_that_are_coded_out_of_order_keep_their_stamps(tmp_path: Path) -> None:
    sent = packets("libx264", 24, **{"x264-params": "scenecut=0:bframes=2:b-adapt=0"})
    assert [number for number, _ in sent] != list(range(24)), "there are such pictures"
    with open_frames(record(tmp_path, FOXGLOVE, "h264", sent)) as source:
        check(sorted(source, key=lambda frame: frame.stamp or 0), list(range(24)))


def test_what_begins_in_the_middle_is_read_from_the_next_key_frame_on(tmp_path: Path) -> None:
    with open_frames(record(tmp_path, FOXGLOVE, "h264", packets("libx264", 24)[4:])) as source:
        check(list(source), list(range(10, 24)))
        assert sum(source.skipped.values()) == 6


def test_lost_and_broken_packets_cost_no_picture_behind_the_next_key_frame(tmp_path: Path) -> None:
    sent = packets("libx264", 24)
    sent[12] = (12, bytes(300))
    sent[13] = (13, b"")
    with open_frames(record(tmp_path, FFMPEG[0], "libx264", sent)) as source:
        numbers = [round(((frame.stamp or 0) - START) / PERIOD) for frame in source]
    assert set(numbers) >= {*range(12), *range(20, 24)}
    assert len(numbers) + sum(source.skipped.values()) == 24


def test_unknown_codecs_are_named(tmp_path: Path) -> None:
    with open_frames(record(tmp_path, FOXGLOVE, "cinepak", [(0, b"abc")])) as source:
        assert not list(source)
        assert "'cinepak'" in next(iter(source.skipped))
    (tmp_path / "drive" / "drive.mcap").write_bytes(b"")
    with pytest.raises(MediaError):
        open_frames(tmp_path / "drive")
