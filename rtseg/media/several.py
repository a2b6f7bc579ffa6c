"""Files of several pictures, of which one is read: animations, and the pages of a TIFF."""

from __future__ import annotations

import io
import warnings

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from rtseg.media.gif import blocks_of

_PNG, _TIFF = b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*")
_NEW_SUBFILE_TYPE, _REDUCED = 254, 1  # of TIFF: a thumbnail of another page


def holds_several(data: bytes) -> bool:
    """Whether a picture's file holds further ones that are no thumbnails of the first.

    Args:
        data: of the file.
    """
    if data.startswith(_PNG):
        return b"acTL" in data[: max(data.find(b"IDAT"), 0)]
    if data[:4] + data[8:16] == b"RIFFWEBPVP8X":
        return bool(data[20:21]) and bool(data[20] & 2)
    if data[4:12] == b"ftypavis":
        return True
    if data.startswith(_TIFF):
        return _has_pages(data)
    gif = blocks_of(io.BytesIO(data))
    return gif is not None and gif.whole > 1


def _has_pages(data: bytes) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as picture:
                if not isinstance(picture, TiffImageFile):
                    return False
                picture.seek(1)
                return not picture.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED
    except Exception:  # there is no second page, or none that can be read, as Pillow says in many ways
        return False
