"""Kill workers, nodes and drivers of a fleet job at random; its rows have to be those of a run that nobody disturbed.

python bench/fleet_chaos.py [RECORDINGS] --kills 20

Without recordings some are rendered. The exit code is 0 if every row is equal.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer
from fleet_drives import recordings

from rtseg.lab.fleet.local_cluster import LocalCluster
from rtseg.lab.fleet.replay import replay_fleet
from rtseg.lab.fleet.rows import MEASURED, read_rows

_VICTIMS = ("worker", "worker", "driver", "raylet")


class Chaos:
    """One job that is killed and started again until it is done.

    Args:
        sources: recordings.
        out: folder of the job.
        seconds: length of a shard.
        seed: of what is killed when.
    """

    def __init__(self, sources: list[str], out: Path, seconds: float, seed: int) -> None:
        self._arguments = [*sources, "--out", str(out), "--shard-seconds", str(seconds), "--bags", "0", "--tries", "99"]
        self._out = out
        self._random = random.Random(seed)
        self.cluster = LocalCluster()
        self.driver = self._start()
        self.kills: list[str] = []

    def run(self, kills: int) -> None:
        """Kill `kills` times, each after some progress; then let the job end."""
        while len(self.kills) < kills:
            if not self._progress():
                break
            time.sleep(self._random.uniform(0, 3))
            self._kill(self._random.choice(_VICTIMS))
        while self.driver.wait() != 0:
            self._revive()
        self.cluster.stop()

    def rows(self) -> int:
        """Shards that are done."""
        return len(list(self._out.glob("rows/[!.]*")))

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "rtseg.cli", "fleet", "replay", "--address", self.cluster.address]
        return subprocess.Popen([*command, *self._arguments], env=self.cluster.environment, stdout=subprocess.DEVNULL)

    def _progress(self) -> bool:
        """Wait for a shard; False once the job is done."""
        before = self.rows()
        while self.rows() <= before:
            if self.driver.poll() == 0:
                return False
            if self.driver.poll() is not None:
                self._revive()
            time.sleep(0.1)
        return True

    def _kill(self, victim: str) -> None:
        if victim == "driver":
            self.driver.kill()
            self.driver.wait()
        else:
            found = self.cluster.workers() if victim == "worker" else self.cluster.raylets()
            if not found:
                return
            self.cluster.kill(self._random.choice(found))
        self.kills.append(victim)
        print(f"{len(self.kills)}. {victim} killed at {self.rows()} shards", flush=True)
        if victim == "raylet":
            time.sleep(2)
            if len(self.cluster.raylets()) < 2:
                self._new_node()

    def _new_node(self) -> None:
        if not self.cluster.alive():  # its head is gone, and with it the cluster
            self.cluster.stop()
            self.driver.kill()
            self.driver.wait()
            self.cluster = LocalCluster()
        else:
            self.cluster.add_node()

    def _revive(self) -> None:
        if not self.cluster.alive():
            self._new_node()
        self.driver = self._start()


def table(out: Path) -> pa.Table:
    """All rows without what was measured."""
    return pa.concat_tables(rows for _, rows in read_rows(f"{out}/rows")).drop_columns(list(MEASURED))


def main(
    sources: Annotated[list[str] | None, typer.Argument(help="Recordings; rendered ones by default.")] = None,
    kills: int = 20,
    shard_seconds: float = 2.0,
    seed: int = 1,
) -> None:
    """Run the job twice, the second time under fire, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        calm, rough = Path(folder, "calm"), Path(folder, "rough")
        found = [one.uri for one in recordings(sources or [], Path(folder, "drives"), count=5, seconds=30.0, fps=6)]
        replay_fleet(found, str(calm), workers=0, shard_seconds=shard_seconds, bags=0)
        chaos = Chaos(found, rough, shard_seconds, seed)
        began = time.monotonic()
        chaos.run(kills)
        ours, theirs = table(rough), table(calm)
        counts = {victim: chaos.kills.count(victim) for victim in sorted(set(_VICTIMS))}
        equal = ours.equals(theirs)
        print(f"{len(chaos.kills)} kills ({counts}) in {time.monotonic() - began:.0f} s, {chaos.rows()} shards")
        print(f"{ours.num_rows} rows, undisturbed {theirs.num_rows}: {'equal' if equal else 'DIFFERENT'}")
        raise SystemExit(0 if equal and len(chaos.kills) >= kills else 1)


if __name__ == "__main__":
    typer.run(main)
