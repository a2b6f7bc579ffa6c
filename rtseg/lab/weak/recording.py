"""The frames of a recording as pictures on disk, with names that keywords can be given for."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rtseg.errors import MediaError, WeakSupervisionError
from rtseg.lab.weak.proposals import FrameFile
from rtseg.media import FrameSource
from rtseg.media.images import ImageSource, write_image

IMAGES = "images"
_LIST = "frames.json"
TEMPLATE = "keywords.csv"
_EPOCH = 10**15  # nanoseconds; smaller stamps count from the start of the recording


def store_frames(
    source: FrameSource, every: int, folder: Path, advance: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Write every n-th frame to `folder/images`, a list of them, and a keyword file to fill in.

    Pictures of a folder keep their names and bytes; frames of a bag or video become JPEG files named by their stamp
    in nanoseconds or, where stamps count from zero, by their number.

    Returns:
        A summary: how many frames there are, and what was left out.

    Raises:
        WeakSupervisionError: no frame could be used.
        MediaError: a file cannot be written.
    """
    images = folder / IMAGES
    images.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    try:
        for index, frame in enumerate(source):
            if advance:
                advance(index + 1, source.count or 0)
            if index % every:
                continue
            if isinstance(source, ImageSource):
                path = images / Path(frame.name).name
                shutil.copyfile(frame.name, path)
            else:
                path = images / (f"{frame.stamp}.jpg" if (frame.stamp or 0) >= _EPOCH else f"frame_{index:06d}.jpg")
                write_image(path, frame.image)
            rows.append({"name": path.name, "stamp": frame.stamp, "size": list(frame.image.shape[:2])})
    except MediaError as error:
        if rows:
            raise
        raise WeakSupervisionError(f"expected frames to label in {source.name}, got none: {error}") from error
    if not rows:
        reasons = ", ".join(source.skipped) or "it is empty"
        raise WeakSupervisionError(f"expected frames to label in {source.name}, got none ({reasons}); check it")
    (folder / _LIST).write_text(json.dumps(rows), encoding="utf-8")
    with (folder / TEMPLATE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "keywords"])
        writer.writerows([row["name"], ""] for row in rows)
    return {
        "frames": len(rows),
        "left_out": {f"could not be read: {why}": count for why, count in source.skipped.items()},
    }


def stored_frames(folder: Path) -> list[FrameFile]:
    """The frames that :func:`store_frames` wrote."""
    rows = json.loads((folder / _LIST).read_text(encoding="utf-8"))
    return [FrameFile(folder / IMAGES / row["name"], (row["size"][0], row["size"][1])) for row in rows]
