"""What a fleet job costs over a plain replay, what a second worker brings, and what a recording costs the driver.

python bench/fleet_rates.py overhead [RECORDINGS]
python bench/fleet_rates.py scaling [RECORDINGS]
python bench/fleet_rates.py driver --count 2000

Without recordings some are rendered. What is compared takes turns in one run, so that other work on the machine meets
both alike.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import ray
import typer
from fleet_drives import FPS, recordings, write_video

from rtseg.lab.fleet.job import run_job
from rtseg.lab.fleet.page import write_pages
from rtseg.lab.fleet.queue import Done, Task, TaskQueue
from rtseg.lab.fleet.ray_workers import RayWorkers
from rtseg.lab.fleet.settings import JobSettings, model_hash
from rtseg.lab.fleet.sources import find_recordings
from rtseg.lab.fleet.worker import Worker, bound_threads, memory_mib
from rtseg.lab.replay.replay import replay
from rtseg.lab.replay.run import Run
from rtseg.loading import load
from rtseg.media import open_frames
from rtseg.runtime import find_model

app = typer.Typer(help=__doc__)
Sources = Annotated[list[str] | None, typer.Argument(help="Recordings; rendered ones by default.")]


@app.command()
def overhead(sources: Sources = None, model: str = "lanes-lite", rounds: int = 3) -> None:
    """CPU time of a worker beside `rtseg replay`, beside that without its files, and beside a bare loop.

    Without files a replay decodes, runs the pipeline and counts what its report tells; the loop has no counts.
    """
    with tempfile.TemporaryDirectory() as out:
        chosen = recordings(sources or [], Path(out, "drives"))
        worker = Worker(_settings(model), out, threads=1)
        pipeline = load(model, threads=1)

        def by_worker(uri: str) -> None:
            worker.run(next(one for one in chosen if one.uri == uri))

        def by_replay(uri: str) -> None:
            with open_frames(uri) as source:
                replay(source, pipeline, Path(out, "replay"), progress=False)

        def by_run(uri: str) -> None:
            with open_frames(uri) as source:
                for _ in Run(source, pipeline):
                    pass

        def by_loop(uri: str) -> None:
            pipeline.reset()
            with open_frames(uri) as source:
                for frame in source:
                    pipeline(frame)

        ways: dict[str, Callable[[str], None]] = {
            **{"a bare loop": by_loop, "worker": by_worker},
            **{"rtseg replay without files": by_run, "rtseg replay": by_replay},
        }
        spent: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(rounds + 1):  # the first is for warming up
            for one in chosen:
                for way, run in ways.items():
                    begin = time.process_time()
                    run(one.uri)
                    if turn:
                        spent[way].append(time.process_time() - begin)
    seconds = {way: np.reshape(times, (rounds, -1)).min(axis=0).sum() for way, times in spent.items()}
    print(f"{len(chosen)} recordings, best of {rounds} rounds each, CPU time, one thread:")
    for way in ("rtseg replay", "rtseg replay without files", "a bare loop"):
        more = 100 * (seconds["worker"] / seconds[way] - 1)
        rate = np.divide(*(np.reshape(spent[which], (rounds, -1)).sum(axis=1) for which in ("worker", way)))
        each = ", ".join(f"{100 * (turn - 1):+.1f}" for turn in rate)
        print(f"worker {seconds['worker']:.2f} s, {way} {seconds[way]:.2f} s: {more:+.1f} % (by round {each})")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


class _AtMost:
    """Workers of whom only some are used."""

    def __init__(self, workers: RayWorkers, most: int) -> None:
        self._workers = workers
        self.count = most

    @property
    def free(self) -> int:
        return self.count - (self._workers.count - self._workers.free)

    def start(self, tasks: Sequence[Task]) -> None:
        self._workers.start(tasks)

    def wait(self) -> list[Done]:
        return self._workers.wait()

    def write_bag(self, *arguments: Any) -> None:
        raise NotImplementedError

    def close(self) -> None:
        return None


class _PlainProcess:
    """A process that decodes recordings and runs the pipeline, without Ray, rows or anything else."""

    def __init__(self, model: str) -> None:
        self._process = ProcessPoolExecutor(1, get_context("spawn"), _open_plain, (model,))

    def run(self, uri: str) -> int:
        return self._process.submit(_run_plain, uri).result()

    def cpu(self) -> float:
        return self._process.submit(time.process_time).result()

    def close(self) -> None:
        self._process.shutdown()


_plain: Any = None


def _open_plain(model: str) -> None:
    global _plain
    bound_threads(1)
    _plain = load(model, threads=1)


def _run_plain(uri: str) -> int:
    _plain.reset()
    with open_frames(uri) as source:
        return sum(_plain(frame) is not None for frame in source)


def _run_all(processes: Sequence[_PlainProcess], uris: Sequence[str]) -> int:
    """Give each recording to the next process that is free; returns the frames."""
    left = list(uris)

    def work(process: _PlainProcess) -> int:
        frames = 0
        while left:
            with suppress(IndexError):  # another took the last
                frames += process.run(left.pop(0))
        return frames

    with ThreadPoolExecutor(len(processes)) as threads:
        return sum(threads.map(work, processes))


@app.command()
def scaling(sources: Sources = None, model: str = "lanes-lite", rounds: int = 3) -> None:
    """One worker and two of one thread each beside plain processes of the same work, in turns, all of them warm.

    Plain processes share nothing: what two of them bring less than twice is this machine's.
    """
    ways = [(kind, most) for kind in ("plain processes", "workers") for most in (2, 1)]
    walls: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    cpu: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    frames = 0
    with tempfile.TemporaryDirectory() as folder:
        chosen = recordings(sources or [], Path(folder, "drives"))
        settings = _settings(model)
        pool = RayWorkers(settings, f"{folder}/out", workers=2, threads=1)
        plain = [_PlainProcess(model) for _ in range(2)]

        def spent() -> float:
            of_workers = ray.get([slot.actor.__ray_call__.remote(_cpu) for slot in pool._slots])
            return sum(of_workers) + sum(process.cpu() for process in plain)

        for turn in range(rounds + 1):
            for kind, most in ways:
                queue = TaskQueue(chosen, settings, f"{folder}/{turn}-{most}") if kind == "workers" else None
                before, begin = spent(), time.perf_counter()
                if queue is None:
                    frames = _run_all(plain[:most], [one.uri for one in chosen])
                else:
                    frames = run_job(queue, _AtMost(pool, most), progress=False).frames
                wall = time.perf_counter() - begin
                if turn:
                    walls[kind, most].append(wall)
                    cpu[kind, most].append(spent() - before)
        pool.close()
        for process in plain:
            process.close()
    for kind, most in ways:
        print(
            f"{most} {kind}: best {frames / min(walls[kind, most]):.1f} frames a second, "
            f"{1e3 * min(cpu[kind, most]) / frames:.2f} ms of CPU a frame"
        )
    for kind in ("plain processes", "workers"):
        ratios = [one / two for one, two in zip(walls[kind, 1], walls[kind, 2], strict=True)]
        print(
            f"two {kind} against one, by turn: {', '.join(f'{ratio:.2f}x' for ratio in ratios)}; best against best "
            f"{min(walls[kind, 1]) / min(walls[kind, 2]):.2f}x; by CPU time alone, as on cores that nobody else uses: "
            f"{2 * min(cpu[kind, 1]) / min(cpu[kind, 2]):.2f}x"
        )
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def _cpu(_: Any) -> float:
    return time.process_time()


class _Watched(_AtMost):
    """Workers whose driver's memory is noted every so many shards."""

    def __init__(self, workers: RayWorkers, every: int) -> None:
        super().__init__(workers, workers.count)
        self._every = every
        self._count = 0
        self.memory: list[int] = []

    def wait(self) -> list[Done]:
        done = super().wait()
        for _ in done:
            self._count += 1
            if self._count % self._every == 0:
                self.memory.append(memory_mib())
        return done


