"""Video files as people have them: turned, squeezed, paused, with any name; and never another file or address."""

from __future__ import annotations

import gc
import socket
import struct
import threading
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from rtseg.errors import MediaError
from rtseg.lab.replay.video_writer import VideoWriter
from rtseg.media import containers, open_frames
from tests.media.recordings import picture, write_video

ONE = 0x10000


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Write how the frames are to be turned into the header of an MP4's track."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    content[at : at + 36] = struct.pack(">9i", a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 0x40000000)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), lambda a: a),
        ((0, 1, -1, 0), lambda a: np.rot90(a, -1)),
        ((-1, 0, 0, -1), lambda a: np.rot90(a, 2)),
        ((0, -1, 1, 0), lambda a: np.rot90(a, 1)),
        ((-1, 0, 0, 1), lambda a: a[:, ::-1]),
        ((1, 0, 0, -1), lambda a: a[::-1]),
        ((0, 1, 1, 0), lambda a: a.transpose(1, 0, 2)),
    ],
)
def test_a_turned_video_is_shown_upright(tmp_path: Path, matrix: tuple[int, ...], shown) -> None:
    stored = [frame.image for frame in open_frames(write_video(tmp_path / "a.mp4"))]
    turned = [frame.image for frame in open_frames(with_matrix(tmp_path / "a.mp4", *matrix))]
    assert len(turned) == len(stored) == 12
    assert all(np.array_equal(a, shown(b)) for a, b in zip(turned, stored, strict=True))
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
    if getattr(frame, "rotation", 0) and matrix[0] * matrix[3] - matrix[1] * matrix[2] > 0:
        assert np.array_equal(turned[0], np.rot90(stored[0], frame.rotation // 90)), "as PyAV understands it"


@pytest.mark.parametrize(
    ("aspect", "size"), [("2/1", (48, 128)), ("1/2", (96, 64)), ("4/3", (48, 85)), ("1", (48, 64))]
)
def test_pixels_that_are_not_square(tmp_path: Path, aspect: str, size: tuple[int, int]) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(0), format="bgr24")))
        container.mux(stream.encode(None))
    (frame,) = open_frames(tmp_path / "a.mp4")
    assert frame.size == size


def test_a_written_video_keeps_the_times_it_is_given(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.05, 1.5, 1.5, 7.0, 66.0]
    with VideoWriter(tmp_path / "a.mp4", 25, (48, 64)) as writer:
        for i, at in enumerate(times):
            writer.write(picture(i), at)
    stamps = [frame.stamp / 1e9 for frame in open_frames(tmp_path / "a.mp4")]
    np.testing.assert_allclose(stamps, times, atol=0.001)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.duration / 1e6 == pytest.approx(66.04, abs=0.05)


@pytest.mark.parametrize(
    "name",
    ["2026-11-28T14:33:00.mp4", "concat:a.mp4|a.mp4", "a[1]%d*.mp4", "http:", "-i", "rtsp:x", "größe 道.mp4", "7"],
)
def test_any_name_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with VideoWriter(f"./{name}", 10, (48, 64)) as writer:
        for i in range(5):
            writer.write(picture(i))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    for path in (tmp_path / name, f"./{name}"):
        assert len(list(open_frames(path))) == 5


@pytest.fixture
def listener():
    """A port of this machine, and the connections that were made to it."""
    hits: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        stop = threading.Event()

        def accept() -> None:
            while not stop.is_set():
                try:
                    connection, address = server.accept()
                except TimeoutError:
                    continue
                hits.append(address)
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1], hits
        stop.set()
        thread.join()


def test_a_file_leads_to_no_other_file_or_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener) -> None:
    port, hits = listener
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "secret.ts")
    lists = {
        "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{tmp_path}/secret.ts\n#EXT-X-ENDLIST\n",
        "b.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:{port}/x.ts\n#EXT-X-ENDLIST\n",
        "c.mp4": "ffconcat version 1.0\nfile secret.ts\n",
        "d.sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n",
        "e.mpd": f"<MPD><Period><BaseURL>http://127.0.0.1:{port}/</BaseURL></Period></MPD>",
    }
    for name, content in lists.items():
        Path(name).write_text(content)
        with pytest.raises(MediaError, match="cannot be opened"):
            open_frames(name)
    folder = Path(f"http:/127.0.0.1:{port}")
    folder.mkdir(parents=True)
    write_video(Path("x.mp4").absolute()).rename(folder / "x.mp4")
    assert len(list(open_frames(f"http://127.0.0.1:{port}/x.mp4"))) == 12, "the file of that name"
    assert hits == []


def test_pictures_larger_than_the_limit_are_never_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", size=(96, 128))
    assert len(list(open_frames(path))) == 12
    monkeypatch.setattr(containers, "MAX_PIXELS", 96 * 128 - 1)
    with pytest.raises(MediaError, match="none that decode"):
        list(open_frames(path))


def test_frames_leave_neither_threads_nor_memory_behind(tmp_path: Path) -> None:
    """Of each frame that was kept a converter would be, too, with threads of its own."""
    gc.collect()
    gc.disable()
    try:
        before = threads()
        frames = open_frames(write_video(tmp_path / "a.mp4"))
        held = [threads() for _ in frames]
    finally:
        gc.enable()
    assert len(held) == 12
    assert max(held) - before <= cv2.getNumThreads() + 1


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))
