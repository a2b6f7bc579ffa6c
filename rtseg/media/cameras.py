"""A camera on this machine as frames."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import cv2
import numpy as np

from rtseg.errors import MediaError
from rtseg.frame import Frame
from rtseg.media.frame_source import FrameSource

_ERRORS = 2  # LOG_LEVEL_ERROR


class CameraSource(FrameSource):
    """Frames of a video device until it goes away; stamps are wall-clock times of arrival.

    Args:
        index: N of ``/dev/videoN``.

    Raises:
        MediaError: there is no such camera, another program has it, or it stops delivering.
    """

    def __init__(self, index: int) -> None:
        log = getattr(cv2.utils, "logging", cv2)  # OpenCV 4.8 has its functions at the top
        level = log.getLogLevel()
        log.setLogLevel(_ERRORS)  # what it warns of is told below
        try:
            self._capture = cv2.VideoCapture(index, cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY)
        finally:
            log.setLogLevel(level)
        if not self._capture.isOpened():
            raise MediaError(
                f"expected a camera at index {index}, got none that opens; "
                "check the cable, the permissions of /dev/video* and that no other program uses it"
            )
        # One buffer: the newest frame is wanted, not the four that queued up meanwhile.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        super().__init__(f"camera {index}", fps=self._capture.get(cv2.CAP_PROP_FPS) or None)
        self.live = True

    def _frames(self) -> Iterator[Frame]:
        while True:
            arrived, image = self._capture.read()
            if not arrived:
                raise MediaError(f"expected a frame of {self.name}, got none; the camera has stopped or was unplugged")
            yield Frame(np.asarray(image, dtype=np.uint8), time.time_ns())

    def close(self) -> None:
        self._capture.release()
