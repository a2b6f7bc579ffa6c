"""Files that hold several pictures, covers or videos: what of them is read is told, and half a picture is none."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from rtseg.errors import MediaError
from rtseg.media import open_frames
from rtseg.media.gif import blocks_of
from tests.media.recordings import picture


def animation(kind: str, count: int = 3) -> bytes:
    """A file of that many pictures."""
    first, *others = (Image.fromarray(np.ascontiguousarray(picture(number)[..., ::-1])) for number in range(count))
    content = io.BytesIO()
    first.save(content, kind, save_all=count > 1, append_images=others, duration=100)
    return content.getvalue()


def test_of_a_gif_that_is_cut_off_anywhere_the_whole_pictures_are_given(tmp_path: Path) -> None:
    whole = animation("gif")
    path = tmp_path / "a.gif"
    path.write_bytes(whole)
    expected = [frame.image for frame in open_frames(path)]
    assert len(expected) == 3
    counts = []
    for cut in [*range(1, len(whole), 13), len(whole) - 1]:
        path.write_bytes(whole[:cut])
        try:
            with open_frames(path) as source:
                assert any("is cut off" in sentence for sentence in source.damage)
                frames = [frame.image for frame in source]
        except MediaError:
            frames = []
        counts.append(len(frames))
        assert all(np.array_equal(a, b) for a, b in zip(frames, expected, strict=False)), cut
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2, 3}  # three where nothing but the end is missing


def test_blocks_of_a_gif_are_counted_and_of_others_none() -> None:
    for count in (1, 2, 5):
        blocks = blocks_of(io.BytesIO(animation("gif", count)))
        assert blocks is not None
        assert (blocks.whole, blocks.ended) == (count, True)
    assert blocks_of(io.BytesIO(b"\x89PNG\r\n\x1a\n")) is None
    assert blocks_of(io.BytesIO(b"")) is None


@pytest.mark.parametrize("kind", ["png", "webp", "tiff", "gif"])
@pytest.mark.parametrize("count", [1, 3])
def test_further_pictures_in_a_file_are_told_once(
    kind: str, count: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = animation(kind, count)
    if cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is None:
        pytest.skip("this OpenCV does not read such files")
    for name in "ab":
        (tmp_path / f"{name}.{kind}").write_bytes(data)
    with caplog.at_level(logging.WARNING, "rtseg"):
        assert len(list(open_frames(tmp_path))) == 2
    told = [record.getMessage() for record in caplog.records]
    assert told == (
        [] if count == 1 else [f"{tmp_path / f'a.{kind}'} holds several pictures, of which the first is read"]
    )


def test_a_thumbnail_in_a_tiff_is_no_further_picture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    small = Image.fromarray(np.zeros((6, 8, 3), np.uint8))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(picture(1)).save(tmp_path / "a.tiff", save_all=True, append_images=[small])
    with Image.open(tmp_path / "a.tiff") as made:
        made.seek(1)
        if made.tag_v2.get(254) != 1:
            pytest.skip("this Pillow does not write what kind of page one is")
    list(open_frames(tmp_path / "a.tiff"))
    assert not caplog.records


def with_cover(sound: bytes) -> bytes:
    """MP3 with a picture in its ID3 tag."""
    body = b"\0image/jpeg\0\3\0" + cv2.imencode(".jpg", picture(0))[1].tobytes()
    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\0\0" + body
    length = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + length + frame + sound


def test_music_with_a_cover_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libmp3lame", rate=44100)
        for _ in range(10):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.float32), format="fltp", layout="mono")
            sound.rate = 44100
            for packet in stream.encode(sound):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    path.write_bytes(with_cover(path.read_bytes()))
    with av.open(str(path)) as container:
        (cover,) = container.streams.video
        if not hasattr(cover, "disposition"):
            pytest.skip("this PyAV does not know covers")
    with pytest.raises(MediaError, match="expected a video stream"):
        open_frames(path)


def test_of_two_videos_in_a_file_the_first_is_read_and_that_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "front_and_rear.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=10) for _ in range(2)]
        for stream, side in zip(streams, (64, 96), strict=True):
            stream.width = stream.height = side
            stream.pix_fmt = "yuv420p"
        for stream in streams:
            for level in range(3):
                pixels = np.full((stream.height, stream.width, 3), 40 * level, np.uint8)
                for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)
    with caplog.at_level(logging.WARNING, "rtseg"), open_frames(path) as source:
        assert {frame.image.shape for frame in source} == {(64, 64, 3)}
    assert "holds 2 videos, of which the first is read" in caplog.text
