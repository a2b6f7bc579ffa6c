"""Label files as they come from anywhere: read within bounds, and leading to no picture outside their folder."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rtseg.errors import DatasetError
from rtseg.files import is_there
from rtseg.media.images import IMAGE_SUFFIXES

MAX_BYTES = 1 << 31
"""Of a label file; COCO's largest has half a gigabyte."""


FARTHEST = 1e7
"""Pixels from a picture's corner that a point of a label lies at most; what draws labels counts in whole numbers."""


Refused = Callable[[DatasetError], None]
"""What becomes of one label that cannot be read; when it returns, the others are read without it."""


def stop(error: DatasetError) -> None:
    """Read no labels if one of them cannot be read, as training wants it."""
    raise error


def check_images(images: Path | None) -> None:
    """Make sure that the folder of the pictures, where one is named, is there.

    Raises:
        DatasetError: it is not.
    """
    if images is not None and not images.is_dir():
        raise DatasetError(f"expected the folder of the pictures at {images}, which is not there; check --images")


def read_text(path: Path, what: str) -> str:
    """Read a UTF-8 text file, with or without a byte order mark.

    Args:
        path: the file.
        what: it should be, for the error.

    Raises:
        DatasetError: it cannot be read, is absurdly large, or is no text.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise DatasetError(f"expected {what} at {path}, got a folder, a pipe or a device; name a file")
        if found.st_size > MAX_BYTES:
            raise DatasetError(f"expected {what} at {path}, got a file of more than {MAX_BYTES >> 30} GiB; split it")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(f"expected {what} at {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"expected {what} at {path}, got bytes that are no UTF-8; save it as UTF-8") from error


def parse_json(text: str, where: str) -> Any:
    """Parse JSON, however it is nested and however long its numbers are.

    Raises:
        DatasetError: it does not parse, or an object has a field twice; the message begins with `where`.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise DatasetError(f"{where}: expected labels, got JSON nested thousands deep; export them again") from None
    except ValueError as error:  # also whole numbers of thousands of digits
        raise DatasetError(f"{where}: expected JSON, got text that does not parse: {error}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; of a field that stands twice one value would be lost without a word."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"the field {twice!r:.60} stands twice in an object; remove one")
    return made


def picture_at(folder: Path, name: str, where: str, images: Path | None = None) -> Path:
    """The picture that a label names, which is to lie in the labels' folder or in that of the pictures.

    Args:
        folder: of the labels.
        name: as the label has it; a slash at its beginning or backslashes change nothing.
        where: the label stands, for the error.
        images: folder of the pictures where that is another.

    Returns:
        The file; where there is none, the place where it should be.

    Raises:
        DatasetError: the name leads out of the folder.
    """
    if "\0" in name or not name.strip():
        raise DatasetError(f"{where}: expected the name of a picture, got {name!r:.60}")
    roots = [folder] if images is None else [images, folder]
    plain = name.replace("\\", "/").lstrip("/")
    places = [root / spelled for root in roots for spelled in (name, plain)]
    inside = [place for place in places if any(_inside(place, root) for root in roots)]
    for place in inside:
        if is_there(place):
            return place
    if not inside or any(is_there(place) for place in places):
        raise DatasetError(
            f"{where}: expected a picture in {folder}, got {name!r:.200}, which lies outside; "
            "if that is meant, name the pictures' folder with --images"
        )
    return inside[0]


def with_any_suffix(picture: Path) -> Path:
    """The picture of this name, or where there is none the one that has the same name but for its suffix."""
    if is_there(picture):
        return picture
    for suffix in IMAGE_SUFFIXES:
        for spelled in (suffix, suffix.upper()):
            other = picture.with_name(picture.stem + spelled)
            if is_there(other):
                return other
    return picture


def _inside(path: Path, folder: Path) -> bool:
    # By name: links in a folder of data are its owner's.
    place, root = os.path.abspath(path), os.path.abspath(folder)
    return place == root or place.startswith(root.rstrip("/") + "/")
