"""Which frames of a fleet to label next: doubtful ones, and ones that differ from each other."""

from __future__ import annotations

import csv
import heapq
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import MediaError
from rtseg.files import write_text
from rtseg.lab.data.tusimple import LabelledImage, write_labels
from rtseg.lab.fleet.agreement import disagreement
from rtseg.lab.fleet.frames import FrameAddress, draw_row, frames_at, part_of
from rtseg.lab.fleet.rows import read_rows
from rtseg.lab.fleet.settings import read_settings
from rtseg.lab.report.machine import machine_facts
from rtseg.lab.report.report import Picture, ReportData, write_report
from rtseg.media.images import write_image

POOL = 20
"""Candidates, by score, for each frame that is wanted; of them those are taken that differ most."""

SPACING = 10**9
"""Nanoseconds of a recording of which at most one frame is a candidate."""

_NEIGHBORS = 5 * 10**8  # ns up to which two frames are neighbors
_BLIND = 0.5  # doubt of a frame in which nothing was found: there may be nothing
_SHOWN = 60
_COLUMNS = (
    *("recording", "shard", "frame", "stamp", "name", "width", "height", "found", "certainty", "lanes", "objects"),
    "descriptor",
)
_TUSIMPLE_ROWS = np.arange(160.0, 711.0, 10.0) / 720  # of the height


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


def mine_frames(job: str, count: int, out: str | Path, against: str | None = None) -> list[Candidate]:
    """Choose frames to label, and write them as pictures with what was found in them as labels to begin with.

    Every second of recording offers its frame of the highest score. Of the best of these the first is taken, and then
    always the one whose score times its distance to those taken is largest (k-center, weighted), the distance being
    that of the descriptors in the rows: so rare light, weather and places are not crowded out by one bad stretch.

    Args:
        job: folder of a fleet replay.
        count: frames to choose.
        out: folder for ``pictures/``, their labels (``labels.json`` of TuSimple's kind for lanes, which training
            reads; ``instances.json`` of COCO's kind with boxes for objects), ``frames.csv`` and ``report.html``.
        against: another job over the same recordings, whose model may disagree.

    Returns:
        The frames chosen, in the order of choice.

    Raises:
        MediaError: there is no frame to choose, or a recording cannot be read.
        ConfigError: one of the folders is none of a fleet job.
    """
    settings = read_settings(job)
    others = _rows_by_recording(against) if against else {}
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
    features = np.stack([_features(candidate.row) for candidate in pool])
    scores = np.array([candidate.score for candidate in pool])
    chosen = [pool[index] for index in choose_spread(features, scores, count)]
    _export(Path(out), chosen, settings.topic)
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


def _candidates(job: str, others: dict[str, dict[Any, dict[str, Any]]]) -> Iterator[Candidate]:
    """The best frame of each second."""
    for _, table in read_rows(f"{job}/rows", _COLUMNS):
        part = part_of(table)
        before: dict[str, Any] | None = None
        best: dict[Any, Candidate] = {}
        for row in table.to_pylist():
            if row["found"] is None:
                continue
            address = FrameAddress(row["recording"], part, row["stamp"], row["name"])
            other = others.get(row["recording"], {}).get((row["stamp"], row["name"]))
            candidate = Candidate(
                row,
                address,
                doubt=1 - row["certainty"] if row["found"] else _BLIND,
                unsteady=disagreement(row, before) if before is not None and _follows(row, before) else 0.0,
                disputed=disagreement(row, other) if other is not None else 0.0,
            )
            before = row
            window = row["stamp"] // SPACING if row["stamp"] is not None else row["name"]
            if window not in best or candidate.score > best[window].score:
                best[window] = candidate
        yield from best.values()


def _rows_by_recording(job: str) -> dict[str, dict[Any, dict[str, Any]]]:
    read_settings(job)
    rows: dict[str, dict[Any, dict[str, Any]]] = defaultdict(dict)
    for _, table in read_rows(
        f"{job}/rows", ("recording", "stamp", "name", "width", "height", "found", "lanes", "objects")
    ):
        for row in table.to_pylist():
            if row["found"] is not None:
                rows[row["recording"]][row["stamp"], row["name"]] = row
    return rows


