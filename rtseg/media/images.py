"""Picture files as frames."""

from __future__ import annotations

import glob
import io
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile

from rtseg.errors import ImageError, MediaError
from rtseg.files import is_there, write_bytes
from rtseg.frame import Frame
from rtseg.media.compressed import check_compressed, decode_compressed
from rtseg.media.encodings import MAX_PIXELS
from rtseg.media.frame_source import FrameSource, logger
from rtseg.media.natural_order import natural_key
from rtseg.media.several import holds_several
from rtseg.printing import visible

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
    ".avif", ".jp2",
)  # fmt: skip
"""Of single files that are pictures; others with the content of one are pictures too (`is_picture`)."""
UNREAD_SUFFIXES = (".heic", ".heif", ".exr", ".hdr", ".pfm", ".pic", ".ras", ".sr", ".tga")
"""Of pictures that may not be read; none is to vanish without a word."""
_LISTED = (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES, ".gif")  # what counts as a picture in a folder
_WHOLE = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")  # of JPEG and PNG
_WEBP = b"RIFFWEBP"
_ORIENTATION = 0x0112  # EXIF's tag; from 5 on height and width change places
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")  # as telephones write it
_UNREADABLE = (
    UnidentifiedImageError,
    OSError,
    KeyError,
    ValueError,
    SyntaxError,
    MemoryError,
    OverflowError,
    TypeError,
)


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
            found = [p for p in path.iterdir() if _is_listed(p)]
        elif path.exists():
            found = [path]
        else:
            found = [p for p in map(Path, glob.glob(str(path), recursive=True)) if _is_listed(p)]
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
        self.files = tuple(self.paths)

    def _frames(self) -> Iterator[Frame]:
        given, told = 0, False
        for path, stamp in zip(self.paths, self._stamps, strict=True):
            try:
                data = _content(path)
                image = _decoded(path, data)
            except ImageError as error:
                self.skip(error, name=str(path))
                continue
            if not told and holds_several(data):
                told = True  # once: a folder may hold thousands alike
                logger.warning("%s holds several pictures, of which the first is read", visible(path))
            given += 1
            yield Frame(image, stamp, name=str(path))
        if not given:
            why = "; ".join(f"{Path(name).name}: {reason}" for name, reason in self.left_out[:3])
            raise MediaError(
                f"expected pictures at {self.name}, got {len(self.paths)} that cannot be read ({why}); check them"
            )


def _is_listed(path: Path) -> bool:
    if path.suffix:
        return path.suffix.lower() in _LISTED and not path.is_dir()
    return is_picture(path)


def is_picture(path: Path) -> bool:
    """Whether a file starts as a JPEG or PNG file does, whatever its name."""
    if not is_there(path):  # a pipe would wait for somebody to write into it
        return False
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError:
        return False
    return start.startswith(_WHOLE)


def read_image(path: str | Path) -> np.ndarray:
    """Read a picture as (H, W, 3) uint8 BGR, turned upright as its EXIF orientation says.

    Raises:
        ImageError: it is missing, incomplete, no picture, or absurdly large; the message names the file.
    """
    path = Path(path)
    return _decoded(path, _content(path))


def _decoded(path: Path, data: bytes) -> np.ndarray:
    try:
        if _shows_its_end(data):
            return decode_compressed("", data, MAX_PIXELS, upright=True)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except ImageError as error:
        raise ImageError(_reworded(path, error)) from error
    except (cv2.error, MemoryError):
        image = None
    if image is None:
        raise ImageError(f"expected a sound picture, got {path} that does not decode; save it again as JPEG or PNG")
    return np.asarray(image, dtype=np.uint8)


def read_stored(path: str | Path) -> np.ndarray:
    """Read what a picture stores, (H, W) or (H, W, C) of its own dtype: labels and masks, which no color is to change.

    Raises:
        ImageError: as of :func:`read_image`; of what is cut off the decoder would make up the rest.
    """
    path = Path(path)
    data = _content(path)
    pixels = np.frombuffer(data, np.uint8)
    try:
        if _shows_its_end(data):
            check_compressed("", pixels, MAX_PIXELS)
        stored = cv2.imdecode(pixels, cv2.IMREAD_UNCHANGED)
    except ImageError as error:
        raise ImageError(_reworded(path, error)) from error
    except (cv2.error, MemoryError):
        stored = None
    if stored is None:
        raise ImageError(f"expected a sound picture, got {path} that does not decode; save it again as PNG")
    return np.asarray(stored)


def _shows_its_end(data: bytes) -> bool:
    """Whether this is a JPEG, PNG or WebP, which :func:`check_compressed` looks at."""
    return data.startswith(_WHOLE) or data[:4] + data[8:12] == _WEBP


def _content(path: Path) -> bytes:
    """What a picture's file holds; of kinds that do not show their end no more pixels than pictures have."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ImageError(f"expected a picture, got {path}, which is a folder, a pipe or a device; name a file")
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"expected a readable picture, got {path} ({error.strerror}); check the path") from error
    if not data:
        raise ImageError(f"expected a picture, got {path}, which is empty; copy it again")
    if _shows_its_end(data):
        return data
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC:
        raise ImageError(f"expected a picture that OpenCV reads, got {path}, which is HEIC; save it as JPEG")
    height, width = _declared_size(path, data)
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"expected a picture of at most {MAX_PIXELS} pixels, got {path} of {width}x{height}; make it smaller"
        )
    return data


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of a picture as :func:`read_image` gives it, from its header alone.

    Raises:
        ImageError: it is missing or no picture.
    """
    if not is_there(path):
        raise ImageError(f"expected a readable picture, got {path}, which is no file; check it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                if isinstance(picture, TiffImageFile):  # whose width and height are those it is shown with
                    size = int(picture.tag_v2[IMAGELENGTH]), int(picture.tag_v2[IMAGEWIDTH])
                else:
                    size = picture.height, picture.width
                return size[::-1] if picture.getexif().get(_ORIENTATION, 1) >= 5 else size
    except (*_UNREADABLE, Image.DecompressionBombError) as error:
        raise ImageError(f"expected a readable picture, got {path}; check it") from error


def _reworded(path: Path, error: ImageError) -> str:
    """What is wrong with a message's picture, in the terms of a file."""
    said = str(error).split(";")[0]
    wanted, _, got = said.partition(", got ")
    return f"{wanted}, got {path}: {got or 'another'}; copy or save it again"


def _declared_size(path: Path, data: bytes) -> tuple[int, int]:
    """(height, width) as the header says, before anything is allocated."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as picture:
                return picture.height, picture.width
    except Image.DecompressionBombError as error:
        raise ImageError(f"expected a picture of at most {MAX_PIXELS} pixels, got {path}; make it smaller") from error
    except _UNREADABLE as error:
        raise ImageError(
            f"expected a picture that OpenCV reads, got {path}, which is none, damaged, or of a rare kind; "
            "save it as JPEG or PNG"
        ) from error


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
