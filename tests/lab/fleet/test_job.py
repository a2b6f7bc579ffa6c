"""What a job shows while it runs, and whom it replaces."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rtseg.errors import BackendError
from rtseg.lab.fleet.in_process import InProcess
from rtseg.lab.fleet.job import progress_table, run_job
from rtseg.lab.fleet.queue import Done, Progress, RecordingState, Task, TaskQueue
from rtseg.lab.fleet.settings import JobSettings, model_hash
from rtseg.lab.fleet.shards import Part
from rtseg.lab.fleet.sources import Recording, find_recordings
from rtseg.lab.fleet.worker import Outcome, Worker
from rtseg.runtime import find_model
from tests.lab.fleet.drives import write_fleet
from tests.lab.fleet.test_replay import rows_of


def shown(progress: Progress, *under_way: str) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(progress_table(progress, under_way))
    return capture.get()


def test_progress_has_rates_and_what_is_to_go() -> None:
    now = time.monotonic()
    states = {
        "/a/long.mp4": RecordingState(shards=10, done=6, resumed=2, frames=400, began=now - 40),
        "/a/new.mp4": RecordingState(),
        "/a/done.mp4": RecordingState(shards=1, done=1),
    }
    text = shown(Progress(states, frames=400, resumed=3, began=now - 40), "/a/long.mp4", "/a/new.mp4")
    assert "1 of 3 recordings, 10 frames a second" in text
    long = next(line for line in text.splitlines() if "long.mp4" in line)
    assert "6 of 10" in long
    assert " 10 " in long
    assert "0:00:40" in long
    assert "0 of ?" in next(line for line in text.splitlines() if "new.mp4" in line)


def test_where_nobody_watches_progress_is_a_line_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rtseg.lab.fleet.job._LOGGED", 0.0)
    sources, model = write_fleet(tmp_path, 2, frames=3)
    settings = JobSettings(model=model, model_hash=model_hash(find_model(model).card))
    run_job(TaskQueue(find_recordings(sources).recordings, settings, str(tmp_path / "out"), tries=1), Flaky(99))
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" recordings")[0] for line in lines] == ["1 of 2", "2 of 2"]
    assert "2 of them given up" in lines[1]


class Flaky:
    """Workers of which every call fails until it was made so many times."""

    def __init__(self, failures: int) -> None:
        self.count = self.free = 1
        self.calls: list[Task] = []
        self._failures = failures

    def start(self, tasks: Sequence[Task]) -> None:
        (task,) = tasks
        self.calls.append(task)
        self.free = 0

    def wait(self) -> list[Done]:
        self.free = 1
        task = self.calls[-1]
        if self.calls.count(task) <= self._failures:
            return [Done(task, None, "the worker died")]
        if task.part is None:
            return [Done(task, Outcome(parts=(Part(0, 2), Part(1, 2))))]
        return [Done(task, Outcome(frames=5))]

    def write_bag(self, *_: object) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize(("failures", "fault"), [(0, ""), (2, ""), (3, "the worker died (tried 3 times)")])
def test_a_shard_is_tried_a_few_times(tmp_path: Path, failures: int, fault: str) -> None:
    sources, model = write_fleet(tmp_path, 1, frames=3)
    settings = JobSettings(model=model, model_hash=model_hash(find_model(model).card))
    found = find_recordings(sources).recordings
    workers = Flaky(failures)
    progress = run_job(TaskQueue(found, settings, str(tmp_path / "out"), tries=3), workers, progress=False)
    state = progress.states[sources[0]]
    assert state.fault == fault
    assert state.finished
    assert len(workers.calls) == (3 if fault else 3 * (failures + 1))
    assert len(list(tmp_path.glob("out/faults/*.json"))) == bool(fault)


class Unlucky(Worker):
    """A worker whose backend fails on each recording a few times."""

    failures = 0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.tried: list[str] = []

    def run(self, recording: Recording, part: Part | None = None) -> Outcome:
        self.tried.append(recording.uri)
        if self.tried.count(recording.uri) <= self.failures:
            raise BackendError("expected results, got none: the device is lost")
        return super().run(recording, part)


@pytest.mark.parametrize("failures", [2, 3])
def test_what_a_device_fails_in_is_no_fault_of_the_recording_at_once(tmp_path: Path, failures: int) -> None:
    sources, model = write_fleet(tmp_path, 2, frames=3)
    settings = JobSettings(model=model, model_hash=model_hash(find_model(model).card))
    workers = InProcess(settings, str(tmp_path / "out"), kind=type("", (Unlucky,), {"failures": failures}))
    queue = TaskQueue(find_recordings(sources).recordings, settings, str(tmp_path / "out"), tries=3)
    states = run_job(queue, workers, progress=False).states
    workers.close()
    reasons = {state.fault for state in states.values()}
    assert reasons == {"" if failures < 3 else "expected results, got none: the device is lost (tried 3 times)"}


class Brittle(InProcess):
    """A worker that dies after the first of several tasks, and notes what it was given."""

    def __init__(self, settings: JobSettings, out: str) -> None:
        super().__init__(settings, out)
        self.given: list[list[Task]] = []

    def start(self, tasks: Sequence[Task]) -> None:
        super().start(tasks)
        self.given.append(list(tasks))

    def wait(self) -> list[Done]:
        tasks = tuple(self._tasks)
        done = super().wait()
        if len(tasks) == 1:
            return [replace(one, took=0.05) for one in done]  # however slow this machine is
        self._tasks.clear()
        return [Done(task, None, "the worker died", blameless=True, together=True) for task in tasks]


def test_short_recordings_go_together_and_a_crash_costs_none_and_repeats_none(tmp_path: Path) -> None:
    sources, model = write_fleet(tmp_path, 12, frames=3)
    settings = JobSettings(model=model, model_hash=model_hash(find_model(model).card))
    workers = Brittle(settings, str(tmp_path / "out"))
    queue = TaskQueue(find_recordings(sources).recordings, settings, str(tmp_path / "out"), tries=1)
    progress = run_job(queue, workers, progress=False)
    workers.close()
    assert len(workers.given[0]) == 1, "it is not known what they take"
    first = next(tasks for tasks in workers.given if len(tasks) > 1)
    alone = [tasks[0] for tasks in workers.given if len(tasks) == 1]
    assert first[0] not in alone, "it was done before the crash"
    assert set(first[1:]) <= set(alone)
    assert progress.finished == 12
    assert progress.frames == len(rows_of(tmp_path / "out")) == sum(range(3, 15))


@pytest.mark.parametrize(("address", "cure"), [(None, "--workers 0"), ("auto", "ray start")])
def test_a_cluster_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch, address: str | None, cure: str) -> None:
    import ray

    from rtseg.lab.fleet.ray_workers import RayWorkers

    def too_slow(**_: object) -> None:
        raise Exception("The current node timed out during startup.")  # as Ray does on a machine that is overloaded

    monkeypatch.setattr(ray, "init", too_slow)
    with pytest.raises(BackendError, match=f"timed out during startup.*{cure}"):
        RayWorkers(JobSettings(), "out", address)


@pytest.mark.slow
def test_a_worker_that_grows_is_replaced_and_its_shard_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rtseg.lab.fleet import ray_workers

    monkeypatch.setattr(ray_workers, "LEAKED", -1)  # all of them seem to have grown
    sources, model = write_fleet(tmp_path, 2, frames=40)
    settings = JobSettings(model=model, model_hash=model_hash(find_model(model).card))
    workers = ray_workers.RayWorkers(settings, str(tmp_path / "out"), workers=1)
    try:
        first = workers._slots[0].actor
        queue = TaskQueue(find_recordings(sources).recordings, settings, str(tmp_path / "out"))
        progress = run_job(queue, workers, progress=False)
        assert workers._slots[0].actor != first
    finally:
        workers.close()
    assert (progress.tries, progress.finished) == (0, 2)
    assert len(rows_of(tmp_path / "out")) == 40 + 41
