"""Whether a camera shows what is there: frozen, dark, blown out, defocused, covered and filled pictures are told."""

from __future__ import annotations

import weakref

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.camera.blocks import GRID, Blocks, measure
from rtseg.camera.luma import sparse_luma
from rtseg.camera.state import BLOWN_OUT, COVERED, DARK, DEFOCUSED, FAULTS, FILLED, FROZEN, CameraState
from rtseg.frame import Frame

_LOOK = 0.075  # seconds between looks: a faster camera's frames are not all looked at
_UNSTAMPED = 1 / 30  # seconds that pass between frames whose stamps do not say
_GAP = 2.0  # seconds; what was before a longer one is not compared with
_LASTING = 0.4  # seconds for which a fault has to be seen before it is told, and not to be seen before it is over
_LOOKS = 3  # and as many looks

_SAME = 5e-4  # share of the picture that may change in one that is frozen
_FROZEN, _STILL = 0.5, 5.0  # seconds of it: where the picture had moved until then, and where it had not
_OVERLAID = 8  # blocks in which a clock may go on running over a picture that freezes as it moves
_MOVING = 0.25  # share of the picture that changes while one drives
_PASSING = 0.22  # and of what is not covered of it, on smooth asphalt under a plain sky
_SMALL = 0.25  # share that may stand still: of a vehicle that stands, among others that move, it is more
_STIRRING, _STIRRED = 0.7, 8  # unless it is all that lies below, and of what is above it so much still changes
_DRIVING = 0.1  # share below which hardly anything but others' vehicles moves
_BLACK = 0.97  # share of the picture
_WHITE, _WHITE_BELOW = 0.6, 0.5  # share of the picture, and of its lower half
_SHARP = 0.52  # steepness of edges; they are under it from a blur of 5 of 1280 pixels on (standard deviation)
_FEATURELESS = 0.0005  # share of edges in a picture without any
_EDGED = 0.02  # share of edges from which on a block's steepness says something
_GRAY, _EVEN = (126.0, 130.0), 2  # level and spread of what a decoder fills
_DULL_PARTS = 8  # blocks that are blurred: a few lose their edges where a verge ends
_PARTS = 5  # blocks that are filled, or covered in one piece
_INERT, _ACTIVE = 0.03, 0.15  # share of a block that changes
_USUALLY = 0.65  # of the time
_GLOOM = 0.25  # dark share of the picture in which missing edges tell nothing
_MEMORY, _FORGOTTEN = 5.0, 300.0  # seconds in which what is usual is learned, and forgotten of what was lost
_SOFT, _DULLED = 0.5, 0.2  # steepness of a part's edges, and share of the usual number of edges
_MANY = 24  # blocks
_LOST_SECONDS, _LOST_LOOKS = 0.7, 4  # for which a block has to be lost
_STEADY = 0.25  # seconds between looks; of slower cameras no part is told
_LEARNED = 5.0  # seconds after which it is known


class _Spells:
    """For how many looks each block has been another than usual, and how usual that was before."""

    def __init__(self) -> None:
        self._looks = np.zeros(GRID, np.int64)
        self._usual = np.zeros(GRID)

    def note(self, unusual: NDArray[np.bool_], usual: NDArray[np.float64]) -> None:
        """Add a look; `usual` is the share of the time for which a block was not so."""
        self._usual = np.where(self._looks == 0, usual, self._usual)
        self._looks = np.where(unusual, self._looks + 1, 0)

    def broken(self, looks: int, most: float) -> NDArray[np.bool_]:
        """Blocks that became unusual at once, so many looks ago or more, but not more than `most`.

        What covers a lens comes at once; scenery goes block by block.
        """
        broken = (self._looks >= looks) & (self._looks <= most) & (self._usual >= _USUALLY)
        if not broken.any():
            return broken
        ages = self._looks[broken]
        together = np.array([np.count_nonzero(np.abs(ages - age) <= 1) for age in ages])
        return np.asarray(broken & (np.abs(self._looks - ages[together.argmax()]) <= 1))


