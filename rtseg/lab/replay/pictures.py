"""Overlays of picture files: a JPEG for each, under a name of its own, never in place of a picture of the user's."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import MediaError
from rtseg.files import refuse_inputs, write_bytes

_QUALITY = 95
_MARK = b"overlay by rtseg"
_COMMENT = b"\xff\xfe" + (len(_MARK) + 2).to_bytes(2, "big") + _MARK


class OverlayPictures:
    """Writes the overlay of each picture to a folder.

    The names are those of the pictures, with the folders below the one that all have in common, and ``.jpg``; where
    two would be the same the old ending stays in the name (``a.png.jpg``). A comment in each JPEG says who wrote it, so
    that a later run may replace it, and nothing else.

    Args:
        pictures: files.
        out: folder.

    Raises:
        MediaError: an overlay would lie in place of one of the pictures, or of a file that is no overlay.
    """

    def __init__(self, pictures: Sequence[Path], out: Path) -> None:
        self._targets = {str(path): out / name for path, name in zip(pictures, overlay_names(pictures), strict=True)}
        refuse_inputs(self._targets.values(), pictures)
        for target in self._targets.values():
            if target.is_file() and not _is_overlay(target):
                raise MediaError(
                    f"expected another place for the overlays, got {target}, which is there and not by rtseg; "
                    "give another --out"
                )

    def write(self, picture: str, overlay: NDArray[np.uint8]) -> None:
        """Write the (H, W, 3) uint8 BGR overlay of the file `picture`.

        Raises:
            MediaError: it cannot be written.
        """
        jpeg = cv2.imencode(".jpg", overlay, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
        write_bytes(self._targets[picture], jpeg[:2] + _COMMENT + jpeg[2:])


def overlay_names(pictures: Sequence[Path]) -> list[Path]:
    """A relative name that ends in ``.jpg`` for each of different files, all different."""
    places = [Path(os.path.abspath(path)) for path in pictures]
    root = os.path.commonpath([place.parent for place in places]) if places else ""
    below = [place.relative_to(root) for place in places]
    short, whole = (
        [path.with_suffix(".jpg") for path in below],
        [path.with_name(f"{path.name}.jpg") for path in below],
    )
    counts = Counter(short)
    names = [a if counts[a] == 1 else b for a, b in zip(short, whole, strict=True)]
    # A file may already be called what another's name was lengthened to.
    return names if len(set(names)) == len(names) else whole


def _is_overlay(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2 + len(_COMMENT)).endswith(_COMMENT)
    except OSError:
        return False
