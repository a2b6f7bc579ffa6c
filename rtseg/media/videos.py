"""Video files as frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import cv2

from rtseg.counted import counted
from rtseg.errors import MediaError
from rtseg.files import is_there
from rtseg.frame import Frame
from rtseg.media.containers import UprightPictures, open_file, pictures_of, videos_in
from rtseg.media.damage import missing_bytes
from rtseg.media.frame_source import FrameSource, logger
from rtseg.media.gif import gif_blocks
from rtseg.printing import visible

_DAMAGED = "is damaged; what does not decode of it is left out"

_TIMED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts")
"""Containers that store when each frame is shown, so that it has the same stamp wherever decoding begins."""

_EARLY = Fraction(1, 2)
"""Seconds that pictures may end before the time that the container states: sound, or a last one shown for longer."""

_TICK = 10**9 // av.time_base  # nanoseconds of FFmpeg's own unit of time


class VideoSource(FrameSource):
    """The frames of a video file in whatever container and codec FFmpeg knows; stamps are presentation times.

    Frames come as a player shows them: turned as the file says, with square pixels.

    What does not decode is skipped and counted, and so are pictures that are made of it, up to the next key frame.

    Raises:
        MediaError: the file is no video, or its codec is not to be had.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        with self._open() as container:
            videos = videos_in(container)
            stream = videos[0]
            rate = stream.average_rate or stream.guessed_rate
            count = stream.frames or None
            if not count and rate and container.duration:
                count = round(container.duration / av.time_base * rate)
            super().__init__(self._path.name, count, float(rate) if rate else None)
            self._stated = _stated_end(container) if container.format.name in _TIMED else None
            start, tick, length = stream.start_time, stream.time_base, container.duration
            self._timed = False
            if container.format.name in _TIMED and start is not None and tick is not None and length:
                self._timed = True
                begin = _nanoseconds(start * tick)
                self.extent = (begin, begin + length * _TICK)
                self.per_second = 1e9
        self.files = (self._path,)
        if len(videos) > 1:
            logger.warning("%s holds %d videos, of which the first is read", visible(self._path), len(videos))
        gif = gif_blocks(self._path)
        self._whole = gif.whole if gif and not gif.ended else None
        if self._whole is not None:
            self.tell(self._path, "is cut off: it has no end; copy it again")
        if missing := missing_bytes(self._path):
            self.tell(self._path, f"is cut off: it lacks {counted(missing, 'byte')} of its end; copy it again")

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
        videos = videos_in(container)
        if not videos:
            container.close()
            raise MediaError(f"expected a video stream in {self._path}, got none; give a file with pictures")
        if videos[0].codec_context is None:
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
        decoded = seen = 0
        spoilt = False  # since a damaged picture, to which the next ones refer
        last: Fraction | None = None
        gaps, pictures = _Gaps(), UprightPictures()
        stream = pictures_of(container)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = max(1, cv2.getNumThreads())  # workers with cores of their own bound these
        period = 1 / Fraction(stream.average_rate or 30)
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
                if packet.is_corrupt:
                    self.tell(self._path, _DAMAGED)
                gaps.take(packet)
                if packet.pts is not None and packet.time_base is not None:
                    end = (packet.pts + (packet.duration or 0)) * packet.time_base
                    last = end if last is None else max(last, end)
                frames = packet.decode()
            except (StopIteration, av.EOFError):
                break
            except av.FFmpegError as error:
                # A broken packet; when the container itself is broken, asking again raises the same for ever.
                self.skip(f"a part of the video does not decode: {error.strerror}")
                self.tell(self._path, _DAMAGED)
                spoilt = True
                if self.skipped.total() > 1000:
                    break
                continue
            for frame in frames:
                seen += 1
                if self._whole is not None and seen > self._whole:
                    self.skip("a frame of the video is cut off")
                    continue
                if frame.is_corrupt:
                    self.skip("a frame of the video is damaged")
                    self.tell(self._path, _DAMAGED)
                    spoilt = True
                    continue
                spoilt = spoilt and not frame.key_frame
                if gaps.spoil(frame) or spoilt:
                    self.skip("a frame of the video is made of a damaged one")
                    continue
                at = (
                    decoded * period
                    if frame.pts is None or frame.time_base is None
                    else Fraction(frame.pts * frame.time_base)
                )
                decoded += 1
                yield Frame(pictures.picture(frame, stream.sample_aspect_ratio), _nanoseconds(at))
        if self._stated and (last or 0) + _EARLY + 2 * period < self._stated:
            self.tell(self._path, f"states pictures up to {float(self._stated):.1f} s, of which the last are missing")


class _Gaps:
    """Which pictures refer to what a container knows to be lost: decoders show something in its place."""

    def __init__(self) -> None:
        self._open = False  # since a damaged packet, until a key frame
        self._clean: int | None = None  # time of that key frame; what is shown before it may refer to both sides
        self._spoilt: set[int] = set()

    def take(self, packet: av.Packet) -> None:
        """Look at the next packet, in the order of decoding."""
        if packet.is_corrupt:
            self._open = True
        elif self._open and packet.is_keyframe:
            self._open, self._clean = False, packet.pts
        if packet.pts is not None and (self._open or (self._clean is not None and packet.pts < self._clean)):
            self._spoilt.add(packet.pts)

    def spoil(self, frame: av.VideoFrame) -> bool:
        """Whether this picture is one of those."""
        if frame.pts not in self._spoilt:
            return False
        self._spoilt.discard(frame.pts)
        return True


def _stated_end(container: av.container.InputContainer) -> Fraction | None:
    """Seconds at which the pictures end, as the container says; None where it does not, or may mean another stream."""
    stream = videos_in(container)[0]
    if stream.duration and stream.time_base:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base
    if container.duration and len(container.streams) == 1:
        return Fraction(container.duration, av.time_base)
    return None


def _nanoseconds(seconds: Fraction) -> int:
    return int(seconds * 10**9)
