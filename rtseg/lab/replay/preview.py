"""A small video of a run for its report, which never grows over what the page may hold."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import MediaError
from rtseg.frame import check_image

_WIDTH = 640
_TICKS = 90_000  # a second
_BASE = Fraction(1, _TICKS)
_OPTIONS = {"preset": "superfast", "crf": "27", "bf": "0", "g": "30"}  # a key frame a second: pages seek in it


class Preview:
    """Collects the frames of a run as a small H.264 MP4; of more than fit, every second, fourth, ... frame is kept.

    Args:
        limit: bytes that it takes at most.
    """

    def __init__(self, limit: int = 5_000_000) -> None:
        self._limit = limit
        self._stride = 1
        self._number = 0
        self._encoder: _Encoder | None = None

    def write(self, image: NDArray[np.uint8], seconds: float) -> None:
        """Add one (H, W, 3) uint8 BGR image, shown at `seconds` from the start; all are fitted to the first's shape.

        Raises:
            ImageError: it is no image.
            MediaError: it cannot be encoded.
        """
        height, width = check_image(image).shape[:2]
        number, self._number = self._number, self._number + 1
        if number % self._stride:
            return
        if self._encoder is None:
            scale = min(1.0, _WIDTH / width)
            self._encoder = _Encoder(max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2))
        self._encoder.add(image, round(seconds * _TICKS))
        if self._encoder.size > self._limit:
            self._halve()

    def finish(self) -> bytes:
        """The MP4; empty if nothing was written, or if not even a few frames fit.

        Raises:
            MediaError: it cannot be encoded.
        """
        while self._encoder is not None:
            content = self._encoder.finish()
            if len(content) <= self._limit:
                return content
            if self._number <= 2 * self._stride:
                break
            self._halve(content)
        return b""

    def _halve(self, content: bytes | None = None) -> None:
        if self._encoder is None:
            return
        old = self._encoder
        self._stride *= 2
        self._encoder = _Encoder(old.width, old.height)
        with av.open(io.BytesIO(old.finish() if content is None else content)) as container:
            for i, frame in enumerate(container.decode(video=0)):
                if i % 2 == 0:
                    at = round((frame.pts or 0) * float(frame.time_base or 0) * _TICKS)
                    self._encoder.add(frame.to_ndarray(format="bgr24"), at)


class _Encoder:
    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._file = io.BytesIO()
        self._last = -1
        try:
            self._container = av.open(self._file, "w", format="mp4")
            self._stream = self._container.add_stream("libx264", rate=30, options=_OPTIONS)
        except (av.FFmpegError, ValueError) as error:
            raise MediaError(f"expected to encode a preview, got {error}; check the installation of PyAV") from error
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.thread_count = 1
        self._stream.codec_context.time_base = _BASE

    @property
    def size(self) -> int:
        """Bytes so far; the encoder may hold some frames back."""
        return self._file.tell()

    def add(self, image: NDArray[np.uint8], ticks: int) -> None:
        if image.shape[:2] != (self.height, self.width):
            image = np.asarray(cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_AREA), np.uint8)
        frame = av.VideoFrame.from_ndarray(image, format="bgr24")
        frame.pts = self._last = max(ticks, self._last + 1)
        frame.time_base = _BASE
        try:
            self._container.mux(self._stream.encode(frame))
        except av.FFmpegError as error:
            raise MediaError(f"expected to encode a preview of {self.width}x{self.height}, got {error}") from error

    def finish(self) -> bytes:
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except av.FFmpegError as error:
            raise MediaError(f"expected to encode a preview of {self.width}x{self.height}, got {error}") from error
        return self._file.getvalue()
