"""Workers that make labels: what a trained model is sure of, or proposals that keywords then name."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import Field

from rtseg.errors import ModelError
from rtseg.lab.data.tusimple import LABELS
from rtseg.lab.fleet.local_copy import LocalCopy
from rtseg.lab.fleet.rows import SCHEMA_VERSION, commit
from rtseg.lab.fleet.settings import JobSettings, model_hash
from rtseg.lab.fleet.shards import Part, PartSource, cut
from rtseg.lab.fleet.sources import Recording
from rtseg.lab.fleet.worker import Outcome, bound_threads, memory_mib
from rtseg.lab.weak.proposals import FrameFile, collect_proposals, open_proposals
from rtseg.lab.weak.teacher import NothingTrustedError, TeacherSettings, label_lanes
from rtseg.loading import load
from rtseg.media.damage import damage_noted
from rtseg.media.frame_source import FrameSource
from rtseg.media.images import write_image

SCHEMA = pa.schema(
    [("recording", pa.string()), ("picture", pa.string()), ("jpeg", pa.binary()), ("label", pa.string())]
)
"""Rows of labels: ``label`` is a TuSimple line for lanes, a list of COCO annotations without category for objects."""


class LabelSettings(JobSettings):
    """All that labels depend on but for the recordings.

    Attributes:
        by: ``teacher`` for lanes that the model is sure of, ``keywords`` for class-agnostic instances.
        every: a label for at most each n-th frame.
        confidence: lines that the teacher is less sure of are ignored.
        proposals: where instances come from, see :func:`rtseg.lab.weak.proposals.open_proposals`; paths are those of
            the workers.
        min_area: pixels below which a proposal is left out.
    """

    by: Literal["teacher", "keywords"] = "teacher"
    every: Annotated[int, Field(ge=1)] = 10
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.6
    proposals: str = "free"
    min_area: Annotated[int, Field(ge=1)] = 64


class LabelWorker:
    """Makes the labels of shards. One process has one.

    Args:
        settings: of the job.
        out: folder of the job.
        threads: cores of this worker; None leaves all of them.

    Raises:
        ModelError: this machine has another model under the name.
        BackendError: the device or backend is not to be had here.
        WeakSupervisionError: there are no such proposals here.
    """

    def __init__(self, settings: LabelSettings, out: str, threads: int | None = None) -> None:
        self._settings = settings
        self._out = out
        self._local = LocalCopy()
        if threads is not None:
            bound_threads(threads)
        if settings.by == "keywords":
            self._find = open_proposals(settings.proposals).find
            return
        self._pipeline = load(settings.model, device=settings.device, backend=settings.backend, threads=threads)
        if model_hash(self._pipeline.card) != settings.model_hash:
            raise ModelError(f"expected model {settings.model} as on the driver's machine, got another of that name")

    def run(self, recording: Recording, part: Part | None = None) -> Outcome:
        """Label a shard and write its rows; as of :class:`rtseg.lab.fleet.worker.Worker`.

        Raises:
            MediaError: it cannot be read.
            ResultsError: its rows cannot be written.
            BackendError: every backend failed.
            WeakSupervisionError: the frames are no drive, or the model finds no lanes.
        """
        with damage_noted() as damage, self._local.open(recording.uri, self._settings.topic) as source:
            if part is None:
                parts = cut(source, self._settings.shard_seconds, 0.0)
                if len(parts) > 1:
                    return Outcome(parts, memory=memory_mib())
                part = parts[0]
            frames = PartSource(source, part)
            prefix = f"{recording.key}.{part.index:05d}"
            with tempfile.TemporaryDirectory() as folder:
                make = self._taught if self._settings.by == "teacher" else self._proposed
                rows = [{**row, "recording": recording.uri} for row in make(frames, Path(folder), prefix)]
        columns = [pa.array([row[field.name] for row in rows], field.type) for field in SCHEMA]
        facts = {b"rtseg.schema": str(SCHEMA_VERSION).encode(), b"rtseg.recording": recording.uri.encode()}
        facts |= {b"rtseg.damage": json.dumps(list(damage)).encode()} if damage else {}
        table = pa.table(columns, schema=SCHEMA.with_metadata(facts))
        commit(f"{self._out}/rows", self._settings.shard(recording, part).file, table)
        return Outcome((), len(rows), 0.0, memory_mib())

    def _taught(self, frames: FrameSource, folder: Path, prefix: str) -> Iterator[dict[str, Any]]:
        settings = TeacherSettings(every=self._settings.every, confidence=self._settings.confidence)
        try:
            label_lanes(frames, self._pipeline, folder, settings)
        except NothingTrustedError:
            return
        for line in (folder / LABELS).read_text(encoding="utf-8").splitlines():
            label = json.loads(line)
            made = folder / label["raw_file"]
            name = f"{prefix}.{made.name}"
            yield {
                "picture": name,
                "jpeg": made.read_bytes(),
                "label": json.dumps({**label, "raw_file": f"images/{name}"}),
            }

    def _proposed(self, frames: FrameSource, folder: Path, prefix: str) -> Iterator[dict[str, Any]]:
        for index, frame in enumerate(frames):
            if index % self._settings.every:
                continue
            path = folder / f"{prefix}.frame_{index:06d}.jpg"
            write_image(path, frame.image)
            found, _ = collect_proposals([FrameFile(path, frame.size)], self._find, self._settings.min_area)
            annotations = [
                {
                    "segmentation": {"size": list(frame.size), "counts": runs},
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": area,
                    "score": score,
                    "iscrowd": 0,
                }
                for (x0, y0, x1, y1), area, score, runs in zip(
                    found.boxes.tolist(), found.areas.tolist(), found.scores.tolist(), found.runs, strict=True
                )
            ]
            yield {"picture": path.name, "jpeg": path.read_bytes(), "label": json.dumps(annotations)}
            path.unlink()

    def close(self) -> None:
        """Give back the model and copies of recordings."""
        if self._settings.by == "teacher":
            self._pipeline.close()
        self._local.clear()
