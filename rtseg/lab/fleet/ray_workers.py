"""Workers as processes of a Ray cluster: a machine of one's own, or many."""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from rtseg.counted import counted
from rtseg.errors import BackendError, MediaError
from rtseg.lab.fleet.queue import Done, Task, do_tasks
from rtseg.lab.fleet.rows import ResultsError
from rtseg.lab.fleet.settings import JobSettings
from rtseg.lab.fleet.shards import Part
from rtseg.lab.fleet.sources import Recording
from rtseg.lab.fleet.worker import Worker

LEAKED = 4096
"""MiB by which a worker may grow over what it held after its first shard before a fresh one takes its place."""

_NO_START = 3  # workers on end that fail to start, after which the job is given up

_HOST_PORT = re.compile(r"[^/\s]+:\d{1,5}")
_LISTENS = 20.0  # seconds in which a head node has to answer

_CLUSTER = (
    "start it with ray start, and give all machines one token (ray get-auth-token --generate, RAY_AUTH_MODE=token)"
)
_HERE = "try again when the machine has less to do, or work without Ray (--workers 0)"

logger = logging.getLogger("rtseg")


class WorkerProcess:
    """A process that holds a worker; Ray makes one of this."""

    def __init__(self, kind: type[Any], *arguments: Any) -> None:
        self._worker = kind(*arguments)

    def run(self, tasks: Sequence[Task]) -> list[Done]:
        return do_tasks(self._worker, tasks)

    def write_bag(self, recording: Recording, part: Part, path: str) -> None:
        self._worker.write_bag(recording, part, path)


@dataclass
class _Slot:
    """One worker's place; the process in it may be replaced."""

    actor: Any
    tasks: Sequence[Task] = ()
    started: float = 0.0
    held: int = 0


