"""Jobs on a real cluster of two nodes: what is killed costs no row and repeats none."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtseg.lab.fleet.local_cluster import LocalCluster
from tests.lab.fleet.drives import write_drive, write_fleet
from tests.lab.fleet.test_replay import replay, result_table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    running = LocalCluster()
    yield running
    running.stop()
    assert not running.processes(), "nothing of the cluster is left"


def start_job(cluster: LocalCluster, sources: list[str], model: str, out: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rtseg.cli", "fleet", "replay", *sources, "--model", model, "--out", str(out)]
    fixed = ["--address", cluster.address, "--shard-seconds", "3", "--bags", "0", "--tries", "20"]
    return subprocess.Popen([*command, *fixed, *more], env=cluster.environment, stdout=subprocess.DEVNULL)


def rows_in(out: Path) -> list[Path]:
    return list(out.glob("rows/[!.]*"))


def wait_for_rows(out: Path, count: int, job: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while len(rows_in(out)) < count:
        assert job.poll() is None, "the job ended early"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_workers_to_end(cluster: LocalCluster) -> None:
    deadline = time.monotonic() + 30  # the node's own process ends them once the driver has gone
    while cluster.workers():
        assert time.monotonic() < deadline, "workers end with their job"
        time.sleep(0.05)


def test_a_killed_worker_a_killed_driver_ctrl_c_and_a_poison_recording_cost_no_other_row(
    tmp_path: Path, cluster: LocalCluster
) -> None:
    sources, model = write_fleet(tmp_path, 4, frames=300)
    replay(sources, tmp_path / "alone", model, shard_seconds=3)
    out = tmp_path / "out"
    job = start_job(cluster, sources, model, out)
    wait_for_rows(out, 2, job)
    while len(cluster.workers()) < 2:
        assert job.poll() is None, "there is room for a worker on each node"
        time.sleep(0.05)
    cluster.kill(cluster.workers()[0])
    wait_for_rows(out, 8, job)
    job.kill()
    job.wait()
    wait_for_workers_to_end(cluster)  # which may write some more rows: none of the next job's
    found = len(rows_in(out))
    job = start_job(cluster, sources, model, out)
    wait_for_rows(out, found + 6, job)
    job.send_signal(signal.SIGINT)
    assert job.wait(60) == 130, "Ctrl-C ends it cleanly"
    wait_for_workers_to_end(cluster)
    done = {path.name: path.stat().st_mtime_ns for path in rows_in(out)}
    assert found + 6 <= len(done) < 40
    poison = write_drive(tmp_path / "poison.mp4", 60, seed=9)
    job = start_job(cluster, [str(poison), *sources], model, out, "--tries", "2")
    kill_whoever_opens(poison, cluster, job)
    assert job.returncode == 1
    page = (out / "report.html").read_text()
    for told in ("the worker died in it", "tried 2 times", "4 of 5"):
        assert told in page
    assert len(list(out.glob("faults/poison-mp4.*.json"))) == 1
    after = {path.name: path.stat().st_mtime_ns for path in rows_in(out)}
    assert {name: after[name] for name in done} == done, "what was done is not done again"
    assert len(after) == 40
    assert result_table(out).equals(result_table(tmp_path / "alone"))
    assert not list(out.rglob(".*")), "nothing unfinished is left"


def kill_whoever_opens(recording: Path, cluster: LocalCluster, job: subprocess.Popen[bytes]) -> None:
    """What native code does to its process, whenever a worker opens this recording."""
    while job.poll() is None:
        for pid in cluster.workers():
            if recording in _open_files(pid):
                cluster.kill(pid)
        time.sleep(0.005)


def _open_files(pid: int) -> list[Path]:
    try:
        return [entry.readlink() for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return []
