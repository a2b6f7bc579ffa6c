"""What ``--ignore auto`` learns of recordings and rendered drives: what is found there, and what road it hides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from rtseg.errors import ArgumentError
from rtseg.frame import Frame
from rtseg.lab.render import Drive
from rtseg.lab.studies.lane_drives import CONDITIONS, FIRST_SEED
from rtseg.loading import load
from rtseg.media import open_frames
from rtseg.results import Lanes
from rtseg.runtime.ignore import LearnedMask

FPS = 5.0
COVERS = ("none", "dark", "body", "mirror", "text")
"""What is in the way on rendered drives: nothing, a bonnet of three kinds, two lines of text over the picture."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Truth:
    """Of a rendered frame: its lines, and what covers the road."""

    lines: Mask
    cover: Mask


@dataclass
class IgnoredScore:
    """What became of one recording. Counts are pixels, summed over frames.

    Attributes:
        name: of the recording.
        seconds: its length.
        learned: (seconds, share of the picture) of each mask that was another than before.
        early: of lines on the last mask before the first was known.
        late: of lines on the mask that was known, in frames from then on.
        points: points of polylines on it, in the same frames.
        kept, lost: of lines beside the mask that the model finds without it: still found, and not.
        hidden, seen: of true lines: on the mask, and in sight, once it was known; rendered drives only.
        covered: share of what truly covers the road that is on the last mask; nan where nothing does or it isn't known.
    """

    name: str
    seconds: float = 0.0
    learned: list[tuple[float, float]] = field(default_factory=list)
    early: int = 0
    late: int = 0
    points: int = 0
    kept: int = 0
    lost: int = 0
    hidden: int = 0
    seen: int = 0
    covered: float = np.nan


def score_frames(name: str, frames: Iterable[tuple[Frame, Truth | None]], model: str) -> IgnoredScore:
    """Find lines in a recording with a mask that is learned, beside those that are found without one.

    Raises:
        ArgumentError: the model finds no lanes.
    """
    score, plain, masked = IgnoredScore(name), load(model), load(model, ignore="auto")
    learned = cast(LearnedMask, masked.learned)
    before: list[NDArray[np.uint8]] = []
    mask: Mask = np.zeros((1, 1), np.bool_)
    for frame, truth in frames:
        without, found = plain(frame), masked(frame)
        if not (isinstance(without, Lanes) and isinstance(found, Lanes)):
            raise ArgumentError(f"expected a lane model, got {model}")
        score.seconds = (frame.stamp or 0) / 1e9
        now = learned.at(frame.size)
        if now.any() and not np.array_equal(now, mask):
            score.learned.append((score.seconds, float(now.mean())))
        mask = now
        if not score.learned:
            before.append(np.packbits(without.mask > 0))
        score.late += int((found.mask[mask] > 0).sum())
        score.points += sum(_on(line, mask) for line in found.polylines)
        beside = (without.mask > 0) & ~mask
        score.kept += int((beside & (found.mask > 0)).sum())
        score.lost += int((beside & (found.mask == 0)).sum())
        if truth is not None:
            score.hidden += int((truth.lines & mask & ~truth.cover).sum())
            score.seen += int((truth.lines & ~truth.cover).sum())
            score.covered = float(mask[truth.cover].mean()) if truth.cover.any() else np.nan
    if score.learned:
        score.early = sum(int(np.unpackbits(bits, count=mask.size)[mask.reshape(-1)].sum()) for bits in before)
    return score


def _on(line: NDArray[np.float32], mask: Mask) -> int:
    x, y = np.rint(line).astype(np.intp).T
    return int(mask[np.clip(y, 0, mask.shape[0] - 1), np.clip(x, 0, mask.shape[1] - 1)].sum())


def rendered(
    count: int, seconds: float, size: tuple[int, int] = (360, 640)
) -> Iterator[tuple[str, Iterator[tuple[Frame, Truth]]]]:
    """Highways with nothing in the way, with bonnets and with text by turns, in every condition by turns."""
    conditions = list(CONDITIONS)
    for k in range(count):
        cover, condition = COVERS[k % len(COVERS)], conditions[k % len(conditions)]
        plain = Drive(FIRST_SEED + k, seconds, FPS, size)
        hood = "none" if cover == "text" else cover
        style = replace(plain.style, hood=hood, **CONDITIONS[condition])  # type: ignore[arg-type]
        drive = Drive(plain.seed, seconds, FPS, size, style=style)
        yield f"{condition}, {cover}", _covered(drive, cover == "text")


def _covered(drive: Drive, text: bool) -> Iterator[tuple[Frame, Truth]]:
    hood, painted = drive.hood(), np.zeros((*drive.size, 3), np.uint8)
    height, width = drive.size
    if text:
        for line, at in (("CAM 1 FRONT", (12, 22)), ("RTSEG TEST DRIVE", (width // 2, height - 12))):
            cv2.putText(painted, line, at, cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 2)
    cover = hood | (painted[..., 0] > 127)
    for road in drive:
        image = np.where(painted > 127, painted, road.image)
        yield Frame(image, road.stamp), Truth(road.mask > 0, cover)


def score_recordings(recordings: Iterable[str], drives: int, seconds: float, model: str) -> Iterator[IgnoredScore]:
    """Score recordings, then rendered drives."""
    for recording in recordings:
        with open_frames(recording) as frames:
            yield score_frames(frames.name, ((frame, None) for frame in frames), model)
    for name, drive in rendered(drives, seconds):
        yield score_frames(f"rendered, {name}", drive, model)


def table(scores: Iterable[IgnoredScore]) -> Table:
    """A recording a row."""
    shown = Table(
        "recording", "seconds", "learned after", "of the picture", "line pixels on it, before", "since", "points",
        "lost beside it", "true lines hidden", "cover found",
    )  # fmt: skip
    for score in scores:
        shown.add_row(
            score.name,
            f"{score.seconds:.0f}",
            ", ".join(f"{after:.1f} s" for after, _ in score.learned) or "nothing",
            ", ".join(f"{100 * share:.1f} %" for _, share in score.learned),
            str(score.early),
            str(score.late),
            str(score.points),
            _share(score.lost, score.kept),
            _share(score.hidden, score.seen - score.hidden) if score.seen else "",
            f"{100 * score.covered:.1f} %" if np.isfinite(score.covered) else "",
        )
    return shown


def _share(part: int, rest: int) -> str:
    return f"{100 * part / (part + rest):.3f} %" if part + rest else "0 %"
