"""A worker in this very process: no Ray, and nothing that holds if it crashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rtseg.lab.fleet.queue import Done, Task, do_tasks
from rtseg.lab.fleet.settings import JobSettings
from rtseg.lab.fleet.shards import Part
from rtseg.lab.fleet.sources import Recording
from rtseg.lab.fleet.worker import Worker


class InProcess:
    """Does one task at a time, when asked for its outcome."""

    def __init__(
        self, settings: JobSettings, out: str, threads: int | None = None, kind: Callable[..., Any] = Worker
    ) -> None:
        self._worker = kind(settings, out, threads)
        self._tasks: list[Task] = []

    @property
    def count(self) -> int:
        """How many workers there are."""
        return 1

    @property
    def free(self) -> int:
        """How many of them have nothing to do."""
        return int(not self._tasks)

    def start(self, tasks: Sequence[Task]) -> None:
        """Take tasks."""
        self._tasks += tasks

    def wait(self) -> list[Done]:
        """Do the next of those that were taken."""
        tasks = [self._tasks.pop(0)]
        return do_tasks(self._worker, tasks)

    def write_bag(self, recording: Recording, part: Part, path: str) -> None:
        """Run a shard once more, into a result bag."""
        self._worker.write_bag(recording, part, path)

    def close(self) -> None:
        """Give back the model."""
        self._worker.close()
