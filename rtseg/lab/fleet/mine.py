"""Which frames of a fleet to label next: doubtful ones, and ones that differ from each other."""

from __future__ import annotations

import csv
import heapq
import io
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.counted import counted
from rtseg.errors import MediaError
from rtseg.files import write_text
from rtseg.frame import Frame
from rtseg.lab.fleet.agreement import disagreement
from rtseg.lab.fleet.frames import FrameAddress, draw_row, frames_at, lanes_of, part_of
from rtseg.lab.fleet.rows import ShardName, read_rows, read_shard, shards_in
from rtseg.lab.fleet.settings import JobSettings, read_settings, refuse_job_folder
from rtseg.lab.fleet.shards import Part
from rtseg.lab.fleet.sources import find_recordings
from rtseg.lab.fleet.stores import common_folder, local_folder
from rtseg.lab.replay.labels_out import FOLDER, LabelKind, LabelWriter
from rtseg.lab.report.machine import machine_facts
from rtseg.lab.report.report import Picture, ReportData, write_report
from rtseg.loading import load
from rtseg.runtime import find_model

logger = logging.getLogger("rtseg")

POOL = 20
"""Candidates, by score, for each frame that is wanted; of them those are taken that differ most."""

SPACING = 10**9
"""Nanoseconds of a recording of which at most one frame is a candidate."""

_NEIGHBORS = 5 * 10**8  # ns up to which two frames are neighbors
_BLIND = 0.5  # doubt of a frame in which nothing was found: there may be nothing
_SHOWN = 60
_COLUMNS = (
    *("recording", "shard", "frame", "stamp", "name", "width", "height", "found", "certainty", "lanes", "objects"),
    "features",
)
_OTHER_COLUMNS = ("stamp", "name", "width", "height", "found", "lanes", "objects")
_NAME = "{:05d}.jpg"  # of a picture, by its place in the choice


@dataclass(frozen=True)
class Candidate:
    """A frame that is worth a label.

    Attributes:
        row: of the results.
        address: where the frame is.
        doubt: one less the mean confidence.
        unsteady: share that it or the frame before it shows alone.
        disputed: share that it or another model shows alone; 0 where there is no other.
    """

    row: dict[str, Any]
    address: FrameAddress
    doubt: float
    unsteady: float
    disputed: float

    @property
    def score(self) -> float:
        """Of what there is most in the frames that a label helps most."""
        return self.doubt + self.unsteady + self.disputed


def mine_frames(
    job: str, count: int, out: str | Path, against: str | None = None, labels: LabelKind | None = None
) -> list[Candidate]:
    """Choose frames to label, and write them as pictures with what was found in them as labels to begin with.

    Every second of recording offers its frame of the highest score. Of the best of these the first is taken, and then
    always the one whose score times its distance to those taken is largest (k-center, weighted), the distance being
    that of the network's own features: so rare light, weather and places are not crowded out by one bad stretch.

    Args:
        job: folder of a fleet replay.
        count: frames to choose.
        out: folder for ``labels/`` (pictures and what was found in them, which training reads as it is),
            ``frames.csv`` and ``report.html``.
        against: another job over the same recordings, whose model may disagree.
        labels: which kind to write; by default TuSimple's for lanes and COCO's for objects.

    Returns:
        The frames chosen, in the order of choice.

    Raises:
        MediaError: there is no frame to choose, none of the recordings can be read, or `out` holds labels already.
        ConfigError: one of the folders is none of a fleet job, labels of that kind cannot hold what was found, the
            jobs are of models of two tasks, or `out` is the folder of one of them.
    """
    settings, out = read_settings(job), local_folder(out)
    refuse_job_folder(str(out), job, *([against] if against else []))
    if (Path(out) / FOLDER).exists():
        raise MediaError(f"expected no labels yet, got {Path(out) / FOLDER}; move them away or give another --out")
    others = _OtherJob(against) if against else None
    best: list[tuple[float, int, Candidate]] = []
    for number, candidate in enumerate(_candidates(job, others)):
        entry = (candidate.score, -number, candidate)
        if len(best) < POOL * count:
            heapq.heappush(best, entry)
        elif entry > best[0]:
            heapq.heapreplace(best, entry)
    if not best:
        raise MediaError(f"expected frames with results in {job}, got none; replay recordings into it first")
    pool = [candidate for _, _, candidate in sorted(best, key=lambda entry: entry[:2], reverse=True)]
    features = np.array([[*candidate.row["features"], candidate.row["found"]] for candidate in pool], np.float64)
    scores = np.array([candidate.score for candidate in pool])
    chosen = [pool[index] for index in choose_spread(features, scores, count)]
    _warn_of_changes(job, settings, {candidate.address.recording for candidate in chosen})
    _export(Path(out), chosen, settings, labels)
    return chosen


def choose_spread(features: NDArray[np.float64], scores: NDArray[np.float64], count: int) -> list[int]:
    """Weighted greedy k-center: the best first, then always the largest product of score and distance to those chosen.

    Args:
        features: (n, d).
        scores: (n,) of 0 or more.
        count: to choose, at most n.

    Returns:
        Indices in the order of choice.
    """
    deviation = features.std(axis=0)
    scaled = features / np.where(deviation > 0, deviation, 1.0)
    chosen = [int(np.argmax(scores))]
    distance = np.full(len(features), np.inf)
    for _ in range(min(count, len(features)) - 1):
        distance = np.minimum(distance, np.linalg.norm(scaled - scaled[chosen[-1]], axis=1))
        gain = (scores + 1e-3) * (distance + 1e-6)
        gain[chosen] = -1.0
        chosen.append(int(np.argmax(gain)))
    return chosen


