"""What every recording and camera looks like to the rest: frames, one after another."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rtseg.frame import Frame
from rtseg.media import damage
from rtseg.printing import visible

if TYPE_CHECKING:
    from rtseg.camera import Camera, Mount

logger = logging.getLogger("rtseg")

LAST_STAMP = 2**31 * 10**9 - 1
"""Nanoseconds: the last time that ``builtin_interfaces/Time``, with its 32 bits of seconds, can hold."""

MOST_NAMED = 1000
"""Files that are remembered by name; of the others the number is known."""


class FrameSource(ABC):
    """An iterable of frames that knows what it is; close it, or use it in a ``with`` block.

    A frame that cannot be decoded is left out and counted, since one bad message in an hour of driving must not end
    the run. Iterating again starts again (but for a live camera).

    Attributes:
        name: what to call it in titles and reports.
        topic: of a bag, the camera's whose frames are given; empty for other sources.
        count: frames it holds, None where that is not known.
        fps: nominal frames a second, None where that is not known.
        camera: calibration that was recorded with it, with `mount` where that is known, None without.
        mount: of the camera in ``base_link``, by static transforms that were recorded with it, None without.
        skipped: how many frames were left out, by reason, in the latest iteration.
        left_out: (name, reason) of those among them that are files of their own, at most `MOST_NAMED`.
        files: what is read, where that is files; nothing may be written in their place.
        damage: what is wrong with the files as such, a sentence each: what opening them and reading videos showed.
        live: whether it goes on until it is stopped.
        extent: positions of the first frame and past the last one, for :meth:`between`; None where that is not known.
        per_second: positions of a second of recording, None where that is not known.
    """

    def __init__(
        self,
        name: str,
        count: int | None = None,
        fps: float | None = None,
        camera: Camera | None = None,
        topic: str = "",
    ) -> None:
        self.name = name
        self.topic = topic
        self.count = count
        self.fps = fps
        self.camera = camera
        self.mount: Mount | None = None
        self.skipped: Counter[str] = Counter()
        self.left_out: list[tuple[str, str]] = []
        self.files: tuple[Path, ...] = ()
        self.damage: list[str] = []
        self.live = False
        self.extent: tuple[int, int] | None = (0, count) if count and fps else None
        self.per_second: float | None = fps

    @abstractmethod
    def _frames(self) -> Iterator[Frame]:
        """Give the frames from the start."""

    def __iter__(self) -> Iterator[Frame]:
        self.skipped.clear()
        self.left_out.clear()
        return self._tellable(self._frames())

    def between(self, start: int, stop: int | None = None) -> Iterator[Frame]:
        """Give the frames of a part of the recording, in order; parts that meet share no frame and miss none.

        Args:
            start: position of the first.
            stop: position past the last; the end of the recording by default.
        """
        self.skipped.clear()
        self.left_out.clear()
        return self._tellable(self._part(start, stop))

    def _part(self, start: int, stop: int | None) -> Iterator[Frame]:
        return islice(self._frames(), start, stop)

    def _tellable(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames whose time a message can tell."""
        for frame in frames:
            if frame.stamp is not None and frame.stamp > LAST_STAMP:
                self.skip(
                    f"expected a stamp before 19 January 2038, got {frame.stamp / 1e9:.0f} s; set the clock",
                    name=frame.name,
                )
                continue
            yield frame

    def skip(self, error: Exception | str, frames: int = 1, name: str = "") -> None:
        """Count `frames` that were left out because of `error`; `name` is the file of one that is a file of its own."""
        if name and len(self.left_out) < MOST_NAMED:
            self.left_out.append((name, str(error)))
        # What differs from frame to frame, byte counts and the like, comes after "got"; the reason is what is before.
        reason = str(error).split(", got")[0].split(";")[0]
        if reason not in self.skipped:
            logger.warning("%s: left out a frame: %s", visible(self.name), error)
        self.skipped[reason] += frames

    def tell(self, path: Path, fault: str) -> None:
        """Warn, once, of damage to the file at `path` that costs some of the recording; `fault` says what is wrong."""
        said = f"{visible(path)} {fault}"
        if said not in self.damage:
            self.damage.append(said)
            damage.logger.warning("%s", said)

    def close(self) -> None:
        """Give back files and devices."""
        return None

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
