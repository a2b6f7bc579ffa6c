"""Network streams, served by a small server of this machine: they break off and come back; secrets are never told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from rtseg.errors import MediaError
from rtseg.media import open_frames
from rtseg.media.streams import StreamSource, is_url, masked
from tests.media.recordings import picture, write_video


@contextmanager
def served(content: bytes, failures: frozenset[int] = frozenset()) -> Iterator[tuple[str, list[str]]]:
    """Serve a stream that breaks off at its end; requests with these numbers are refused."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(503 if len(asked) - 1 in failures else 200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            if len(asked) - 1 not in failures:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_stream_comes_back_and_its_stamps_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = write_video(tmp_path / "a.ts").read_bytes()
    waits: list[float] = []
    with served(content, frozenset({1, 2})) as (host, asked), caplog.at_level(logging.WARNING):
        source = StreamSource(f"http://user:sesame@{host}/cam?token=sesame2", 5, sleep=waits.append)
        frames = list(islice(source, 30))
        source.close()
        assert source.live
        assert source.reconnects >= 4
    assert waits[:3] == [1, 2, 4]
    assert waits[3] == 1, "after a frame the pauses begin anew"
    assert np.all(np.diff([frame.stamp for frame in frames]) > 0)
    assert np.abs(frames[0].image.astype(int) - picture(0)).mean() < 15
    assert set(asked) == {"/cam?token=sesame2"}, "the camera is told"
    assert "broke off" in caplog.text
    assert "sesame" not in caplog.text + source.name


def test_a_stream_that_is_gone_is_given_up(tmp_path: Path) -> None:
    content = write_video(tmp_path / "a.ts").read_bytes()
    waits: list[float] = []
    with served(content, frozenset(range(1, 99))) as (host, _):
        source = StreamSource(f"http://{host}/cam", 5, attempts=7, sleep=waits.append)
        with pytest.raises(MediaError, match="8 attempts"):
            list(source)
    assert waits == [1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize(
    "path", ["rtsp://user:sesame@127.0.0.1:1/cam", "http://user:sesame@127.0.0.1:1/cam?key=sesame"]
)
def test_what_cannot_be_reached_tells_no_secret(path: str) -> None:
    with pytest.raises(MediaError, match=r"stream at .*127\.0\.0\.1") as caught:
        open_frames(path)
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("rtsp://host/a", "rtsp://host/a"),
        ("rtsp://u:p@host:554/a/b", "rtsp://***@host:554/a/b"),
        ("rtsp://u:p@ss@host/a", "rtsp://***@host/a"),
        ("rtsp://u:p/w@host/a", "rtsp://***@host/a"),
        ("http://host/a?user=u&pwd=p", "http://host/a?user=***&pwd=***"),
        ("rtsp://token@host", "rtsp://***@host"),
    ],
)
def test_masked_addresses(url: str, told: str) -> None:
    assert masked(url) == told
    assert is_url(url)


@pytest.mark.parametrize("name", ["a.mp4", "a?b=c.mp4", "me@home.mp4"])
def test_names_of_files_are_told_as_they_are(name: str) -> None:
    assert masked(name) == name
    assert not is_url(name)


@pytest.mark.parametrize("text", ["a.mp4", "rtsp:x", "file:///etc/passwd", "concat:a", "data://x", "C:/a.mp4"])
def test_what_is_no_stream(text: str) -> None:
    assert not is_url(text)
    with pytest.raises(MediaError):
        open_frames(text)
