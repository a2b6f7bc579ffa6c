"""A Ray cluster of several nodes on this machine, to try a job, and what it does when processes are killed."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from rtseg.errors import BackendError

RAY = str(Path(sys.executable).with_name("ray"))
_START_SECONDS = 120  # in which a node has to be up
_STOP_SECONDS = 30  # in which killed processes have to be gone


class LocalCluster:
    """Nodes that share a token; nothing of them outlives :meth:`stop`.

    Args:
        nodes: to start.
        cpus: cores of each.

    Attributes:
        address: that a driver connects to.
        environment: variables that a driver on this machine needs.
    """

    def __init__(self, nodes: int = 2, cpus: int = 1) -> None:
        port = _free_port()
        self.address = f"127.0.0.1:{port}"
        self._cpus = cpus
        self._folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # socket paths have to be short
        self.environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._start("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self._folder}")
        for _ in range(nodes - 1):
            self.add_node()

    def add_node(self) -> None:
        """Start one more node."""
        self._start(f"--address={self.address}")

    def _start(self, *arguments: str) -> None:
        command = [RAY, "start", *arguments, "--node-ip-address=127.0.0.1", f"--num-cpus={self._cpus}", "--block"]
        log = Path(self._folder, f"node{len(self._nodes)}.log")
        with log.open("wb") as file:
            node = subprocess.Popen(command, env=self.environment, stdout=file, stderr=file, start_new_session=True)
        self._nodes.append(node)
        deadline = time.monotonic() + _START_SECONDS
        while b"Ray runtime started" not in log.read_bytes():
            if node.poll() is not None or time.monotonic() > deadline:
                text = log.read_text(errors="replace")[-2000:]
                self.stop()
                raise BackendError(f"expected a Ray node to start, got {text}")
            time.sleep(0.2)

    def raylets(self) -> list[int]:
        """Process ids of the nodes' own processes, the head's first."""
        return [pid for pid in self.processes() if "/raylet/raylet" in _command(pid)]

    def alive(self) -> bool:
        """Whether the head node lives; without it there is no cluster."""
        return self._nodes[0].poll() is None and any("gcs_server" in _command(pid) for pid in self.processes())

    def workers(self) -> list[int]:
        """Process ids of the fleet's workers."""
        return [pid for pid in self.processes() if _command(pid).startswith("ray::Worker")]

    def kill(self, pid: int) -> None:
        """Kill one of this cluster's processes, without warning."""
        if pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End all of the cluster's processes, and wait until they are gone."""
        deadline = time.monotonic() + _STOP_SECONDS
        # Again and again: one that is listed may start another before it is killed.
        while (left := self.processes()) and time.monotonic() < deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        for node in self._nodes:
            with suppress(ProcessLookupError):
                node.kill()
            node.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def processes(self) -> list[int]:
        """Process ids of the cluster, drivers left out: those whose environment has its token, nobody else's."""
        token = self.environment["RAY_AUTH_TOKEN"].encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                with suppress(OSError):
                    if token in (entry / "environ").read_bytes() and "rtseg.cli" not in _command(int(entry.name)):
                        found.append(int(entry.name))
        return sorted(found)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
