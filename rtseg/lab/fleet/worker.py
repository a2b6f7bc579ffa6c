"""What a worker does: one shard after another, with a model that is loaded once."""

from __future__ import annotations

import ctypes
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import cv2

from rtseg.errors import DatasetError, ImageError, MediaError, ModelError
from rtseg.frame import Frame
from rtseg.lab.fleet.features import describer
from rtseg.lab.fleet.local_copy import LocalCopy
from rtseg.lab.fleet.rows import commit, put_whole
from rtseg.lab.fleet.settings import JobSettings, model_hash
from rtseg.lab.fleet.shard_rows import ShardRows, drawn
from rtseg.lab.fleet.shards import Part, PartSource, cut
from rtseg.lab.fleet.sources import Recording
from rtseg.lab.fleet.truth import Truth
from rtseg.loading import load
from rtseg.media.damage import damage_noted
from rtseg.messages import surfaces_of
from rtseg.runtime import find_model
from rtseg.stream import FrameLoop

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h

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
        keep_freed_memory()
        if threads is not None:
            bound_threads(threads)
        self._pipeline = load(settings.model, device=settings.device, backend=settings.backend, threads=threads)
        if (found := model_hash(self._pipeline.card)) != settings.model_hash:
            raise ModelError(
                f"expected model {settings.model} with hash {settings.model_hash}, got {found} on this machine; "
                "install the same version of rtseg and the same model folder on all of them"
            )
        self._features = describer(find_model(settings.model), threads or 0)
        self._warm: set[tuple[int, int]] = set()
        self._local = LocalCopy()
        self._local_labels = LocalCopy()

    def run(self, recording: Recording, part: Part | None = None) -> Outcome:
        """Do a shard and write its rows.

        Args:
            recording: that it is of.
            part: None for a recording that was not opened yet: it is done if one shard is enough.

        Raises:
            MediaError: it cannot be read.
            ResultsError: its rows cannot be written.
            BackendError: every backend failed.
        """
        with damage_noted() as damage, self._local.open(recording.uri, self._settings.topic) as source:
            truth, reason = self._truth(recording, self._local.path(recording.uri))
            if part is None:
                numbered = truth is not None and truth.numbered
                seconds = math.inf if numbered else self._settings.shard_seconds
                parts = cut(source, seconds, self._settings.lead_in)
                if len(parts) > 1:
                    return Outcome(parts, memory=memory_mib())
                part = parts[0]
            shard = ShardRows(recording, part, self._pipeline.card.classes, truth, reason, self._features)
            self._fill(shard, PartSource(source, part))
        name = self._settings.shard(recording, part)
        commit(f"{self._out}/rows", name.file, shard.table(self._pipeline, damage))
        return Outcome((), len(shard.rows), shard.seconds, memory_mib())

    def _truth(self, recording: Recording, path: str) -> tuple[Truth | None, str]:
        """The labels beside a recording, and why they are of no use."""
        if not recording.labels:
            return None, ""
        try:
            return Truth(Path(self._local_labels.path(recording.labels)), Path(path), self._pipeline.card), ""
        except (DatasetError, MediaError) as error:
            return None, str(error)

    def _fill(self, shard: ShardRows, frames: PartSource) -> None:
        loop: FrameLoop[Frame] = FrameLoop(step=1 / frames.fps if frames.fps else 0.0)
        self._pipeline.reset()

        def read() -> Iterator[tuple[Frame, bool]]:
            for frame in frames:
                shard.note_faults(frames.new_faults())
                yield frame, frames.leading

        def refused(entry: tuple[Frame, bool]) -> None:
            shard.add_fault(WRONG_STAMP, *entry)

        for frame, leading in loop.admit_recorded(read(), lambda entry: entry[0].stamp, refused):
            try:
                if frame.size not in self._warm:
                    self._pipeline.warm_up(*frame.size)
                    self._warm.add(frame.size)
                shard.add(frame, self._pipeline(frame), leading)
            except ImageError as error:
                shard.add_fault(str(error).split(", got")[0], frame, leading)
        shard.note_faults(frames.new_faults())

    def write_bag(self, recording: Recording, part: Part, path: str) -> None:
        """Run a shard once more, into a result bag.

        Raises:
            MediaError: it cannot be read, or the bag not be written.
        """
        from rtseg.lab.replay.result_bag import ResultBag

        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            source = stack.enter_context(self._local.open(recording.uri, self._settings.topic))
            frames = PartSource(source, part)
            surfaces = surfaces_of(self._pipeline.card)
            with ResultBag(folder / "result.mcap", source.camera, surfaces=surfaces) as bag:
                self._pipeline.reset()
                for index, frame in enumerate(frames):
                    try:
                        result = self._pipeline(frame)
                    except ImageError:
                        continue
                    if not frames.leading:
                        stamped = frame if frame.stamp is not None else Frame(frame.pixels, index * 10**9)
                        bag.write(stamped, result, drawn(frame, result, self._pipeline.card.classes))
            put_whole(folder / "result.mcap", path)

    def close(self) -> None:
        """Give back the model and copies of recordings."""
        self._pipeline.close()
        self._local.clear()
        self._local_labels.clear()


def memory_mib() -> int:
    """Resident memory of this process."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def bound_threads(threads: int) -> None:
    """Let this process use so many cores for OpenCV and Numba."""
    import numba

    cv2.setNumThreads(threads)
    numba.set_num_threads(min(threads, numba.get_num_threads()))


def keep_freed_memory() -> None:
    """Let this process keep what it frees, for pages that go back after each frame are asked for and cleared again."""
    with suppress(OSError, AttributeError, TypeError):  # another C library than glibc
        allocator = ctypes.CDLL(None)
        allocator.mallopt(_TRIM_THRESHOLD, 256 << 20)
        allocator.mallopt(_MMAP_THRESHOLD, 32 << 20)
