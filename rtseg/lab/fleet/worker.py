"""What a worker does: one shard after another, with a model that is loaded once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import fsspec
import numpy as np

from rtseg.errors import ImageError, ModelError
from rtseg.frame import Frame
from rtseg.lab.fleet.rate import stale_at_rate
from rtseg.lab.fleet.rows import commit, describe, result_fields, table_of
from rtseg.lab.fleet.settings import JobSettings, model_hash
from rtseg.lab.fleet.shards import Part, PartSource, cut
from rtseg.lab.fleet.sources import Recording
from rtseg.lab.report.report import Picture
from rtseg.lab.scores.lanes.temporal import TemporalLog
from rtseg.loading import load
from rtseg.media import open_frames
from rtseg.media.overlay import draw_instances, draw_lanes
from rtseg.results import Instances, Lanes
from rtseg.runtime import Pipeline
from rtseg.stream import FrameLoop

WRONG_STAMP = "its stamp lies before the last one, or far ahead of it"


@dataclass(frozen=True)
class Outcome:
    """What became of one request.

    Attributes:
        parts: shards of the recording, where it has several and none was named; then nothing was done yet.
        frames: rows that were written.
        seconds: of recording that they cover.
        memory: MiB that the worker holds.
    """

    parts: tuple[Part, ...] = ()
    frames: int = 0
    seconds: float = 0.0
    memory: int = 0


class Worker:
    """Does shards. One process has one.

    Args:
        settings: of the job.
        out: folder of the job.
        threads: cores of this worker, for decoding, network and grouping alike; None leaves all of them.

    Raises:
        ModelError: this machine has another model under the name.
        BackendError: the device or backend is not to be had here.
    """

    def __init__(self, settings: JobSettings, out: str, threads: int | None = None) -> None:
        self._settings = settings
        self._out = out
        if threads is not None:
            _bound_threads(threads)
        self._pipeline = load(settings.model, device=settings.device, backend=settings.backend, threads=threads)
        if (found := model_hash(self._pipeline.card)) != settings.model_hash:
            raise ModelError(
                f"expected model {settings.model} with hash {settings.model_hash}, got {found} on this machine; "
                "install the same version of rtseg and the same model folder on all of them"
            )
        self._warm: set[tuple[int, int]] = set()
        self._local = _LocalCopy()

    def run(self, recording: Recording, part: Part | None = None) -> Outcome:
        """Do a shard and write its rows.

        Args:
            recording: that it is of.
            part: None for a recording that was not opened yet: it is done if one shard is enough.

        Raises:
            MediaError: it cannot be read, or its rows not be written.
            BackendError: every backend failed.
        """
        with open_frames(self._local.path(recording), self._settings.topic) as source:
            if part is None:
                parts = cut(source, self._settings.shard_seconds, self._settings.lead_in)
                if len(parts) > 1:
                    return Outcome(parts, memory=memory_mib())
                part = parts[0]
            shard = ShardRows(recording, part, self._pipeline.card.classes)
            self._fill(shard, PartSource(source, part))
        name = self._settings.shard(recording, part)
        commit(f"{self._out}/rows", name.file, shard.table(self._pipeline))
        return Outcome((), len(shard.rows), shard.seconds, memory_mib())

    def _fill(self, shard: ShardRows, frames: PartSource) -> None:
        loop: FrameLoop[Frame] = FrameLoop()
        self._pipeline.reset()
        for frame in frames:
            shard.note_faults(frames.new_faults())
            if loop.admit(frame.stamp):
                shard.add_fault(WRONG_STAMP, frame, frames.leading)
                continue
            if frame.size not in self._warm:
                self._pipeline.warm_up(*frame.size)
                self._warm.add(frame.size)
            try:
                shard.add(frame, self._pipeline(frame), frames.leading)
            except ImageError as error:
                shard.add_fault(str(error).split(", got")[0], frame, frames.leading)
        shard.note_faults(frames.new_faults())

    def write_bag(self, recording: Recording, part: Part, path: str) -> None:
        """Run a shard once more, into a result bag.

        Raises:
            MediaError: it cannot be read, or the bag not be written.
        """
        from rtseg.lab.replay.result_bag import ResultBag

        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            source = stack.enter_context(open_frames(self._local.path(recording), self._settings.topic))
            frames = PartSource(source, part)
            with ResultBag(folder / "result.mcap", source.camera) as bag:
                self._pipeline.reset()
                for index, frame in enumerate(frames):
                    try:
                        result = self._pipeline(frame)
                    except ImageError:
                        continue
                    if not frames.leading:
                        stamped = frame if frame.stamp is not None else Frame(frame.pixels, index * 10**9)
                        bag.write(stamped, result, drawn(frame, result, self._pipeline.card.classes))
            fs, target = fsspec.core.url_to_fs(path)
            fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            fs.put_file(str(folder / "result.mcap"), f"{target}.part")
            fs.mv(f"{target}.part", target)

    def close(self) -> None:
        """Give back the model and copies of recordings."""
        self._pipeline.close()
        self._local.clear()


class ShardRows:
    """Collects the rows of one shard.

    Attributes:
        rows: one a frame, as of :data:`rtseg.lab.fleet.rows.SCHEMA`.
        seconds: of recording gone by.
    """

    def __init__(self, recording: Recording, part: Part, classes: tuple[str, ...]) -> None:
        self.rows: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._recording = recording
        self._part = part
        self._classes = classes
        self._temporal = TemporalLog()
        self._lead: list[list[list[Any]]] = []
        self._last: int | None = None
        self._worst: tuple[float, int, bytes] | None = None

    def note_faults(self, faults: Counter[str]) -> None:
        """Add a row for every frame that the source left out."""
        for reason in sorted(faults.elements()):
            self.add_fault(reason)

    def add_fault(self, reason: str, frame: Frame | None = None, leading: bool = False) -> None:
        """Add a row for a frame that gave no result; one that leads in has none."""
        if not leading:
            self.rows.append(self._row(frame) | {"fault": reason})

    def add(self, frame: Frame, result: Lanes | Instances, leading: bool) -> None:
        """Add the row of a frame that gave a result; a frame that leads in only leaves its marks."""
        fields = result_fields(result, self._classes)
        if isinstance(result, Lanes) and frame.stamp is not None:
            if fields["restart"]:
                self._temporal.reset()
            steady = self._temporal.update(result)
            fields |= {"switches": steady.switches, "flickers": steady.flickers, "residuals": sorted(steady.residuals)}
        if leading:
            self._lead.append(marks(fields))
            return
        if frame.stamp is not None:
            if self._last is not None:
                self.seconds += max(0, frame.stamp - self._last) / 1e9
            self._last = frame.stamp
        self._keep_picture(frame, result, fields)
        self.rows.append(self._row(frame) | fields | {"descriptor": describe(frame.image)})

    def table(self, pipeline: Pipeline) -> Any:
        """All rows, with what is known of the shard in the metadata."""
        if self._worst is not None:
            self.rows[self._worst[1]]["picture"] = self._worst[2]
        busy = np.array([row.get("ms", np.nan) for row in self.rows])
        stamps = np.array([np.nan if row.get("stamp") is None else row["stamp"] / 1e6 for row in self.rows])
        for row, stale in zip(self.rows, stale_at_rate(stamps, busy), strict=True):
            row["stale"] = bool(stale) if row.get("stamp") is not None and "ms" in row else None
        facts = {"recording": self._recording.uri, "part": json.dumps(vars(self._part)), "lead": json.dumps(self._lead)}
        return table_of(self.rows, {**facts, "model": pipeline.card.name, **pipeline.backend})

    def _row(self, frame: Frame | None) -> dict[str, Any]:
        row: dict[str, Any] = {
            "recording": self._recording.uri,
            "shard": self._part.index,
            "frame": len(self.rows),
        }
        if frame is not None:
            height, width = frame.size
            row |= {"stamp": frame.stamp, "name": frame.name or None, "width": width, "height": height}
        return row

    def _keep_picture(self, frame: Frame, result: Lanes | Instances, fields: dict[str, Any]) -> None:
        """Remember what the least certain frame looked like, drawn only when it is less certain than all before."""
        badness = 1.0 - fields["certainty"] + (fields.get("flickers") or 0) + (fields.get("switches") or 0)
        if self._worst is None or badness > self._worst[0] + 0.02:
            untimed = replace(result, times={})  # times are drawn, and differ from run to run
            picture = Picture.of("", drawn(frame, untimed, self._classes))
            self._worst = badness, len(self.rows), picture.jpeg


def marks(fields: dict[str, Any]) -> list[list[Any]]:
    """Ids of a frame with a hash of what each looks like: a frame that two shards have tells which ids are one."""
    found = []
    for lane in fields.get("lanes") or ():
        shape = np.concatenate([np.asarray(lane["x"], np.float32), np.asarray(lane["y"], np.float32)])
        found.append([lane["id"], hashlib.blake2b(shape.tobytes(), digest_size=6).hexdigest()])
    for thing in fields.get("objects") or ():
        shape = np.array([thing["x0"], thing["y0"], thing["x1"], thing["y1"], thing["area"]], np.float32)
        found.append([thing["id"], hashlib.blake2b(shape.tobytes(), digest_size=6).hexdigest()])
    return found


def drawn(frame: Frame, result: Lanes | Instances, classes: tuple[str, ...]) -> Any:
    """The frame with what was found in it."""
    if isinstance(result, Lanes):
        return draw_lanes(frame.image, result)
    return draw_instances(frame.image, result, classes)


def memory_mib() -> int:
    """Resident memory of this process."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


class _LocalCopy:
    """Recordings as files of this machine; of remote ones the latest is kept, since its shards come in a row."""

    def __init__(self) -> None:
        self._uri = ""
        self._folder: str | None = None

    def path(self, recording: Recording) -> str:
        if "://" not in recording.uri:
            return recording.uri
        if recording.uri != self._uri:
            self.clear()
            self._folder = tempfile.mkdtemp(prefix="rtseg-fleet-")
            fs, path = fsspec.core.url_to_fs(recording.uri)
            target = f"{self._folder}/{path.rstrip('/').rpartition('/')[2]}"
            fs.get(path, target, recursive=fs.isdir(path))
            self._uri = recording.uri
        assert self._folder is not None
        return f"{self._folder}/{recording.uri.rstrip('/').rpartition('/')[2]}"

    def clear(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._uri, self._folder = "", None


def _bound_threads(threads: int) -> None:
    import numba

    cv2.setNumThreads(threads)
    numba.set_num_threads(min(threads, numba.get_num_threads()))
