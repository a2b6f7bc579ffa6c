"""What of a camera's picture is not road: a bonnet, a mirror, text over the picture; nothing is found there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from rtseg.camera.still_parts import StillParts
from rtseg.errors import ArgumentError, ConfigError, MediaError
from rtseg.files import is_there, write_bytes
from rtseg.frame import Frame
from rtseg.settings import Settings, Share, first_fault
from rtseg.yaml_text import read_yaml

_PICTURES = (".png", ".bmp", ".tif", ".tiff", ".webp", ".pgm")  # JPEG blurs edges, and has no alpha
_FINE = 16  # polygons are drawn with sixteenths of a pixel
_SIZE = (1080, 1920)  # at which polygons are drawn
_NOTHING = np.zeros((2, 2), np.bool_)

AUTO = "auto"
"""In place of a file: the mask is learned."""


class _Polygons(Settings):
    """A file of polygons; corners are (x, y) in shares of width and height."""

    polygons: tuple[Annotated[tuple[tuple[Share, Share], ...], Field(min_length=3)], ...] = Field(min_length=1)


class IgnoreMask:
    """The pixels of a camera's frames at which nothing is found, at whatever size frames come.

    Args:
        mask: (h, w) bool or integer, True or not 0 where nothing is to be found.

    Raises:
        ArgumentError: it is no such array.
    """

    def __init__(self, mask: NDArray[np.bool_] | NDArray[np.integer]) -> None:
        array = np.asarray(mask)
        if array.ndim != 2 or not array.size or array.dtype.kind not in "bui":
            raise ArgumentError(f"expected a mask (h, w) of bool, got {array.dtype} of shape {array.shape}")
        self._mask = array != 0
        self._resized = lru_cache(maxsize=4)(self._resize)

    @classmethod
    def of_polygons(cls, polygons: Sequence[Sequence[tuple[float, float]]]) -> IgnoreMask:
        """Make one of polygons whose corners (x, y) are shares of the width and the height."""
        height, width = _SIZE
        mask = np.zeros(_SIZE, np.uint8)
        for corners in polygons:
            points = np.asarray(corners, np.float64) * [width, height] - 0.5
            cv2.fillPoly(mask, [np.rint(points * _FINE).astype(np.int32)], 1, shift=4)
        return cls(mask)

    @classmethod
    def load(cls, path: str | Path) -> IgnoreMask:
        """Read a picture, of which everything that is not black is ignored, or a YAML file with ``polygons``.

        Raises:
            MediaError: there is no such file.
            ImageError: the picture cannot be read.
            ConfigError: it is neither, or leaves nothing of the frame.
        """
        path = Path(path)
        if path.suffix.lower() in (".yaml", ".yml", ".json"):
            mask = cls.of_polygons(_read_polygons(path))
        elif path.suffix.lower() in _PICTURES:
            mask = cls(_read_picture(path))
        else:
            raise ConfigError(
                f"expected an ignore mask as a picture without losses ({', '.join(_PICTURES)}) or as YAML with "
                f"polygons, got {path}"
            )
        if mask._mask.all():
            raise ConfigError(f"expected an ignore mask that leaves something of the frame, {path} ignores all of it")
        return mask

    def at(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """(H, W) bool at the size of a frame, not to be written to."""
        return self._resized((int(size[0]), int(size[1])))

    def below(self, top: float) -> IgnoreMask:
        """What is left of it below a share of the height, for a network that does not see what is above."""
        rows = min(round(top * len(self._mask)), len(self._mask) - 1)
        return IgnoreMask(self._mask[rows:]) if rows else self

    def save(self, path: str | Path) -> None:
        """Write it as a PNG of two colors, white where nothing is to be found, which :meth:`load` reads.

        Raises:
            MediaError: it cannot be written.
        """
        _, content = cv2.imencode(".png", self._mask.astype(np.uint8) * 255)
        write_bytes(path, content.tobytes())

    def _resize(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        resized = cv2.resize(self._mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0
        resized.setflags(write=False)
        return resized


class LearnedMask(IgnoreMask):
    """What stands still in a camera's frames while the road moves, learned from the first of them.

    A bonnet is ignored after about three seconds of driving, text and logos after ten; where frames change their size
    the mask is learned anew.
    """

    def __init__(self) -> None:
        super().__init__(_NOTHING)
        self._parts = StillParts()
        self._cut = lru_cache(maxsize=4)(super().below)

    @property
    def found(self) -> bool:
        """Whether something was found that stands still."""
        return bool(self._mask.any())

    def learn(self, frame: Frame, moving: bool | None) -> bool:
        """Look at the next frame, of a vehicle that moves or does not; returns whether the mask has changed."""
        if not self._parts.update(frame, moving):
            return False
        before = self._mask
        self._mask = _NOTHING if self._parts.mask is None else self._parts.mask
        self._resized.cache_clear()
        self._cut.cache_clear()
        return not np.array_equal(before, self._mask)

    def below(self, top: float) -> IgnoreMask:
        return _Below(self, top) if top else self

    def lower(self, top: float) -> IgnoreMask:
        """What it is now below a share of the height, where :meth:`below` goes on with what is learned later."""
        return self._cut(top)


class _Below(IgnoreMask):
    """The lower part of a mask that changes."""

    def __init__(self, whole: LearnedMask, top: float) -> None:
        super().__init__(_NOTHING)
        self._whole, self._top = whole, top

    def at(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        return self._whole.lower(self._top).at(size)


def ignore_mask(given: str | Path | IgnoreMask | None) -> IgnoreMask | None:
    """Make a mask of what a user gave: one, a file of one, ``auto`` for one that is learned, or None for none.

    Raises:
        MediaError, ImageError, ConfigError: the file cannot be read.
    """
    if given is None or isinstance(given, IgnoreMask):
        return given
    return LearnedMask() if str(given) == AUTO else IgnoreMask.load(given)


def ignored_at(mask: IgnoreMask | None, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """(H, W) bool where nothing is to be found in a frame of that size, or None where there is no mask."""
    return None if mask is None else mask.at(size)


def _read_picture(path: Path) -> NDArray[np.bool_]:
    from rtseg.media.images import read_stored

    if not is_there(path):
        raise MediaError(f"expected an ignore mask at {path}, where there is no file; check the path")
    picture = read_stored(path)
    channels = picture.reshape(*picture.shape[:2], -1)
    # An alpha channel alone says nothing of what is painted.
    colors = channels[:, :, :3] if channels.shape[2] == 4 else channels
    return np.asarray((colors != 0).any(axis=2))


def _read_polygons(path: Path) -> tuple[tuple[tuple[float, float], ...], ...]:
    try:
        content = read_yaml(path)
    except OSError as error:
        raise MediaError(f"expected an ignore mask at {path}: {error.strerror or error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"expected YAML with polygons in {path}: {error}") from error
    try:
        return _Polygons.model_validate(content).polygons
    except ValidationError as error:
        raise ConfigError(f"the ignore mask {path} does not validate: {first_fault(error)}") from error
