"""Which shards are still to do: those without a file, each tried a few times."""

from __future__ import annotations

import json
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import fsspec

from rtseg.counted import counted
from rtseg.errors import BackendError, HeadMapsError, RtsegError
from rtseg.lab.fleet.rows import ResultsError, ShardName, names_in, rows_of, shards_in, write_whole
from rtseg.lab.fleet.settings import JobSettings
from rtseg.lab.fleet.shards import Part
from rtseg.lab.fleet.sources import Recording
from rtseg.lab.fleet.stores import UnreachableError
from rtseg.lab.fleet.worker import Outcome

_TOGETHER = 2.0  # seconds of short recordings that a worker is given at once
_MOST = 32  # of them
_RECENT = 0.8  # of what was known of their speed, that another one leaves: the first warm up


@dataclass(frozen=True)
class Task:
    """A shard to do; without a part, a recording that was not opened yet."""

    recording: Recording
    part: Part | None = None


@dataclass(frozen=True)
class Done:
    """What became of a task.

    Attributes:
        task: it.
        outcome: None where it failed.
        reason: of the failure.
        final: the failure is the recording's, and another try would end the same.
        blameless: the failure is the machine's, and does not count as a try.
        together: the task was one of several when the worker failed, and it is not known which of them it failed in.
        took: seconds on the worker's clock.
    """

    task: Task
    outcome: Outcome | None
    reason: str = ""
    final: bool = False
    blameless: bool = False
    together: bool = False
    took: float = 0.0


def do_tasks(worker: Any, tasks: Sequence[Task]) -> list[Done]:
    """Let a worker do tasks one after the other; a recording that cannot be read takes none of the others along.

    What a store or a backend refuses may go well another time, or elsewhere.

    Raises:
        ResultsError: rows cannot be written.
    """
    done: list[Done] = []
    for task in tasks:
        begin = time.monotonic()
        try:
            done.append(Done(task, worker.run(task.recording, task.part), took=time.monotonic() - begin))
        except ResultsError:
            raise
        except RtsegError as error:
            passing = isinstance(error, (UnreachableError, BackendError)) and not isinstance(error, HeadMapsError)
            done.append(Done(task, None, str(error), final=not passing, took=time.monotonic() - begin))
    return done


class Workers(Protocol):
    """Who does tasks: processes of a Ray cluster, or this process."""

    @property
    def count(self) -> int: ...

    @property
    def free(self) -> int: ...

    def start(self, tasks: Sequence[Task]) -> None: ...

    def wait(self) -> list[Done]: ...

    def write_bag(self, recording: Recording, part: Part, path: str) -> None: ...

    def close(self) -> None: ...


