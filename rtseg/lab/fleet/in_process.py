"""A worker in this very process: no Ray, and nothing that holds if it crashes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rtseg.errors import RtsegError
from rtseg.lab.fleet.queue import Done, Task
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
    def free(self) -> int:
        """How many tasks it takes now."""
        return 1 - len(self._tasks)

    def start(self, task: Task) -> None:
        """Take a task."""
        self._tasks.append(task)

    def wait(self) -> list[Done]:
        """Do what was taken."""
        task = self._tasks.pop()
        try:
            return [Done(task, self._worker.run(task.recording, task.part))]
        except RtsegError as error:
            return [Done(task, None, str(error), final=True)]

    def write_bag(self, recording: Recording, part: Part, path: str) -> None:
        """Run a shard once more, into a result bag."""
        self._worker.write_bag(recording, part, path)

    def close(self) -> None:
        """Give back the model."""
        self._worker.close()