def _follows(row: dict[str, Any], before: dict[str, Any]) -> bool:
    if row["stamp"] is None or before["stamp"] is None:
        return False
    return bool(0 <= row["stamp"] - before["stamp"] <= _NEIGHBORS)


def _features(row: dict[str, Any]) -> NDArray[np.float64]:
    """The picture's descriptor, and how much was found."""
    return np.append(np.frombuffer(row["descriptor"], np.uint8).astype(np.float64), float(row["found"]))


def _export(out: Path, chosen: Sequence[Candidate], topic: str | None) -> None:
    by_address = {candidate.address: candidate for candidate in chosen}
    order = {candidate.address: number for number, candidate in enumerate(chosen)}
    pictures: dict[FrameAddress, Path] = {}
    shown: dict[int, Picture] = {}
    for address, frame in frames_at(by_address, topic):
        candidate, number = by_address[address], order[address]
        path = out / "pictures" / f"{number:05d}.jpg"
        write_image(path, frame.image)
        pictures[address] = path
        if number < _SHOWN:
            caption = f"{number}. {address.recording.rpartition('/')[2]}: doubt {candidate.doubt:.2f}, "
            caption += f"unsteady {candidate.unsteady:.2f}, disputed {candidate.disputed:.2f}"
            shown[number] = Picture.of(caption, draw_row(frame.image, candidate.row, ""))
    taken = [candidate for candidate in chosen if candidate.address in pictures]
    _write_labels(out, taken, pictures)
    _write_list(out, taken, pictures)
    page = ReportData(
        title="Frames to label",
        subtitle=f"{len(taken)} frames of {len({c.address.recording for c in taken})} recordings",
        gallery=[shown[number] for number in sorted(shown)],
        facts=machine_facts(),
        notes=[f"{len(chosen) - len(taken)} frames were not found again."] if len(taken) < len(chosen) else [],
    )
    write_report(out / "report.html", page)


def _write_labels(out: Path, taken: Sequence[Candidate], pictures: dict[FrameAddress, Path]) -> None:
    if taken and taken[0].row["lanes"] is None:
        write_text(out / "instances.json", json.dumps(_coco(taken, pictures), indent=1) + "\n")
        return
    labels = []
    for candidate in taken:
        rows = np.round(_TUSIMPLE_ROWS * candidate.row["height"])
        lanes = np.array([_at_rows(lane, rows) for lane in candidate.row["lanes"]]).reshape(-1, rows.size)
        path = pictures[candidate.address]
        labels.append(
            LabelledImage(path, f"pictures/{path.name}", f"pictures/{path.name}", lanes, rows, np.zeros((0, rows.size)))
        )
    write_labels(labels, out)


def _at_rows(lane: dict[str, Any], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    if not lane["y"]:
        return np.full(rows.size, -2.0)
    x = np.interp(rows, lane["y"], lane["x"], left=-2.0, right=-2.0)
    return np.asarray(np.where(x >= 0, np.round(x, 1), -2.0))


def _coco(taken: Sequence[Candidate], pictures: dict[FrameAddress, Path]) -> dict[str, Any]:
    classes = sorted({thing["class"] for candidate in taken for thing in candidate.row["objects"]})
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, candidate in enumerate(taken, 1):
        row = candidate.row
        name = f"pictures/{pictures[candidate.address].name}"
        images.append({"id": number, "file_name": name, "width": row["width"], "height": row["height"]})
        for thing in row["objects"]:
            box = [thing["x0"], thing["y0"], thing["x1"] - thing["x0"], thing["y1"] - thing["y0"]]
            kind = classes.index(thing["class"]) + 1
            fixed = {"id": len(annotations) + 1, "image_id": number, "category_id": kind, "iscrowd": 0}
            annotations.append({**fixed, "bbox": box, "area": thing["area"], "score": thing["score"]})
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _write_list(out: Path, taken: Sequence[Candidate], pictures: dict[FrameAddress, Path]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("picture", "recording", "stamp", "score", "doubt", "unsteady", "disputed"))
    for c in taken:
        figures = (f"{value:.4f}" for value in (c.score, c.doubt, c.unsteady, c.disputed))
        writer.writerow((f"pictures/{pictures[c.address].name}", c.address.recording, c.address.stamp, *figures))
    write_text(out / "frames.csv", text.getvalue())
