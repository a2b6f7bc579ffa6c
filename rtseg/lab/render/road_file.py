"""A rendered road as files: a module of its own, so that the processes that render import nothing that trains."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from rtseg.files import write_bytes, write_text
from rtseg.lab.render import render_road

QUALITY = 93


def write_road(job: tuple[int, str, tuple[int, int]]) -> int:
    """Render a road into ``SEED.jpg`` and its polylines into ``SEED.json``, on one core.

    Args:
        job: seed, folder, and (height, width) of the picture.

    Returns:
        The seed.
    """
    cv2.setNumThreads(1)
    seed, folder, size = job
    road = render_road(seed, size=size)
    stem = Path(folder) / f"{seed:07d}"
    _, pixels = cv2.imencode(".jpg", road.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    write_bytes(stem.with_suffix(".jpg"), pixels.tobytes())
    content = json.dumps([np.round(np.asarray(lane, np.float64), 2).tolist() for lane in road.lanes])
    # The labels come last, so that an interrupted rendering leaves no half frame that looks whole.
    write_text(stem.with_suffix(".json"), content)
    return seed
