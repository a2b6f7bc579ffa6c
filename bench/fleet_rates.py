"""What a fleet job costs over a plain loop, what a second worker brings, and what a recording costs the driver.

python bench/fleet_rates.py drives/*.mp4 --short 2000
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import av
import numpy as np
import typer

from rtseg.lab.fleet.job import run_job
from rtseg.lab.fleet.page import write_pages
from rtseg.lab.fleet.queue import TaskQueue
from rtseg.lab.fleet.ray_workers import RayWorkers
from rtseg.lab.fleet.settings import JobSettings, model_hash
from rtseg.lab.fleet.sources import Recording, find_recordings
from rtseg.lab.fleet.worker import Worker, memory_mib
from rtseg.loading import load
from rtseg.media import open_frames
from rtseg.runtime import find_model


def overhead(recordings: list[Recording], settings: JobSettings, rounds: int) -> None:
    """A worker in this process beside a loop that only decodes and runs the pipeline."""
    pipeline = load(settings.model, threads=1)
    with tempfile.TemporaryDirectory() as out:
        worker = Worker(settings, out, threads=1)
        spent: dict[str, list[float]] = {"loop": [], "worker": []}
        frames = 0
        for turn in range(rounds + 1):  # the first is for warming up
            begin = time.process_time()
            for recording in recordings:
                pipeline.reset()
                with open_frames(recording.uri) as source:
                    frames = sum(1 for _ in map(pipeline, source))
            middle = time.process_time()
            for recording in recordings:
                worker.run(recording)
            if turn:
                spent["loop"].append(middle - begin)
                spent["worker"].append(time.process_time() - middle)
    loop, job = (min(times) for times in spent.values())
    print(f"CPU time of {len(recordings)} recordings (last: {frames} frames), best of {rounds}: ", end="")
    print(f"loop {loop:.2f} s, worker {job:.2f} s, overhead {100 * (job / loop - 1):.1f} %")


def scaling(recordings: list[Recording], settings: JobSettings) -> None:
    """One worker and two, a core each; workers are warm, as in a long job."""
    seconds = {}
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as out:
            pool = RayWorkers(settings, out, workers=workers, threads=1)
            run_job(TaskQueue(recordings[:workers], settings, f"{out}/warm"), pool, progress=False)
            queue = TaskQueue(recordings, settings, f"{out}/timed")
            begin = time.perf_counter()
            frames = run_job(queue, pool, progress=False).frames
            seconds[workers] = time.perf_counter() - begin
            pool.close()
        print(f"{workers} workers: {frames / seconds[workers]:.1f} frames a second")
    print(f"two against one: {seconds[1] / seconds[2]:.2f}x")


def driver(count: int, settings: JobSettings) -> None:
    """Many short recordings: what each costs the driver, in time and memory."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            write_short(Path(folder, f"drives/{number:05d}.mp4"), number)
        out = f"{folder}/out"
        begin = time.process_time()
        recordings = find_recordings([f"{folder}/drives"]).recordings
        found = time.process_time() - begin
        queue = TaskQueue(recordings, settings, out)
        pool = RayWorkers(settings, out, threads=1)
        memory = memory_mib()
        begin, wall = time.process_time(), time.perf_counter()
        run_job(queue, pool, progress=False)
        each = (time.process_time() - begin) / count
        rate = count / (time.perf_counter() - wall)
        grown = memory_mib() - memory
        pool.close()
        begin = time.perf_counter()
        write_pages(out, settings, [], [])
        page = time.perf_counter() - begin
    print(
        f"{count} recordings: {1e3 * found / count:.2f} ms to find, {1e3 * each:.2f} ms of the driver's CPU each; ",
        end="",
    )
    print(f"{rate:.1f} recordings a second; the driver grew by {grown} MiB; page in {page:.1f} s")


def write_short(path: Path, seed: int, frames: int = 3) -> None:
    """A video of a few small frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 128, 72, "yuv420p"
        for _ in range(frames):
            image = np.full((72, 128, 3), rng.integers(0, 255, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))


def main(
    sources: Annotated[list[str], typer.Argument(help="Recordings.")],
    model: str = "lanes-lite",
    short: int = 2000,
    rounds: int = 3,
) -> None:
    """Measure and print."""
    settings = JobSettings(model=model, model_hash=model_hash(find_model(model).card))
    recordings = list(find_recordings(sources).recordings)
    overhead(recordings[:1], settings, rounds)
    scaling(recordings, settings)
    if short:
        driver(short, settings)


if __name__ == "__main__":
    typer.run(main)
