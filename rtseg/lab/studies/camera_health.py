"""How soon a camera's faults are told, and how often falsely: recordings and rendered drives, damaged on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from rtseg.camera.health import CameraHealth
from rtseg.camera.state import BLOWN_OUT, COVERED, DARK, DEFOCUSED, FILLED, FROZEN
from rtseg.frame import Frame
from rtseg.lab.studies.lane_drives import FIRST_SEED, rendered_drives
from rtseg.media import open_frames

Picture = NDArray[np.uint8]
Damage = Callable[[Picture, Picture], Picture]
"""Makes a damaged picture of a sound one and of the last before the damage."""

_SOUND, _DAMAGED = 6.0, 2.0  # seconds


def _filled(picture: Picture, last: Picture) -> Picture:
    damaged = picture.copy()
    damaged[2 * len(picture) // 3 :] = 128
    return damaged


def _patched(picture: Picture, last: Picture) -> Picture:
    height, width = picture.shape[:2]
    damaged = picture.copy()
    damaged[height // 2 : height * 5 // 6, width // 2 : width * 5 // 6] = (20, 40, 50)
    return damaged


def _dirty(picture: Picture, last: Picture) -> Picture:
    height, width = picture.shape[:2]
    spot: NDArray[Any] = np.zeros((height, width), np.float32)
    cv2.circle(spot, (round(0.6 * width), round(0.6 * height)), round(0.16 * width), 1.0, cv2.FILLED)
    spot = cv2.GaussianBlur(spot, (0, 0), width / 128)[..., None]
    smeared = 0.5 * cv2.GaussianBlur(picture, (0, 0), width / 64) + 30
    return np.asarray(picture * (1 - spot) + smeared * spot, dtype=np.uint8)


def _half_frozen(picture: Picture, last: Picture) -> Picture:
    half = len(picture) // 2
    return np.concatenate([picture[:half], last[half:]])


def _with_clock(picture: Picture, last: Picture) -> Picture:
    damaged, height = last.copy(), len(picture)
    strip = damaged[height // 36 : height // 12, height // 36 : height // 3]
    strip[:] = np.where(cv2.resize(picture, strip.shape[1::-1]) > 127, 255, 0)  # as restless as any figures
    return damaged


def _blown_out(picture: Picture, last: Picture) -> Picture:
    return np.asarray(np.clip(picture.astype(np.float32) * 6 + 120, 0, 255), dtype=np.uint8)


def _blurred(picture: Picture, last: Picture) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), picture.shape[1] / 160), dtype=np.uint8)


DAMAGES: dict[str, tuple[str, Damage]] = {
    "frozen": (FROZEN, lambda picture, last: last),
    "clock": (FROZEN, _with_clock),
    "dim": (DARK, lambda picture, last: np.asarray(picture * 0.05, dtype=np.uint8)),
    "bright": (BLOWN_OUT, _blown_out),
    "blurred": (DEFOCUSED, _blurred),
    "patch": (COVERED, _patched),
    "spot": (COVERED, _dirty),
    "half": (COVERED, _half_frozen),
    "gray": (FILLED, _filled),
}
"""By name: the fault that is to be told, and what makes it: one picture again and again, and with a clock that runs in
it, a twentieth of the light, overexposure, a blur by 1/160 of the width, an opaque patch over a ninth of the picture, a
smeared spot, a lower half that stays as it was, the lower third gray."""


@dataclass
class HealthScore:
    """What was told of one recording.

    Attributes:
        name: of the recording.
        seconds: its length.
        false: (seconds, faults) of its sound frames, where a fault was told.
        told: seconds from the damage on after which each was told, by the name of the damage; missing where it was not.
        damaged: whether the recording was long enough to be damaged.
    """

    name: str
    seconds: float = 0.0
    false: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)
    told: dict[str, float] = field(default_factory=dict)
    damaged: bool = False


def score_frames(name: str, frames: Iterable[Frame]) -> HealthScore:
    """Look at the frames of a recording as they are, and damaged in each way for two seconds after six sound ones."""
    score, sound = HealthScore(name), CameraHealth()
    watches = {damage: CameraHealth() for damage in DAMAGES}
    first, last = None, None
    for frame in frames:
        if frame.stamp is None:
            continue
        first = frame.stamp if first is None else first
        score.seconds = (frame.stamp - first) / 1e9
        if faults := sound.update(frame).faults:
            score.false.append((score.seconds, faults))
        if score.seconds < _SOUND:
            last = frame.image.copy()
            for watch in watches.values():
                watch.update(frame)
        elif score.seconds < _SOUND + _DAMAGED and last is not None:
            score.damaged = True
            for damage, (fault, make) in DAMAGES.items():
                state = watches[damage].update(Frame(make(frame.image, last), frame.stamp))
                if fault in state.faults:
                    score.told.setdefault(damage, score.seconds - _SOUND)
    return score


def score_recordings(recordings: Iterable[str], drives: int) -> Iterator[HealthScore]:
    """Score recordings, then rendered drives, one in each condition for each seed."""
    for recording in recordings:
        with open_frames(recording) as frames:
            yield score_frames(frames.name, frames)
    seeds = range(FIRST_SEED, FIRST_SEED + drives)
    for name, drive in rendered_drives(seeds, _SOUND + _DAMAGED + 2, 15.0):
        yield score_frames(f"rendered, {name}", (Frame(road.image, road.stamp) for road in drive))


def table(scores: Iterable[HealthScore]) -> Table:
    """Seconds until each damage was told, and seconds of sound frames with a fault, by recording."""
    shown = Table("recording", "seconds", "false alarms", *DAMAGES)
    for score in scores:
        false = ", ".join(sorted({fault for _, faults in score.false for fault in faults}))
        cells = [f"{score.told[damage]:.1f}" if damage in score.told else "not" for damage in DAMAGES]
        cells = cells if score.damaged else [""] * len(DAMAGES)
        shown.add_row(score.name, f"{score.seconds:.0f}", f"{len(score.false)} ({false})" if false else "0", *cells)
    return shown
