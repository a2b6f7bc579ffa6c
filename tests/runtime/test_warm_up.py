"""Whatever a camera sends, no kernel is compiled once the node is active: that would hold up a frame for a second."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from rtseg.frame import Frame
from rtseg.loading import load
from rtseg.media.encodings import _LAYOUTS, raw_image
from tests.compiled import compiled_signatures

STEP = 33_333_333


def test_no_kernel_is_compiled_for_what_a_camera_sends(model_folder: Callable[..., Path], road: np.ndarray) -> None:
    pipeline = load(model_folder())
    pipeline.warm_up(*road.shape[:2])
    before = compiled_signatures()
    stamps = count(STEP, STEP)
    for size in ((48, 64), (360, 640)):  # every pixel is looked at, or some
        picture = cv2.resize(road, size[::-1])
        read_only = picture.copy()
        read_only.flags.writeable = False
        for image in (picture, read_only, picture[:, ::-1], np.asfortranarray(picture)):
            for _ in range(2):  # the second is compared with the first
                pipeline(Frame(image, stamp=next(stamps)))
            assert compiled_signatures() == before
        for encoding, layout in _LAYOUTS.items():
            times, divisor = layout.chroma
            length = size[0] * size[1] * layout.pixel_bytes
            data = np.resize(picture, length + length * times // divisor).tobytes()
            for _ in range(2):
                message = raw_image(encoding, *size, size[1] * layout.pixel_bytes, data)
                pipeline(Frame(message, stamp=next(stamps)))
            assert compiled_signatures() == before, encoding