class CameraHealth:
    """Looks at the frames of one camera, some samples of each, in order.

    Dark, blown out, defocused and filled pictures are told from what they show alone, within half a second; frozen and
    covered ones by what was before. What is covered from the first frame on is not told: one's own bonnet is, too.
    Models of one camera may share it: each frame is looked at once.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was seen: another recording, or another size."""
        self.state = CameraState()
        self._frame: weakref.ref[Frame] | None = None
        self._last: int | None = None
        self._shape: tuple[int, ...] = ()
        self._picture: NDArray[np.uint8] | None = None
        self._since: dict[str, tuple[float, int]] = {}  # seconds and looks for which a fault has been seen
        self._gone: dict[str, float] = {}  # seconds for which one that is told has not
        self._same = 0.0
        self._moved = False
        self._covered = 0.0  # share of the picture
        self._learned = 0.0
        self._active, self._stirs = np.zeros(GRID), np.zeros(GRID)
        self._sharp = np.zeros(GRID)
        self._edges = np.zeros(GRID)
        self._inert, self._dull = _Spells(), _Spells()

    def update(self, frame: Frame) -> CameraState:
        """Look at the next frame, if it is time to; a still changes nothing, and is taken to be sound."""
        if frame.stamp is None:
            return CameraState()
        if self._frame is not None and self._frame() is frame:
            return self.state  # another model's look at it
        if self._last is not None and (frame.stamp < self._last or frame.size != self._shape):
            self.reset()
        self._frame = weakref.ref(frame)
        elapsed = _LOOK
        if self._last is not None:
            elapsed = (frame.stamp - self._last) / 1e9
            if 0 < elapsed < _LOOK:
                return self.state
        picture = sparse_luma(frame)
        if picture.shape[0] < 2 * GRID[0] or picture.shape[1] < GRID[1]:
            return self.state  # too small to tell
        before = picture if self._picture is None or elapsed > _GAP else self._picture
        self._last, self._shape, self._picture = frame.stamp, frame.size, picture
        self._judge(measure(picture, before), elapsed or _UNSTAMPED, before is not picture)
        return self.state

    def _judge(self, blocks: Blocks, elapsed: float, comparable: bool) -> None:
        trusts: dict[str, float] = {}
        dark, bright = float(blocks.dark.mean()), float(blocks.bright.mean())
        edges = float(blocks.edges.mean())
        if comparable and self._is_frozen(blocks.changed, elapsed):
            trusts[FROZEN] = 0.0
        if dark >= _BLACK:
            trusts[DARK] = 0.0
        elif bright >= _WHITE or float(blocks.bright[GRID[0] // 2 :].mean()) >= _WHITE_BELOW:
            trusts[BLOWN_OUT] = 1 - bright
        gray = (blocks.mean >= _GRAY[0]) & (blocks.mean <= _GRAY[1]) & (blocks.spread <= _EVEN)
        if gray.sum() >= _PARTS:
            trusts[FILLED] = 1 - float(gray.mean())
        if not trusts or set(trusts) == {FROZEN}:
            steepness = float((blocks.steepness * blocks.edges).sum()) / edges / blocks.edges.size if edges else 0.0
            if edges < _FEATURELESS or steepness < _SHARP:
                trusts[DEFOCUSED] = float(np.clip((steepness - 0.25) / (_SHARP - 0.25), 0, 1))
        # Of a picture that is wrong as a whole no part is told, nor anything learned.
        if comparable and not trusts and self._moves(blocks):
            self._covered = self._lost(blocks, elapsed)
            if self._covered:
                trusts[COVERED] = 1 - self._covered
        elif self._covered and set(trusts) <= {FROZEN}:
            trusts[COVERED] = 1 - self._covered  # a vehicle that stands does not tell
        self._tell(trusts, elapsed, bool(blocks.changed.mean() >= _DRIVING) if comparable else None)

    def _is_frozen(self, changed: NDArray[np.float32], elapsed: float) -> bool:
        """Whether one picture comes again and again: at once where it moved just before, a vehicle that stands not."""
        compared = np.sort(changed, axis=None)[:-_OVERLAID] if self._moved else changed
        if float(compared.mean()) > _SAME:
            self._same, self._moved = 0.0, float(changed.mean()) >= _MOVING
            return False
        self._same += elapsed
        return self._same >= (_FROZEN - _LASTING if self._moved else _STILL)

    def _moves(self, blocks: Blocks) -> bool:
        """Whether the picture changes as while one drives, but for a part that may be covered.

        Where a vehicle comes to stand, nothing but others' vehicles moves above either.
        """
        suspect = (blocks.changed < _INERT) & (self._active >= _USUALLY)
        if suspect.mean() <= _SMALL:
            return float(blocks.changed[~suspect].mean()) >= _PASSING
        if float(blocks.changed.mean()) >= _PASSING:
            return True
        below = np.flatnonzero(suspect.mean(axis=1) >= 0.5)
        above = (np.arange(GRID[0]) < min(below, default=0))[:, None] & (self._stirs >= _USUALLY)
        return above.sum() >= _STIRRED and float((blocks.changed[above] >= _INERT).mean()) >= _STIRRING

    def _lost(self, blocks: Blocks, elapsed: float) -> float:
        """Share of the picture that is covered, of blocks that used to move or to be sharp and do so no longer."""
        sharp = (blocks.edges >= _EDGED) & (blocks.steepness >= _SHARP)
        soft = (blocks.edges < _DULLED * self._edges) | (blocks.steepness < _SOFT)
        self._inert.note(blocks.changed < _INERT, self._active)
        self._dull.note(soft, self._sharp)
        lost = np.zeros(GRID, bool)
        if self._learned >= _LEARNED and elapsed <= _STEADY:
            looks = max(_LOST_LOOKS, round(_LOST_SECONDS / elapsed))
            lost = self._inert.broken(looks, _FORGOTTEN / elapsed)
            if blocks.dark.mean() <= _GLOOM:  # else edges are few anyway: under a bridge, in a tunnel, at night
                dull = self._dull.broken(looks, _FORGOTTEN / elapsed)
                lost |= dull & (dull.sum() >= _DULL_PARTS)
            if lost.sum() < _MANY:
                lost[: GRID[0] // 2] = False  # where trees give way to the sky
        self._learned += elapsed
        gain = elapsed / min(_MEMORY, self._learned)
        self._active += gain * ((blocks.changed >= _ACTIVE) - self._active)
        self._stirs += gain * ((blocks.changed >= _INERT) - self._stirs)
        self._sharp += gain * (sharp - self._sharp)
        self._edges += gain * (blocks.edges - self._edges)
        if lost.sum() < _PARTS:
            return 0.0
        _, _, parts, _ = cv2.connectedComponentsWithStats(lost.astype(np.uint8), connectivity=4)
        areas = parts[1:, cv2.CC_STAT_AREA]
        return float(areas[areas >= _PARTS].sum()) / lost.size

    def _tell(self, trusts: dict[str, float], elapsed: float, moving: bool | None) -> None:
        """Faults that have been seen for long enough, and those that have not been gone for as long."""
        told = []
        for fault in FAULTS:
            if fault in trusts:
                seconds, looks = self._since.get(fault, (0.0, 0))
                self._since[fault] = seconds + elapsed, looks + 1
                self._gone[fault] = 0.0
                if fault == COVERED or (seconds + elapsed >= _LASTING and looks + 1 >= _LOOKS):
                    told.append(fault)  # of what is covered each block has been watched for as long
            else:
                self._since.pop(fault, None)
                if fault in self.state.faults:
                    self._gone[fault] = self._gone.get(fault, 0.0) + elapsed
                    if self._gone[fault] < _LASTING:
                        told.append(fault)
        seen = [trusts[fault] for fault in told if fault in trusts]
        kept = self.state.trust if told else 1.0
        self.state = CameraState(tuple(told), min(seen, default=kept), moving)
