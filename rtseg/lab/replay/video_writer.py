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
            # As a file, whatever its name: FFmpeg takes what stands before a colon for a protocol.
            name = f"file:{self._part.path.absolute()}"
            self._container = av.open(name, "w", format="mp4", options={"movflags": "faststart"})
            rate = Fraction(fps).limit_denominator(1001)
            self._stream = self._container.add_stream(
                "libx264", rate=rate, options={"preset": "superfast", "crf": "21"}
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            self._part.discard()
            raise MediaError(f"expected to write a video to {self.path}, got {error}; check the folder") from error
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.thread_count = 0

    def write(self, image: NDArray[np.uint8]) -> None:
        """Append one (H, W, 3) uint8 BGR image of the writer's size.

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
            self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
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
