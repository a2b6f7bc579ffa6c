"""A window in which a run is watched while it goes on; of the standard library, since OpenCV's wheel here has none."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ConfigError
from rtseg.printing import visible

SAVE, QUIT, PAUSE = "s", "q", "space"
HELP = "s saves the frame and its labels, space pauses, q ends"
_LARGEST = (720, 1280)  # pixels, height and width, to which larger pictures are made smaller
_TICK = 0.01  # seconds between looks at the keys while a picture stands


class Shows(Protocol):
    """Where a run is shown, and keys are pressed."""

    def shown(self, picture: NDArray[np.uint8], at: float | None, live: bool) -> Iterator[str]:
        """Show a picture until the next one is due; give `SAVE` and `QUIT` as they are pressed meanwhile.

        Args:
            picture: (H, W, 3) uint8 BGR.
            at: seconds of the recording at which it is due; None for a still, which stands until the space bar.
            live: it is late already.
        """
        ...

    def say(self, text: str) -> None:
        """Tell the one who watches."""
        ...


class Window:
    """A window of Tk.

    Args:
        title: what is watched.

    Raises:
        ConfigError: Python came without Tk, or there is no display.
    """

    def __init__(self, title: str) -> None:
        try:
            import tkinter
        except ImportError as error:
            raise ConfigError(
                "expected Tk for --show, this Python has none; apt install python3-tk, or leave out --show and look at "
                "overlay.mp4"
            ) from error
        try:
            self._root = tkinter.Tk(className="rtseg")
        except tkinter.TclError as error:
            raise ConfigError(
                f"expected a display for --show, got {visible(error)}; leave out --show and look at overlay.mp4, or "
                "watch from another machine with --view rerun"
            ) from error
        self._title = visible(title)
        self._root.title(f"{self._title} - {HELP}")
        self._label: Any = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()
        self._photo = lambda data: tkinter.PhotoImage(master=self._root, data=data, format="PPM")
        self._picture: Any = None  # Tk forgets a picture that nothing holds
        self._keys: deque[str] = deque()
        self._began: float | None = None
        self._root.bind("<Key>", lambda event: self._keys.append(str(event.keysym)))
        self._root.protocol("WM_DELETE_WINDOW", lambda: self._keys.append(QUIT))

    def shown(self, picture: NDArray[np.uint8], at: float | None, live: bool) -> Iterator[str]:
        self._draw(picture)
        waits = at is None
        while True:
            self._root.update()
            while self._keys:
                key = self._keys.popleft()
                if key == PAUSE:
                    waits = not waits
                    self._began = None  # the recording's clock stood still meanwhile
                elif key in (SAVE, QUIT, "Escape"):
                    yield SAVE if key == SAVE else QUIT
            if not waits and (at is None or live or self._is_due(at)):
                return
            time.sleep(_TICK)

    def _draw(self, picture: NDArray[np.uint8]) -> None:
        height, width = picture.shape[:2]
        scale = min(1.0, _LARGEST[0] / height, _LARGEST[1] / width)
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        self._picture = self._photo(cv2.imencode(".ppm", picture)[1].tobytes())
        self._label.configure(image=self._picture)

    def _is_due(self, at: float) -> bool:
        """Whether `at` seconds of the recording have gone by, on a clock that begins with the first picture."""
        now = time.monotonic()
        if self._began is None:
            self._began = now - at
        return now >= self._began + at

    def say(self, text: str) -> None:
        self._root.title(f"{self._title} - {visible(text)}")

    def __enter__(self) -> Window:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._root.destroy()
