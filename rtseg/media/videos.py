"""Video files as frames."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from rtseg.errors import MediaError
from rtseg.frame import Frame
from rtseg.media.containers import open_file, upright_picture
from rtseg.media.frame_source import FrameSource


class VideoSource(FrameSource):
    """The frames of a video file in whatever container and codec FFmpeg knows; stamps are presentation times.

    Frames come as a player shows them: turned as the file says, with square pixels.

    Raises:
        MediaError: the file is no video, or its codec is not to be had. What does not decode later on is skipped and
            counted.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        with self._open() as container:
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate
            count = stream.frames or None
            if not count and rate and container.duration:
                count = round(container.duration / av.time_base * rate)
            super().__init__(self._path.name, count, float(rate) if rate else None)
        self.files = (self._path,)

    def _open(self) -> av.container.InputContainer:
        try:
            container = open_file(self._path)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise MediaError(
                f"expected a video, got {self._path} that cannot be opened "
                f"({getattr(error, 'strerror', None) or error}); "
                "it may be truncated, a list of other files, or no video at all: copy or convert it again"
            ) from error
        if not container.streams.video:
            container.close()
            raise MediaError(f"expected a video stream in {self._path}, got none; give a file with pictures")
        if container.streams.video[0].codec_context is None:
            container.close()
            raise MediaError(f"expected a codec that FFmpeg knows in {self._path}, got none; convert it to H.264")
        return container

    def _frames(self) -> Iterator[Frame]:
        decoded = 0
        with self._open() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            period = 1 / Fraction(stream.average_rate or 30)
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets)
                    frames = packet.decode()
                except (StopIteration, av.EOFError):
                    break
                except av.FFmpegError as error:
                    # A broken packet; when the container itself is broken, asking again raises the same for ever.
                    self.skip(f"a part of the video does not decode: {error.strerror}")
                    if self.skipped.total() > 1000:
                        break
                    continue
                for frame in frames:
                    if frame.is_corrupt:
                        self.skip("a frame of the video is damaged")
                        continue
                    at = (
                        decoded * period
                        if frame.pts is None or frame.time_base is None
                        else frame.pts * frame.time_base
                    )
                    decoded += 1
                    yield Frame(upright_picture(frame, stream.sample_aspect_ratio), int(at * 10**9))
        if not decoded:
            raise MediaError(f"expected frames in {self._path}, got none that decode; it is truncated or empty")
