"""A job: shards handed to workers until none is left, with progress, and an end that loses nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.live import Live
from rich.table import Table

from rtseg.counted import counted
from rtseg.lab.fleet.queue import Progress, TaskQueue, Workers
from rtseg.lab.fleet.stores import common_folder
from rtseg.printing import progress_console, remarks_console, visible

_SHOWN = 8  # recordings in the progress table
_REDRAWN, _LOGGED = 0.5, 30.0  # seconds between two looks at the progress, on a terminal and in a log


def run_job(queue: TaskQueue, workers: Workers, progress: bool = True) -> Progress:
    """Do all tasks.

    No more is under way than a shard, or a few short recordings, for each worker, and outcomes are a few numbers, so
    that the memory of this process does not grow with what is done.

    Raises:
        KeyboardInterrupt: it was stopped; what is done is kept, and another run goes on from there.
    """
    under_way: dict[str, int] = {}
    folder = common_folder(queue.progress.states)
    drawn = not progress_console.quiet
    pause = _REDRAWN if drawn else _LOGGED
    with Live(console=progress_console, refresh_per_second=2, transient=True, auto_refresh=False) as live:
        shown = 0.0 if drawn else time.monotonic()
        while queue or under_way:
            while queue and workers.free > 0:
                tasks = queue.take(workers.count)
                for task in tasks:
                    under_way[task.recording.uri] = under_way.get(task.recording.uri, 0) + 1
                workers.start(tasks)
            for done in workers.wait():
                uri = done.task.recording.uri
                under_way[uri] -= 1
                if not under_way[uri]:
                    del under_way[uri]
                queue.record(done)
            if progress and time.monotonic() - shown > pause:
                shown = time.monotonic()
                if drawn:
                    live.update(progress_table(queue.progress, under_way, folder), refresh=True)
                else:
                    remarks_console.print(progress_line(queue.progress))
    return queue.progress


def progress_line(progress: Progress) -> str:
    """How far the job is."""
    spent = max(1e-6, time.monotonic() - progress.began)
    finished, total = progress.finished, len(progress.states)
    shards = sum(state.done for state in progress.states.values()) - progress.resumed
    left = sum(max(1, state.shards) - state.done for state in progress.states.values() if not state.finished)
    eta = f", about {_clock(spent * left / shards)} to go" if shards > 0 else ""
    faults = sum(bool(state.fault) for state in progress.states.values())
    given_up = f", {faults} of them given up" if faults else ""
    return f"{finished} of {counted(total, 'recording')}{given_up}, {progress.frames / spent:.0f} frames a second{eta}"


def progress_table(progress: Progress, under_way: Iterable[str], folder: str = "") -> Table:
    """How far the job is, and each recording that is under way, without the folder that all lie in."""
    table = Table("recording", "shards", "frames a second", "to go", title=progress_line(progress))
    for uri in list(under_way)[:_SHOWN]:
        state = progress.states[uri]
        row = [visible(uri.removeprefix(folder)), f"{state.done} of {state.shards or '?'}"]
        if state.frames and state.done < state.shards:
            taken = max(1e-6, time.monotonic() - state.began)
            done = max(1, state.done - state.resumed)
            row += [f"{state.frames / taken:.0f}", _clock(taken / done * (state.shards - state.done))]
        table.add_row(*row)
    return table


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
