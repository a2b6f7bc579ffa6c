"""Live streams of network cameras as frames."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator

import av

from rtseg.errors import MediaError
from rtseg.frame import Frame
from rtseg.media.containers import STREAM_PROTOCOLS, UprightPictures, open_stream, pictures_of, videos_in
from rtseg.media.frame_source import FrameSource

logger = logging.getLogger("rtseg")

_URL = re.compile(rf"(?:{'|'.join(STREAM_PROTOCOLS)})://", re.IGNORECASE)
TIMEOUT = 10.0
"""Seconds after which a silent stream counts as broken off."""
LONGEST_WAIT = 30.0
"""Seconds between attempts at most; the first is made after one, and each waits twice as long as the one before."""
ATTEMPTS = 8
"""In a row without a frame, about two minutes, after which the stream is given up."""


def is_url(text: str) -> bool:
    """Whether this is the address of a stream."""
    return _URL.match(text) is not None


def masked(url: str) -> str:
    """The address without user, password and the values of its query, for everything that is printed or written."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    place, mark, query = rest.partition("?")
    host, slash, path = place.partition("/")
    if "@" in place and "@" not in host:  # a password with a slash in it
        head, _, tail = place.rpartition("@")
        host, slash, path = f"{head}@", "", tail
    hidden = f"***@{host.rpartition('@')[2]}" if "@" in host else host
    query = "&".join(f"{part.partition('=')[0]}=***" for part in query.split("&")) if query else ""
    return f"{scheme}://{hidden}{slash}{path}{mark}{query}"


class StreamSource(FrameSource):
    """Frames of a network camera (RTSP, or MPEG-TS and the like over HTTP) until it is gone for good.

    A stream that breaks off is asked again, with growing pauses; stamps are wall-clock times of arrival, so that what
    follows the stream sees the gap. Of addresses only what holds no secret is told.

    Args:
        url: such as ``rtsp://user:password@host/stream``.
        timeout: see `TIMEOUT`.
        attempts: see `ATTEMPTS`.
        sleep: waits some seconds.

    Raises:
        MediaError: the first attempt already fails; while iterating, the stream did not come back.
    """

    def __init__(
        self,
        url: str,
        timeout: float = TIMEOUT,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url, self._timeout, self._attempts, self._sleep = url, timeout, attempts, sleep
        super().__init__(masked(url))
        self.live = True
        self.reconnects = 0
        self._container: av.container.InputContainer | None = self._open()

    def _open(self) -> av.container.InputContainer:
        try:
            container = open_stream(self._url, self._timeout)
        except (av.FFmpegError, OSError, ValueError) as error:
            # FFmpeg's own message would repeat the address.
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise MediaError(
                f"expected a stream at {self.name}, got {reason}; check address, password and that the camera is on"
            ) from None
        if not (videos := videos_in(container)) or videos[0].codec_context is None:
            container.close()
            raise MediaError(f"expected pictures in the stream {self.name}, got none; name another of the camera's")
        return container

    def _frames(self) -> Iterator[Frame]:
        failed = 0
        while True:
            try:
                container = self._container or self._open()
                self._container = container
                stream, pictures = pictures_of(container), UprightPictures()
                for frame in container.decode(stream):
                    if frame.is_corrupt:
                        self.skip("a frame of the stream is damaged")
                        continue
                    failed = 0
                    yield Frame(pictures.picture(frame, stream.sample_aspect_ratio), time.time_ns())
                reason = "its end"
            except (av.FFmpegError, OSError) as error:
                reason = getattr(error, "strerror", None) or type(error).__name__
            except MediaError as error:
                reason = str(error).partition(", got ")[2].partition(";")[0]
            self.close()
            failed += 1
            if failed > self._attempts:
                raise MediaError(
                    f"expected the stream {self.name} to come back, got {reason} in {failed} attempts; check the camera"
                )
            wait = min(2.0 ** (failed - 1), LONGEST_WAIT)
            logger.warning("%s: broke off (%s), trying again in %.0f s", self.name, reason, wait)
            self._sleep(wait)
            self.reconnects += 1

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None
