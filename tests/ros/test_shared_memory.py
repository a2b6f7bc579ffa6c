"""A node where /dev/shm is full, or has too little room for Fast DDS: it says so, and goes on where it can."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from rtseg_ros import shared_memory

from tests.ros.harness import PATIENCE

pytestmark = pytest.mark.ros
NODE = [sys.executable, "-c", "from rtseg_ros.executables import lanes; lanes()", "--ros-args"]


def in_small_memory(
    command: list[str], kib_left: int, environment: dict[str, str], mib: int = 1
) -> subprocess.CompletedProcess[str]:
    """Run a command that sees a /dev/shm of its own of so many MiB, of which so much is left."""
    own = ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*own, "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"], capture_output=True).returncode:
        pytest.skip("this user may not mount a file system of its own")
    taken = 1024 * mib - kib_left
    fill = f"mount -t tmpfs -o size={mib}m tmpfs /dev/shm; head -c {taken}K /dev/zero > /dev/shm/fill; exec "
    return subprocess.run(
        [*own, "sh", "-c", fill + shlex.join(command)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )


@pytest.mark.slow
def test_a_node_without_any_shared_memory_says_so_and_ends(dds: dict[str, str]) -> None:
    ended = in_small_memory(NODE, 0, dds)
    assert ended.returncode == 1, ended.stdout
    assert ended.stdout.startswith("rtseg: expected room in /dev/shm for ROS' libraries, got 0 bytes; remove ")


@pytest.mark.slow
def test_a_node_with_little_shared_memory_says_so_and_goes_on(dds: dict[str, str]) -> None:
    # It is to come up, and fails for want of the model that it is given only after that.
    ended = in_small_memory([*NODE, "-p", "model:=no-such-model", "-p", "exit_on_failure:=true"], 512, dds)
    assert ended.returncode == 1, ended.stdout
    assert "shared memory has 0.5 MiB left in /dev/shm" in ended.stdout
    assert "cannot be configured: expected a bundled model" in ended.stdout


def test_memory_that_fills_while_a_node_runs_is_told_until_there_is_room(dds: dict[str, str]) -> None:
    script = """
import pathlib, rclpy
rclpy.init()
from rtseg_ros.lanes import LanesNode
node, fill = LanesNode(), pathlib.Path("/dev/shm/fill")
for size in (0, 4 << 20, 0):
    try:
        fill.write_bytes(bytes(size))
    except OSError:
        pass
    print("hints:", *node._condition().health.hints)
"""
    ended = in_small_memory([sys.executable, "-c", script], 4096, dds, mib=4)
    told = [line for line in ended.stdout.splitlines() if line.startswith("hints:")]
    assert [told[0], told[2]] == ["hints:", "hints:"], ended.stdout
    assert told[1].startswith("hints: /dev/shm is full (")
    assert "gets results over UDP" in told[1]


def test_nothing_is_said_where_there_is_room_or_no_such_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none"):
        monkeypatch.setattr(shared_memory, "PLACE", str(place))
        assert (shared_memory.why_none_starts(), shared_memory.why_slow(with_profile=True)) == ("", "")
        assert shared_memory.why_full() == ""
    assert os.statvfs(tmp_path).f_bavail > 0