@dataclass
class RecordingState:
    """How far a recording is.

    Attributes:
        shards: it has; 0 while that is not known.
        done: of them.
        resumed: of these, there already when this run began.
        fault: why it was given up, empty where it was not.
        frames: of it, processed in this run.
        began: of its first task in this run, on the monotonic clock; 0 before.
    """

    shards: int = 0
    done: int = 0
    resumed: int = 0
    fault: str = ""
    frames: int = 0
    began: float = 0.0

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do for it."""
        return bool(self.fault) or (self.shards > 0 and self.done == self.shards)


@dataclass
class Progress:
    """What a job has done.

    Attributes:
        states: of the recordings, by their address.
        frames, seconds: processed in this run.
        resumed: shards that were there already.
        tries: failed tries that were repeated.
        began: of this run, on the monotonic clock.
    """

    states: dict[str, RecordingState] = field(default_factory=dict)
    frames: int = 0
    seconds: float = 0.0
    resumed: int = 0
    tries: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def finished(self) -> int:
        """Recordings with nothing left to do."""
        return sum(state.finished for state in self.states.values())


class TaskQueue:
    """Hands out the tasks of a job, and keeps book of what became of them.

    Args:
        recordings: of the job.
        settings: of the job.
        out: its folder.
        tries: failures of a shard after which its recording is given up, with the reason.
        twins: recordings whose bytes one of `recordings` has, too; what is there of them is deleted.
    """

    def __init__(
        self,
        recordings: Iterable[Recording],
        settings: JobSettings,
        out: str,
        tries: int = 3,
        twins: Iterable[Recording] = (),
    ) -> None:
        self.progress = Progress()
        self._settings = settings
        self._out = out
        self._tries = tries
        self._failures: Counter[Task] = Counter()
        self._alone: set[Task] = set()
        self._bytes = 0.0
        self._took = 0.0
        self._tasks: deque[Task] = deque()
        self._there: dict[str, set[int]] = {}
        there: dict[str, list[ShardName]] = defaultdict(list)
        for name in shards_in(f"{out}/rows"):
            there[name.key].append(name)
        self._faults = _Folder(f"{out}/faults")
        self._faulty = {name.removesuffix(".json") for name in names_in(f"{out}/faults")}
        for recording in recordings:
            self._plan(recording, there[recording.key])
        rows = _Folder(f"{out}/rows")
        for twin in twins:
            rows.delete(*(name.file for name in there[twin.key]))

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def take(self, workers: int) -> list[Task]:
        """The next task, or several of short recordings, so that handing them out costs less than doing them.

        Args:
            workers: that share what is left.
        """
        tasks = [self._begun(self._tasks.popleft())]
        expected = self._seconds(tasks[0])
        most = min(_MOST, len(self._tasks) // (2 * workers))
        while len(tasks) < most and (expected := expected + self._seconds(self._tasks[0])) <= _TOGETHER:
            tasks.append(self._begun(self._tasks.popleft()))
        return tasks

    def _seconds(self, task: Task) -> float:
        """How long a task should take, by the bytes of recordings that are done; infinite where it is best alone."""
        if task.part is not None or task in self._alone or not self._bytes:
            return math.inf
        return task.recording.size * self._took / self._bytes

    def _begun(self, task: Task) -> Task:
        state = self.progress.states[task.recording.uri]
        state.began = state.began or time.monotonic()
        return task

    def record(self, done: Done) -> None:
        """Note what became of a task; a failed one comes again, or its recording is given up."""
        progress, recording = self.progress, done.task.recording
        state = progress.states[recording.uri]
        if done.together:
            self._alone.add(done.task)
            rows = rows_of(f"{self._out}/rows", self._settings.shard(recording, Part()))
            if rows is not None:
                done = replace(done, outcome=Outcome(frames=rows))
        if done.outcome is None:
            self._failures[done.task] += not done.blameless
            if not done.final and self._failures[done.task] < self._tries:
                progress.tries += 1
                self._tasks.append(done.task)
            elif not state.fault:
                tried = self._failures[done.task]
                state.fault = done.reason if done.final else f"{done.reason} (tried {counted(tried, 'time')})"
                part = done.task.part
                fact = {"recording": recording.uri, "shard": part.index if part else None, "reason": state.fault}
                self._faults.write(f"{recording.key}.json", fact)
            return
        if done.outcome.parts:
            state.shards = len(done.outcome.parts)
            left = [part for part in done.outcome.parts if part.index not in self._there.get(recording.uri, ())]
            self._tasks.extendleft(Task(recording, part) for part in reversed(left))
            return
        state.shards = state.shards or 1
        state.done += 1
        state.frames += done.outcome.frames
        progress.frames += done.outcome.frames
        progress.seconds += done.outcome.seconds
        if done.task.part is None and done.took:
            self._bytes = _RECENT * self._bytes + recording.size
            self._took = _RECENT * self._took + done.took
        if state.finished and recording.key in self._faulty:
            self._faults.delete(f"{recording.key}.json")

    def _plan(self, recording: Recording, there: list[ShardName]) -> None:
        state = self.progress.states[recording.uri] = RecordingState()
        right = self._settings.shard(recording, Part())
        stale = [name for name in there if name.fingerprint != right.fingerprint]
        if stale:
            _Folder(f"{self._out}/rows").delete(*(name.file for name in stale))
        done = {name.index: name for name in there if name.fingerprint == right.fingerprint}
        self.progress.resumed += len(done)
        if done:
            self._there[recording.uri] = set(done)
            state.shards, state.done = next(iter(done.values())).count, len(done)
            state.resumed = len(done)
        if not state.finished:
            self._tasks.append(Task(recording))  # opening it tells where its shards begin


class _Folder:
    """Small files of a local or remote folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._fs, self._path = fsspec.core.url_to_fs(folder)

    def write(self, name: str, fact: Mapping[str, object]) -> None:
        write_whole(self._folder, name, json.dumps(fact, indent=1).encode() + b"\n")

    def delete(self, *names: str) -> None:
        for name in names:
            if self._fs.exists(f"{self._path}/{name}"):
                self._fs.rm(f"{self._path}/{name}")
