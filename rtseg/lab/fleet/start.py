"""What every job begins with: its folder for itself, and workers."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rtseg.files import held
from rtseg.lab.fleet.queue import Workers
from rtseg.lab.fleet.settings import JobSettings
from rtseg.lab.fleet.worker import Worker


def held_folder(out: str) -> AbstractContextManager[None]:
    """Keep other runs out of a local folder, named from the root; a remote one has no locks."""
    return held(out) if out.startswith("/") else nullcontext()


def open_workers(
    settings: JobSettings,
    out: str,
    address: str | None,
    workers: int | None,
    threads: int,
    gpus: float,
    timeout: float,
    kind: type[Any] = Worker,
) -> Workers:
    """Start workers; see :class:`rtseg.lab.fleet.ray_workers.RayWorkers`; with 0 of them this process does the work."""
    if workers == 0:
        from rtseg.lab.fleet.in_process import InProcess

        return InProcess(settings, out, threads if threads > 1 else None, kind)
    from rtseg.lab.fleet.ray_workers import RayWorkers

    return RayWorkers(settings, out, address, workers, threads, gpus, timeout, kind)