def _candidates(job: str, other: _OtherJob | None) -> Iterator[Candidate]:
    """The best frame of each second."""
    for name, table in read_rows(f"{job}/rows", _COLUMNS):
        part = part_of(table)
        before: dict[str, Any] | None = None
        best: dict[Any, Candidate] = {}
        described: list[dict[str, Any]] = []
        seen = other.rows(name.key) if other is not None else {}
        for row in table.to_pylist():
            if row["found"] is None:
                continue
            if row["features"] is not None:
                described.append(row)
            theirs = seen.get((row["stamp"], row["name"]))
            candidate = Candidate(
                row,
                FrameAddress(row["recording"], part, row["stamp"], row["name"]),
                doubt=1 - row["certainty"] if row["found"] else _BLIND,
                unsteady=disagreement(row, before) if before is not None and _follows(row, before) else 0.0,
                disputed=disagreement(row, theirs) if theirs is not None else 0.0,
            )
            before = row
            window = row["stamp"] // SPACING if row["stamp"] is not None else row["name"]
            if window not in best or candidate.score > best[window].score:
                best[window] = candidate
        for candidate in best.values():
            # Of networks without features to be had, what was found has to do.
            candidate.row["features"] = _nearest(candidate.row, described)["features"] if described else []
            yield candidate


def _warn_of_changes(job: str, settings: JobSettings, recordings: Iterable[str]) -> None:
    """Tell of recordings that are no longer what was replayed: their rows may be about other pictures."""
    done = {(name.key, name.fingerprint) for name in shards_in(f"{job}/rows")}
    for uri in sorted(recordings):
        for recording in find_recordings([uri]).recordings:
            name = settings.shard(recording, Part())
            if recording.uri == uri and (name.key, name.fingerprint) not in done:
                logger.warning(
                    "%s, or its labels, have changed since it was replayed: look whether what was found is in its "
                    "pictures, or replay it again",
                    uri,
                )


class _OtherJob:
    """Rows of another job, one recording at a time."""

    def __init__(self, job: str) -> None:
        read_settings(job)
        self._folder = f"{job}/rows"
        self._shards: dict[str, list[ShardName]] = defaultdict(list)
        for name in shards_in(self._folder):
            self._shards[name.key].append(name)
        self._key = ""
        self._rows: dict[tuple[Any, Any], dict[str, Any]] = {}

    def rows(self, key: str) -> dict[tuple[Any, Any], dict[str, Any]]:
        """Those of a recording that have a result, by stamp and name."""
        if key != self._key:
            tables = (read_shard(self._folder, name, _OTHER_COLUMNS) for name in self._shards[key])
            rows = (row for table in tables for row in table.to_pylist())
            self._rows = {(row["stamp"], row["name"]): row for row in rows if row["found"] is not None}
            self._key = key
        return self._rows


def _nearest(row: dict[str, Any], described: list[dict[str, Any]]) -> dict[str, Any]:
    """The row with features that is nearest in time; a still has its own."""
    if row["features"] is not None:
        return row
    return min(described, key=lambda other: abs((other["stamp"] or 0) - row["stamp"]))


def _follows(row: dict[str, Any], before: dict[str, Any]) -> bool:
    if row["stamp"] is None or before["stamp"] is None:
        return False
    return bool(0 <= row["stamp"] - before["stamp"] <= _NEIGHBORS)


def _export(out: Path, chosen: Sequence[Candidate], settings: JobSettings, labels: LabelKind | None) -> None:
    order = {candidate.address: number for number, candidate in enumerate(chosen)}
    folder = common_folder(address.recording for address in order)
    lanes = chosen[0].row["lanes"] is not None
    card = find_model(settings.model).card
    # Rows have boxes only; masks are found anew, in the picture by itself.
    pipeline = None if lanes else load(settings.model, device=settings.device, backend=settings.backend)
    taken: list[int] = []
    shown: dict[int, Picture] = {}
    kind: LabelKind = labels or ("tusimple" if lanes else "coco")
    with LabelWriter(out, kind, card.classes, card.task) as writer:
        for address, frame in frames_at(order, settings.topic):
            number = order[address]
            candidate = chosen[number]
            still = Frame(frame.image, name=_NAME.format(number))
            writer.write(still, lanes_of(candidate.row) if pipeline is None else pipeline(still))
            taken.append(number)
            if number < _SHOWN:
                caption = f"{number}. {address.recording.removeprefix(folder)}: doubt {candidate.doubt:.2f}, "
                caption += f"unsteady {candidate.unsteady:.2f}, disputed {candidate.disputed:.2f}"
                shown[number] = Picture.of(caption, draw_row(frame.image, candidate.row, ""))
        if not taken:
            raise MediaError("expected the recordings of the frames, got none that can be read; put them back")
        _write_list(out, [(number, chosen[number]) for number in sorted(taken)])
        lost, recordings = len(chosen) - len(taken), len({chosen[n].address.recording for n in taken})
        page = ReportData(
            title="Frames to label",
            subtitle=f"{counted(len(taken), 'frame')} of {counted(recordings, 'recording')}",
            gallery=[shown[number] for number in sorted(shown)],
            facts=machine_facts(),
            notes=[f"Not found again: {counted(lost, 'frame')}."] if lost else [],
        )
        write_report(out / "report.html", page)


def _write_list(out: Path, taken: Sequence[tuple[int, Candidate]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("picture", "recording", "stamp", "name", "score", "doubt", "unsteady", "disputed"))
    for number, c in taken:
        figures = (f"{value:.4f}" for value in (c.score, c.doubt, c.unsteady, c.disputed))
        writer.writerow((_NAME.format(number), c.address.recording, c.address.stamp, c.address.name, *figures))
    write_text(out / "frames.csv", text.getvalue())
