"""How soon a wrong mounting is told, and a right one falsely: rendered drives, watched by calibrations that are off."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from rich.table import Table

from rtseg.camera import Camera
from rtseg.frame import Frame
from rtseg.lab.render import Drive, sample_style
from rtseg.lab.scores.lanes.evaluate import LanePipeline
from rtseg.lab.studies.lane_drives import CONDITIONS, FIRST_SEED
from rtseg.lanes import MountingWatch
from rtseg.lanes.mounting import WRONG
from rtseg.results import Lanes

FPS = 4.0  # a watch looks at no more
ERRORS = {"pitch +2": (2.0, 0.0), "pitch -2": (-2.0, 0.0), "yaw +3": (0.0, 3.0), "yaw -3": (0.0, -3.0)}
"""Calibrations that are off, by degrees of pitch and yaw."""


@dataclass
class MountingScore:
    """What was told in one drive.

    Attributes:
        name: of the road: its setting and what it was rendered in.
        seconds: of the drive.
        stretches: of straight road that were seen.
        false: seconds after which the right mounting was called wrong, None if it never was.
        verdict: on the right mounting in the end.
        told: seconds after which what was off was told, by the name of the error; missing where it was not.
        off: degrees of pitch and yaw and share of the height by which what is seen in the end differs from the truth.
    """

    name: str
    seconds: float = 0.0
    stretches: int = 0
    false: float | None = None
    verdict: str = ""
    told: dict[str, float] = field(default_factory=dict)
    off: tuple[float, float, float] = (math.nan, math.nan, math.nan)


def roads(count: int, seconds: float, first: int = FIRST_SEED) -> Iterator[tuple[str, Drive]]:
    """Roads with a camera each, in every condition by turns: a highway, then a road of any kind, and so on."""
    names = list(CONDITIONS)
    for seed in range(first, first + count):
        condition = names[(seed // 2) % len(names)]
        style = Drive(seed, 1.0, 1.0, (32, 32)).style if seed % 2 else sample_style(np.random.default_rng([seed, 7]))
        style = replace(style, **CONDITIONS[condition])  # type: ignore[arg-type]
        yield f"{style.setting}, {condition}", Drive(seed, seconds, FPS, (360, 640), style=style, detail=0.5)


def seen_lanes(pipeline: LanePipeline, drive: Drive) -> Iterator[Lanes]:
    """What a model finds in the pictures of a drive."""
    pipeline.reset()
    for road in drive:
        yield pipeline(Frame(road.image, road.stamp))


def true_lanes(drive: Drive) -> Iterator[Lanes]:
    """The true lines of a drive, each as a whole half a pixel aside at random, without pictures."""
    rng = np.random.default_rng(drive.seed)
    for stamp, lines in drive.lines():
        shaken = tuple(line + np.array([rng.normal(0, 0.5), 0], np.float32) for line in lines)
        ids = np.arange(1, len(lines) + 1, dtype=np.int32)
        mask, sure = np.zeros(drive.size, np.uint8), np.ones(len(lines), np.float32)
        yield Lanes(mask, ids, sure, shaken, stamp, moving=True)


def score_mounting(
    drives: Iterable[tuple[str, Drive]], lanes_of: Callable[[Drive], Iterable[Lanes]]
) -> Iterator[MountingScore]:
    """Drive on each road, from its beginning, watched by the right calibration and by those of `ERRORS`.

    Args:
        drives: (name, drive).
        lanes_of: gives what is found in the frames of one.
    """
    for name, drive in drives:
        score = MountingScore(name)
        true = drive.camera.mount
        right = MountingWatch()
        others = {error: (MountingWatch(), _off(drive.camera, *ERRORS[error])) for error in ERRORS}
        for lanes in lanes_of(drive):
            score.seconds = (lanes.stamp or 0) / 1e9
            right.update(lanes, drive.camera)
            if score.false is None and right.mounting is not None and right.mounting.verdict == WRONG:
                score.false = score.seconds
            for error, (watch, wrong) in others.items():
                watch.update(lanes, wrong)
                told = watch.mounting
                if error not in score.told and told is not None and getattr(told, error.split()[0]).verdict == WRONG:
                    score.told[error] = score.seconds
        if right.mounting is not None:
            seen_mount = right.mounting
            score.stretches, score.verdict = seen_mount.stretches, seen_mount.verdict
            score.off = (
                math.degrees(seen_mount.pitch.seen - true.pitch),
                math.degrees(seen_mount.yaw.seen - true.yaw),
                seen_mount.height.seen / true.height - 1,
            )
        yield score


def _off(camera: Camera, pitch: float, yaw: float) -> Camera:
    mount = camera.mount
    wrong = replace(mount, pitch=mount.pitch + math.radians(pitch), yaw=mount.yaw + math.radians(yaw))
    return replace(camera, mount=wrong)


def table(scores: Sequence[MountingScore]) -> Table:
    """The drives, one a row, and all together."""
    shown = Table("road", "s", "stretches", "right: told wrong", "verdict", "off: pitch", "yaw", "height", *ERRORS)
    for score in scores:
        false = "never" if score.false is None else f"after {score.false:.0f} s"
        off = [f"{score.off[0]:+.2f}", f"{score.off[1]:+.2f}", f"{100 * score.off[2]:+.0f} %"]
        cells = [f"{score.told[error]:.0f}" if error in score.told else "not" for error in ERRORS]
        shown.add_row(score.name, f"{score.seconds:.0f}", str(score.stretches), false, score.verdict, *off, *cells)
    return shown


def summary(scores: Sequence[MountingScore]) -> list[str]:
    """What it comes to, a line each."""
    seen = [score for score in scores if math.isfinite(score.off[0])]
    lines = [
        f"{sum(score.seconds for score in scores) / 60:.0f} min on {len(scores)} roads, {len(seen)} with enough road; "
        f"the right mounting was called wrong on {sum(score.false is not None for score in scores)}"
    ]
    for name, column, scale, unit in (("pitch", 0, 1.0, "deg"), ("yaw", 1, 1.0, "deg"), ("height", 2, 100.0, "%")):
        off = scale * np.abs([score.off[column] for score in seen]) if seen else np.array([math.nan])
        lines.append(f"{name} is off by {np.median(off):.2f} {unit} (median), {off.max():.2f} at most")
    for error in ERRORS:
        after = [score.told[error] for score in scores if error in score.told]
        if after:
            lines.append(
                f"{error}: told on {len(after)}, after {np.median(after):.0f} s (median), {max(after):.0f} at most"
            )
    return lines
