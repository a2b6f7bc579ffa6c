"""H.264 videos out."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import MediaError
from rtseg.files import Part
from rtseg.frame import check_image
from rtseg.media.containers import file_name

# Without frames out of order: the length of an MP4 is told by the order in which frames are stored.
_ENCODING = {"preset": "superfast", "crf": "21", "bf": "0"}
_TICKS = 90_000  # a second: the time base of frames that keep their own times


class VideoWriter:
    """Writes BGR images as an H.264 MP4 that browsers play; the file appears under its name when it is complete.

    Args:
        path: ``.mp4`` to write; what was there is replaced at the end.
        fps: frames a second.
        size: (height, width) of the images. yuv420p wants even sizes: an odd one is grown by repeating the last row or
            column.

    Raises:
        MediaError: the file cannot be written.
    """

    def __init__(self, path: str | Path, fps: float, size: tuple[int, int]) -> None:
        self.path = Path(path)
        self._size = size
        self._part = Part(self.path)
        height, width = (n + n % 2 for n in size)
        try:
            name = file_name(self._part.path)
            self._container = av.open(name, "w", format="mp4", options={"movflags": "faststart"})
            rate = Fraction(min(max(fps, 0.1), 1000.0)).limit_denominator(1001)
            self._stream = self._container.add_stream("libx264", rate=rate, options=_ENCODING)
        except (av.FFmpegError, OSError, ValueError) as error:
            self._part.discard()
            raise MediaError(f"expected to write a video to {self.path}, got {error}; check the folder") from error
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.thread_count = 0
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        self._period = _TICKS / rate
        self._next = Fraction(0)
        self._last = -1

    def write(self, image: NDArray[np.uint8], seconds: float | None = None) -> None:
        """Append one (H, W, 3) uint8 BGR image of the writer's size.

        Args:
            image: to append.
            seconds: from the start of the video at which it is to be shown; by default a frame after the one before.

        Raises:
            MediaError: another size, or the disk is full.
            ImageError: it is no image.
        """
        if check_image(image).shape[:2] != self._size:
            raise MediaError(
                f"expected images of {self._size[1]}x{self._size[0]} for {self.path.name}, "
                f"got {image.shape[1]}x{image.shape[0]}; resize them or start another video"
            )
        bottom, right = (n % 2 for n in self._size)
        if bottom or right:
            image = np.asarray(cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE), dtype=np.uint8)
        try:
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            at = self._next if seconds is None else Fraction(seconds) * _TICKS
            # Two frames of one time are shown one after the other.
            frame.pts = self._last = max(round(at), self._last + 1)
            frame.time_base = Fraction(1, _TICKS)
            self._next = max(at, Fraction(self._last)) + self._period
            self._container.mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as error:
            raise MediaError(f"expected to write a video to {self.path}, got {error}; check the disk") from error

    def close(self) -> None:
        """Finish the file and give it its name."""
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except (av.FFmpegError, OSError) as error:
            self.abort()
            raise MediaError(f"expected to finish the video {self.path}, got {error}; check the disk") from error
        self._part.keep()

    def abort(self) -> None:
        """Leave no file behind."""
        with suppress(Exception):  # on a full disk closing fails as writing did
            self._container.close()
        self._part.discard()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abort()
