"""Replay a fleet's recordings: find, do what is missing, report."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from rtseg.errors import RtsegError
from rtseg.lab.fleet.job import run_job
from rtseg.lab.fleet.page import FleetReport, bag_of, worst_recordings, write_pages
from rtseg.lab.fleet.queue import TaskQueue, Workers
from rtseg.lab.fleet.rows import exists, read_shard
from rtseg.lab.fleet.settings import JobSettings, claim_folder, model_hash
from rtseg.lab.fleet.shards import Part
from rtseg.lab.fleet.sources import Recording, find_recordings
from rtseg.lab.fleet.start import held_folder, open_workers
from rtseg.lab.fleet.stores import absolute, known_model
from rtseg.lab.fleet.summary import COLUMNS, FleetTotals, add_up, badness_of
from rtseg.runtime import find_model

logger = logging.getLogger("rtseg")


def replay_fleet(
    sources: Sequence[str],
    out: str,
    model: str = "lanes-lite",
    *,
    address: str | None = None,
    workers: int | None = None,
    threads: int = 1,
    gpus: float = 0.0,
    device: str = "auto",
    backend: str = "auto",
    topic: str | None = None,
    shard_seconds: float = 120.0,
    tries: int = 3,
    timeout: float = 3600.0,
    resume: bool = True,
    bags: int = 3,
    progress: bool = True,
) -> FleetReport:
    """Run recordings through a model on this machine or a Ray cluster, and write rows and a page about all of them.

    Args:
        sources: as of :func:`rtseg.lab.fleet.sources.find_recordings`.
        out: local or remote folder, seen by all workers under this name.
        model: bundled model, or a folder that all workers see.
        address: of a Ray cluster (``auto``, ``HOST:PORT``); None starts one on this machine.
        workers: processes; 0 works in this one, without Ray.
        threads: cores of each.
        gpus: of each.
        device: as of :func:`rtseg.load`.
        backend: as of :func:`rtseg.load`.
        topic: as of :func:`rtseg.media.open_frames`.
        shard_seconds: longer recordings are cut.
        tries: crashes after which a shard is given up.
        timeout: seconds after which a shard counts as hung.
        resume: keep what is done already.
        bags: result bags to write, of the worst recordings.
        progress: show it.

    Raises:
        ConfigError: `out` holds the results of other settings.
        MediaError: results cannot be written.
        ModelError: the model is not to be had.
        BackendError: no worker could be started.
    """
    out = absolute(out)
    found = find_recordings(sources)
    card = find_model(model).card
    settings = JobSettings(
        model=known_model(model),
        model_hash=model_hash(card),
        device=device,
        backend=backend,
        topic=topic,
        shard_seconds=shard_seconds,
    )
    with held_folder(out):
        claim_folder(out, settings, again=not resume)
        queue = TaskQueue(found.recordings, settings, out, tries, found.twins)
        pool: Workers | None = None
        try:
            if queue:
                pool = open_workers(settings, out, address, workers, threads, gpus, timeout)
                run_job(queue, pool, progress)
            totals = add_up(f"{out}/rows")
            wanted = _bags_to_write(found.recordings, out, totals, bags)
            if wanted and pool is None:
                pool = open_workers(settings, out, address, workers, threads, gpus, timeout)
            for recording, part, path in wanted:
                assert pool is not None
                try:
                    pool.write_bag(recording, part, path)
                except RtsegError as error:
                    logger.warning("no result bag of %s: %s", recording.uri, error)
        finally:
            if pool is not None:
                pool.close()
        faults = [(fault.uri, fault.reason) for fault in found.faults if fault.kind != "duplicate"]
        faults += [(uri, state.fault) for uri, state in queue.progress.states.items() if state.fault]
        duplicates = [fault for fault in found.faults if fault.kind == "duplicate"]
        named = {recording.uri for recording in found.recordings}
        return write_pages(out, settings, faults, duplicates, named, totals)


def _bags_to_write(
    recordings: Sequence[Recording], out: str, totals: FleetTotals, count: int
) -> list[tuple[Recording, Part, str]]:
    """The worst recordings whose bags are not there yet, each with its worst shard."""
    by_uri = {recording.uri: recording for recording in recordings}
    listed = {uri: one for uri, one in totals.recordings.items() if uri in by_uri}
    wanted = []
    for uri in worst_recordings(listed, count):
        path = f"{out}/{bag_of(totals.shards[uri][0])}"
        if exists(path):
            continue
        shards = [read_shard(f"{out}/rows", name, COLUMNS) for name in totals.shards[uri]]
        worst = max(shards, key=badness_of)
        wanted.append((by_uri[uri], Part(**json.loads(worst.schema.metadata[b"rtseg.part"])), path))
    return wanted