class RayWorkers:
    """Processes that each hold a model, on whatever machines the cluster has.

    Args:
        settings: of the job.
        out: its folder, which every machine sees under this name.
        address: of a cluster, ``auto`` for the one that this machine belongs to; None starts one here and now.
        workers: processes; by default as many as the cluster's cores (or GPUs) feed.
        threads: cores of each, for decoding, network and grouping.
        gpus: of each, a share of one will do; 0 for none.
        timeout: seconds after which a shard counts as hung.
        kind: what each process makes of settings, folder and threads, and then asks for shards.

    Raises:
        BackendError: there is no such cluster, or no room on it.
    """

    def __init__(
        self,
        settings: JobSettings,
        out: str,
        address: str | None = None,
        workers: int | None = None,
        threads: int = 1,
        gpus: float = 0.0,
        timeout: float = 3600.0,
        kind: type[Any] = Worker,
    ) -> None:
        self._owner = not ray.is_initialized()
        try:
            if self._owner:
                _check_there(address)
                local: dict[str, Any] = (
                    {} if address else {"num_cpus": max(os.cpu_count() or 1, (workers or 1) * threads)}
                )
                if not address:
                    local |= {"include_dashboard": False}
                    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it reports to its makers
                ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
        except Exception as error:  # of one that is slow to start Ray says so by a bare one
            expected, cure = (f"a Ray cluster at {address}", _CLUSTER) if address else ("Ray to start here", _HERE)
            raise BackendError(f"expected {expected}, got {_last_line(error)}; {cure}") from error
        room = ray.cluster_resources()
        fits = int(room.get("CPU", 0) // threads)
        if gpus:
            fits = min(fits, int(room.get("GPU", 0) / gpus))
        if not fits:
            self.close()
            raise BackendError(
                f"expected room for a worker of {counted(threads, 'core')} and {counted(gpus, 'GPU')}, got a "
                f"cluster with {counted(room.get('CPU', 0), 'core')} and {counted(room.get('GPU', 0), 'GPU')}; add "
                "machines or ask for less"
            )
        self._arguments = (kind, settings, out, threads)
        # A worker that dies is replaced here, where it is known which shard it had.
        self._kind = ray.remote(WorkerProcess).options(
            num_cpus=threads, num_gpus=gpus, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )
        self._timeout = timeout
        self._failed_starts = 0
        self._calls: dict[Any, _Slot] = {}
        self._slots = [_Slot(self._kind.remote(*self._arguments)) for _ in range(min(workers or fits, fits))]

    @property
    def count(self) -> int:
        """How many workers there are."""
        return len(self._slots)

    @property
    def free(self) -> int:
        """How many of them have nothing to do."""
        return sum(not slot.tasks for slot in self._slots)

    def start(self, tasks: Sequence[Task]) -> None:
        """Give tasks to a worker that has none."""
        slot = next(slot for slot in self._slots if not slot.tasks)
        slot.tasks, slot.started = tuple(tasks), time.monotonic()
        self._calls[slot.actor.run.remote(slot.tasks)] = slot

    def wait(self) -> list[Done]:
        """Wait, for a second at most, for tasks to end.

        Raises:
            BackendError: workers do not start any more, or the cluster is gone.
            MediaError: results cannot be written.
        """
        ready, _ = ray.wait(list(self._calls), num_returns=1, timeout=1.0)
        done = [one for call in ready for one in self._finish(call)]
        for call, slot in list(self._calls.items()):
            if call not in ready and time.monotonic() - slot.started > self._timeout:
                done += self._failed(self._calls.pop(call), f"no result within {self._timeout:g} s")
        return done

    def write_bag(self, recording: Recording, part: Part, path: str) -> None:
        """Run a shard once more, into a result bag.

        Raises:
            BackendError: it did not come to an end.
        """
        try:
            ray.get(self._slots[0].actor.write_bag.remote(recording, part, path), timeout=self._timeout)
        except (RayError, GetTimeoutError) as error:
            self._replace(self._slots[0])
            raise BackendError(f"expected a result bag, got {_last_line(error)}") from error

    def close(self) -> None:
        """End the workers, and the cluster where it was started here."""
        for slot in getattr(self, "_slots", ()):
            with suppress(Exception):
                ray.kill(slot.actor)
        if self._owner:
            ray.shutdown()

    def _finish(self, call: Any) -> list[Done]:
        slot = self._calls.pop(call)
        try:
            done: list[Done] = ray.get(call)
        except RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            if isinstance(cause, ResultsError):
                raise MediaError(str(cause)) from error
            return self._failed(slot, f"{type(cause).__name__}: {_last_line(cause)}")
        except RayActorError as error:
            return self._failed(slot, *self._death(error))
        except RayError as error:
            return self._failed(slot, f"{type(error).__name__}: {_last_line(error)}")
        self._failed_starts = 0
        memory = max((one.outcome.memory for one in done if one.outcome is not None), default=0)
        slot.tasks, slot.held = (), slot.held or memory
        if any(one.outcome is None and not one.final for one in done):
            self._replace(slot)  # its device may be lost to this process
        elif slot.held and memory > slot.held + LEAKED:
            logger.warning("a worker grew from %d to %d MiB; a fresh one takes its place", slot.held, memory)
            self._replace(slot)
        return done

    def _failed(self, slot: _Slot, reason: str, blameless: bool = False) -> list[Done]:
        tasks, slot.tasks = slot.tasks, ()
        self._replace(slot)
        together = len(tasks) > 1
        return [Done(task, None, reason, blameless=blameless or together, together=together) for task in tasks]

    def _death(self, error: RayActorError) -> tuple[str, bool]:
        """Why a worker died, and whether the shard has no part in that."""
        text = str(error)
        if "creation task" in text or "__init__" in text:
            self._failed_starts += 1
            if self._failed_starts >= _NO_START * len(self._slots):
                raise BackendError(f"expected workers to start, got {_last_line(error)}; mend that, and run it again")
            return f"a worker did not start: {_last_line(error)}", True
        if "node" in text and ("node was terminated" in text or "node died" in text or "its node" in text):
            return "the worker's machine was lost", True
        return "the worker died in it (a crash in native code, or out of memory)", False

    def _replace(self, slot: _Slot) -> None:
        with suppress(Exception):
            ray.kill(slot.actor)
        slot.actor, slot.held = self._kind.remote(*self._arguments), 0


def _check_there(address: str | None) -> None:
    """Refuse an address at which nobody listens, for which Ray waits for minutes.

    Raises:
        OSError: nobody does.
    """
    if address and _HOST_PORT.fullmatch(address):
        host, _, port = address.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_LISTENS):
            return


def _last_line(error: Exception) -> str:
    """What an error says at its end, where traces of several processes have their cause."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip()[:300] if lines else type(error).__name__
