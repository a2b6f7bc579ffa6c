"""Where a stream goes on with another scene, so that ids have to start anew."""

from __future__ import annotations

from collections import deque
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.frame import Frame, RawImage

REWIND = "stamps went back"
PAUSE = "pause"
RESIZED = "size changed"
CUT = "scene changed"

PAUSE_SECONDS = 60.0
"""A longer gap between stamps is a pause, or a clock set anew, not time on the road."""

_GRID = (18, 32)
_SAMPLES = 4  # pixels a side that are looked at in each cell
_FLAT = 3.0  # standard deviation in gray levels under which a picture says nothing: black, fog, a lens cap
_UNSTAMPED = 1 / 30  # seconds that pass between frames whose stamps do not say
_NEIGHBORS = 0.2  # seconds; of frames further apart even one drive's differ as those of two
_USUAL, _LAST = 8, 2  # differences that make the usual one, and those just before, which a shadow's edge raises too
_FEWEST = 3
_STILL = 0.02  # difference of two frames of one scene through noise alone
# How much larger than usual a difference has to be, and how large: of gradients alone, or of gradients and brightness.
_ABRUPT, _GRADIENTS = 6.0, 0.35
_LESS_ABRUPT, _MORE_GRADIENTS, _BRIGHTNESS = 2.5, 0.5, 0.45


class SceneCheck:
    """Looks at the frames of one stream in order, and says which of them is the first of another scene.

    A scene ends where stamps go back, after a pause, with another size of the picture, and at a cut: small pictures of
    two frames in a row, at most a fifth of a second apart, differ several times as much as those before them did.
    Differences are one minus the correlation, of brightness and of its gradients. The limits were set on real drives,
    whole and with frames left out at random, where no frame may count as a cut: a shadow's edge that sweeps over the
    picture changes it as much as a cut does, but not from one frame to the next.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the frame before: the next one begins."""
        self._stamp: int | None = None
        self._size = (0, 0)
        self._picture: tuple[int, NDArray[np.float32], NDArray[np.float32]] | None = None
        self._rates: deque[float] = deque(maxlen=_USUAL)

    def check(self, frame: Frame) -> str:
        """Why ids start anew with this frame: one of the reasons above, or empty where they go on, as for a still."""
        if frame.stamp is None:
            return ""
        reason = self._jump(frame.stamp, frame.size)
        if reason:
            self.reset()
        if self._is_cut(frame.stamp, frame):
            reason = CUT
        self._stamp, self._size = frame.stamp, frame.size
        return reason

    def _jump(self, stamp: int, size: tuple[int, int]) -> str:
        if self._stamp is None:
            return ""
        if stamp < self._stamp:
            return REWIND
        if stamp - self._stamp > 1e9 * PAUSE_SECONDS:
            return PAUSE
        return RESIZED if size != self._size else ""

    def _is_cut(self, stamp: int, frame: Frame) -> bool:
        small = _thumbnail(frame)
        if small is None or small.std() < _FLAT:
            return False  # and what comes next is compared with what was before
        brightness = _unit(small - small.mean())
        gradients = _unit(np.concatenate([np.diff(small, axis=axis).ravel() for axis in (0, 1)]))
        before, self._picture = self._picture, (stamp, brightness, gradients)
        if before is None:
            return False
        elapsed = (stamp - before[0]) / 1e9 or _UNSTAMPED
        if brightness.size != before[1].size or elapsed > _NEIGHBORS:
            return False
        darker, moved = (1 - float(a @ b) for a, b in zip(before[1:], self._picture[1:], strict=True))
        cut = False
        if len(self._rates) >= _FEWEST:
            usual = max(median(self._rates), *list(self._rates)[-_LAST:]) * elapsed
            times = moved / max(usual, _STILL)
            cut = times > _ABRUPT and moved > _GRADIENTS
            cut |= times > _LESS_ABRUPT and moved > _MORE_GRADIENTS and darker > _BRIGHTNESS
        if cut:
            self._rates.clear()
        else:
            self._rates.append(moved / elapsed)
        return cut


def _thumbnail(frame: Frame) -> NDArray[np.float32] | None:
    """Mean brightness on a grid, of some of the pixels; None where the frame is too small to tell.

    Of a picture that is not converted yet it is the mean of some of its bytes, which does as well.
    """
    height, width = frame.size
    step = min(height // (_GRID[0] * _SAMPLES), width // (_GRID[1] * _SAMPLES))
    if not step:
        return None
    pixels = frame.pixels
    if isinstance(pixels, RawImage):
        bytes_a_pixel = max(1, pixels.rows.shape[1] // width)
        sparse = pixels.rows[step // 2 :: step, step // 2 * bytes_a_pixel :: step * bytes_a_pixel]
    else:
        sparse = pixels[step // 2 :: step, step // 2 :: step, 1]
    small = cv2.resize(sparse.astype(np.float32), _GRID[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32)


def _unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = values.ravel()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-6), dtype=np.float32)
