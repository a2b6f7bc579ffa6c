"""Frames to calibrate on: drawn evenly from recordings, folders and the renderer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import DatasetError
from rtseg.lab.deploy.recipe import CalibrationSettings, Kind
from rtseg.media import FrameSource, open_frames
from rtseg.media.bags import BagSource
from rtseg.media.images import ImageSource

_LONGEST = 100_000  # frames read of one source, so that a live camera ends


@dataclass(frozen=True)
class Drawn:
    """Frames of one source: what it is, and (H, W, 3) uint8 BGR images of any sizes."""

    kind: Kind
    images: list[NDArray[np.uint8]]


def draw_frames(
    data: Sequence[Path], settings: CalibrationSettings, render: Callable[[int], NDArray[np.uint8]]
) -> dict[str, Drawn]:
    """Draw frames from each source, and render some.

    Args:
        data: bags, videos, pictures or folders of pictures.
        settings: how many frames, and the seeds.
        render: gives the picture of a seed.

    Returns:
        Frames by name of the source, in the order of `data`, "rendered" last; of a second source of the same name by
        its path.

    Raises:
        MediaError: a source cannot be opened.
        DatasetError: a source holds no readable frame, is given twice, or there is nothing to draw from.
    """
    drawn: dict[str, Drawn] = {}
    for path in data:
        name = path.name if path.name not in drawn else str(path)  # of two drives that both have a folder `images`
        if name in drawn:
            raise DatasetError(f"expected each source of frames once, got {path} twice; leave one out")
        drawn[name] = _draw(path, settings)
    if settings.rendered > 0:
        seeds = range(settings.first_rendered_seed, settings.first_rendered_seed + settings.rendered)
        drawn["rendered"] = Drawn("rendered", [render(seed) for seed in seeds])
    if not drawn:
        raise DatasetError("expected frames to calibrate with, got none; give --data PATH or --rendered N")
    return drawn


def _draw(path: Path, settings: CalibrationSettings) -> Drawn:
    rng = np.random.default_rng(settings.seed)
    most = settings.frames
    kept: list[tuple[int, NDArray[np.uint8]]] = []
    with open_frames(path) as frames:
        kind = _kind(frames)
        # Reservoir sampling: each frame is as likely as any other, though how many come is not known before.
        for i, frame in enumerate(islice(frames, _LONGEST)):
            if len(kept) < most:
                kept.append((i, frame.image))
            elif (slot := int(rng.integers(0, i + 1))) < most:
                kept[slot] = (i, frame.image)
    if not kept:
        raise DatasetError(f"expected frames to calibrate with in {path}, got none that can be read")
    return Drawn(kind, [image for _, image in sorted(kept, key=lambda entry: entry[0])])


def _kind(frames: FrameSource) -> Kind:
    if isinstance(frames, ImageSource):
        return "pictures"
    return "bag" if isinstance(frames, BagSource) else "video"
