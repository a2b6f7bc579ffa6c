"""Picture files as frames."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from rtseg.errors import ImageError, MediaError
from rtseg.files import write_bytes
from rtseg.frame import Frame
from rtseg.media.compressed import decode_compressed
from rtseg.media.encodings import MAX_PIXELS
from rtseg.media.frame_source import FrameSource
from rtseg.media.natural_order import natural_key

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


class ImageSource(FrameSource):
    """A picture, the pictures of a folder, or those that a glob pattern names, in natural order.

    They are stills, whose frames have no stamp, but for two kinds of sequences: those with `fps`, and those of several
    pictures each of whose names is a number of nanoseconds (16 to 19 digits), which are the stamps. A frame's name is
    its file's path; `frame_id` stays empty.

    Args:
        path: file, folder or glob pattern.
        fps: frames a second of a sequence that was taken by one camera.

    Raises:
        MediaError: there is no picture. Those that do not decode are skipped and counted.
    """

    def __init__(self, path: str | Path, fps: float | None = None) -> None:
        path = Path(path)
        if path.is_dir():
            found = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
        elif path.exists():
            found = [path]
        else:
            found = [p for p in map(Path, glob.glob(str(path), recursive=True)) if p.suffix.lower() in IMAGE_SUFFIXES]
        self.paths = sorted(found, key=natural_key)
        if not self.paths:
            raise MediaError(f"expected pictures ({', '.join(IMAGE_SUFFIXES)}) at {path}, got none; check the path")
        timed = len(self.paths) > 1 and all(p.stem.isdecimal() and 16 <= len(p.stem) <= 19 for p in self.paths)
        self._stamps: list[int | None] = [None] * len(self.paths)
        if fps is not None:
            self._stamps = [round(i * 1e9 / fps) for i in range(len(self.paths))]
        elif timed:
            self._stamps = [int(p.stem) for p in self.paths]
        super().__init__(path.name, len(self.paths), fps)

    def _frames(self) -> Iterator[Frame]:
        given = 0
        for path, stamp in zip(self.paths, self._stamps, strict=True):
            try:
                image = read_image(path)
            except ImageError as error:
                self.skip(error)
                continue
            given += 1
            yield Frame(image, stamp, name=str(path))
        if not given:
            raise MediaError(f"expected pictures at {self.name}, got {len(self.paths)} that cannot be read; check them")


def read_image(path: str | Path) -> np.ndarray:
    """Read a picture as (H, W, 3) uint8 BGR.

    Raises:
        ImageError: it is missing, incomplete or no picture.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"expected a readable picture, got {path} ({error.strerror}); check the path") from error
    if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
        return decode_compressed(path.suffix, data, MAX_PIXELS)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:
        image = None
    if image is None:
        raise ImageError(f"expected a sound picture, got {path} that does not decode; save it again")
    return np.asarray(image, dtype=np.uint8)


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write an (H, W, 3) uint8 BGR picture, making its folder.

    Raises:
        MediaError: it cannot be written.
    """
    path = Path(path)
    try:
        done, content = cv2.imencode(path.suffix, image)
    except cv2.error:
        done = False
    if not done:
        raise MediaError(f"expected a picture and a format that holds it, got {path.name}; name it .jpg or .png")
    write_bytes(path, content.tobytes())
