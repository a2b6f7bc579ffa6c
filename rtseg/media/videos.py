"""Video files as frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av

from rtseg.errors import MediaError
from rtseg.files import is_there
from rtseg.frame import Frame
from rtseg.media.containers import open_file, pictures_of, upright_picture
from rtseg.media.frame_source import FrameSource

_TIMED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts")
"""Containers that store when each frame is shown, so that it has the same stamp wherever decoding begins."""

_TICK = 10**9 // av.time_base  # nanoseconds of FFmpeg's own unit of time


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
            self._timed = container.format.name in _TIMED and stream.start_time is not None and container.duration
            if self._timed:
                begin = _nanoseconds(stream.start_time * stream.time_base)
                self.extent = (begin, begin + container.duration * _TICK)
                self.per_second = 1e9
        self.files = (self._path,)

    def _open(self) -> av.container.InputContainer:
        if is_there(self._path) and not self._path.stat().st_size:
            raise MediaError(f"expected a video, got {self._path}, which is empty; copy it again")
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
        with self._open() as container:
            frame = None
            for frame in self._decode(container):
                yield frame
        if frame is None:
            raise MediaError(f"expected frames in {self._path}, got none that decode; it is truncated or empty")

    def _part(self, start: int, stop: int | None) -> Iterator[Frame]:
        """Give the frames whose stamps are at least `start` and less than `stop`, from the key frame before them on."""
        if not self._timed or self.extent is None:
            yield from super()._part(start, stop)
            return
        first, _ = self.extent
        with self._open() as container:
            if start > first:
                with suppress(av.FFmpegError):  # then it is decoded from the start
                    container.seek(start // _TICK)
            led_past = start > first
            for frame in self._decode(container):
                assert frame.stamp is not None
                led_past = led_past and frame.stamp > start
                if led_past or (stop is not None and frame.stamp >= stop):
                    break
                if frame.stamp >= start:
                    yield frame
        if led_past:  # the container's index is wrong, or nothing is there
            for frame in self._frames():
                assert frame.stamp is not None
                if start <= frame.stamp and (stop is None or frame.stamp < stop):
                    yield frame

    def _decode(self, container: av.container.InputContainer) -> Iterator[Frame]:
        decoded = 0
        stream = pictures_of(container)
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
                    else Fraction(frame.pts * frame.time_base)
                )
                decoded += 1
                yield Frame(upright_picture(frame, stream.sample_aspect_ratio), _nanoseconds(at))


def _nanoseconds(seconds: Fraction) -> int:
    return int(seconds * 10**9)
