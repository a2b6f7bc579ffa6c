"""Read thousands of damaged files of every kind; each gives what is sound of it, or one typed error, and nothing else.

python bench/damages.py 20000

Every kind is read by a process of its own, so that a crash and the memory are seen; what takes longer than 30 s counts
as hanging. The damages are those of the tests, with more seeds: a failure is repeated by its kind and seed, as
``python bench/damages.py --kind mcap-lz4 --seed 4711``.
"""

from __future__ import annotations

import logging
import multiprocessing
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.lab.data import test_damaged_files as files
from tests.media import test_damage as recordings
from tests.media.damage import FORMATS

PATIENCE = 30.0
"""Seconds after which a reader counts as hanging."""
KINDS: dict[str, Callable[[str, int, Path], str]] = {
    **dict.fromkeys(FORMATS, recordings.check),
    **dict.fromkeys(files.KINDS, files.check),
}


def work(kind: str, seeds: range, pipe: Connection) -> None:
    """Tell what comes of each seed: (outcome, seconds, peak memory in MiB)."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            begin = time.monotonic()
            try:
                outcome = KINDS[kind](kind, seed, Path(folder))
            except BaseException as error:
                outcome = f"FAILED: {type(error).__name__}: {error}\n{traceback.format_exc(limit=-4)}"
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            pipe.send((outcome, time.monotonic() - begin, memory))


def run(kind: str, seeds: range) -> tuple[Counter[str], float, float]:
    """Outcomes, seconds of the slowest, and peak memory in MiB, of a kind."""
    outcomes: Counter[str] = Counter()
    slowest = peak = 0.0
    context = multiprocessing.get_context("fork")  # what has been imported need not be again
    start = seeds.start
    while start < seeds.stop:
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(kind, range(start, seeds.stop), theirs))
        process.start()
        theirs.close()
        patience = 10 * PATIENCE  # it starts
        for seed in range(start, seeds.stop):
            start = seed + 1
            try:
                if not ours.poll(patience):
                    outcomes["FAILED: hangs"] += 1
                    print(f"{kind} {seed}: no end after {patience:.0f} s", flush=True)
                    break
                outcome, seconds, memory = ours.recv()
            except EOFError:
                process.join()
                outcomes["FAILED: the process crashes"] += 1
                print(f"{kind} {seed}: the process ends with {process.exitcode}", flush=True)
                break
            patience = PATIENCE
            slowest, peak = max(slowest, seconds), max(peak, memory)
            outcomes[outcome.partition(":")[0]] += 1
            if outcome.startswith("FAILED"):
                print(f"{kind} {seed}: {outcome}", flush=True)
        process.kill()
        process.join()
    return outcomes, slowest, peak


def main(
    count: Annotated[int, typer.Argument(help="Damages, all kinds alike.")] = 20_000,
    kind: Annotated[str | None, typer.Option(help="Only this kind.")] = None,
    seed: Annotated[int | None, typer.Option(help="Only this damage.")] = None,
) -> None:
    """Print what comes of damaged files, a line for each kind."""
    kinds = [kind] if kind else list(KINDS)
    each = -(-count // len(kinds))
    failures, slowest, peak = 0, 0.0, 0.0
    for name in kinds:
        outcomes, seconds, memory = run(name, range(each) if seed is None else range(seed, seed + 1))
        failures += sum(n for outcome, n in outcomes.items() if outcome.startswith("FAILED"))
        slowest, peak = max(slowest, seconds), max(peak, memory)
        print(f"{name}: {dict(sorted(outcomes.items()))}, slowest {seconds:.2f} s, {memory:.0f} MiB", flush=True)
    print(f"{each * len(kinds)} damages: {failures} failures, slowest {slowest:.2f} s, at most {peak:.0f} MiB")
    sys.exit(failures > 0)


if __name__ == "__main__":
    typer.run(main)