@app.command()
def driver(count: int = 2000, model: str = "lanes-lite") -> None:
    """Many short recordings: what each costs the driver, in time and memory, and how long the page takes."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            rng = np.random.default_rng(number)
            pictures = (np.full((72, 128, 3), rng.integers(0, 255, 3), np.uint8) for _ in range(3))
            write_video(Path(folder, f"drives/{number:05d}.mp4"), pictures, (72, 128))
        out, settings = f"{folder}/out", _settings(model)
        begin = time.process_time()
        found = find_recordings([f"{folder}/drives"]).recordings
        queue = TaskQueue(found, settings, out)
        finding = time.process_time() - begin
        workers = RayWorkers(settings, out, threads=1)
        watched = _Watched(workers, max(1, count // 8))
        begin, own, wall = time.process_time(), time.thread_time(), time.perf_counter()
        run_job(queue, watched, progress=False)
        own, took = time.thread_time() - own, time.perf_counter() - wall
        spent = time.process_time() - begin
        floor = _ray_alone(len(workers._slots), len(workers._slots) * took / count, min(count, 300), workers)
        begin = time.perf_counter()
        write_pages(out, settings, [], [])
        page = time.perf_counter() - begin
    print(f"{count} recordings of {3 / FPS:.1f} s, {count / took:.1f} a second")
    print(f"driver's CPU each: {1e3 * finding / count:.2f} ms to find, {1e3 * own / count:.2f} ms to run", end=" ")
    print(f"in its own thread, {1e3 * spent / count:.2f} ms with Ray's;", end=" ")
    print(f"calls of Ray that only sleep, at this rate: {floor:.2f} ms with Ray's")
    print(f"its memory after each eighth: {', '.join(map(str, watched.memory))} MiB; page in {page:.1f} s")


class _Idle:
    def run(self, seconds: float) -> None:
        time.sleep(seconds)


def _ray_alone(count: int, seconds: float, calls: int, workers: RayWorkers) -> float:
    """Milliseconds of CPU that a call costs which does nothing, with as many workers at the same rate."""
    for slot in workers._slots:
        ray.kill(slot.actor)
    free = [ray.remote(_Idle).options(num_cpus=1).remote() for _ in range(count)]
    ray.get([actor.run.remote(0.0) for actor in free])
    under_way: dict[Any, Any] = {}
    begin = time.process_time()
    left = calls
    while left or under_way:
        while free and left:
            actor, left = free.pop(), left - 1
            under_way[actor.run.remote(seconds)] = actor
        ready, _ = ray.wait(list(under_way), num_returns=1, timeout=1.0)
        for call in ready:
            ray.get(call)
            free.append(under_way.pop(call))
    spent = time.process_time() - begin
    workers.close()
    return 1e3 * spent / calls


def _settings(model: str) -> JobSettings:
    return JobSettings(model=model, model_hash=model_hash(find_model(model).card))


if __name__ == "__main__":
    app()
