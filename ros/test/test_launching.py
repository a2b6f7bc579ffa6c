"""Launch files run by ``ros2 launch`` itself: what is refused, and what a node's end is to whoever launched it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="launch is not installed here")
packages = pytest.importorskip("ament_index_python.packages", reason="launch is not installed here")
pytest.importorskip("ros2launch", reason="ros2 launch is not installed here")

pytestmark = pytest.mark.slow
PATIENCE = 60.0
MISSING = "No module named 'rtseg'"
Launch = Callable[..., "Launched"]


def _there(package: str) -> bool:
    try:
        packages.get_package_prefix(package)
    except packages.PackageNotFoundError:
        return False
    return True


class Launched:
    """A run of ``ros2 launch`` in a session of its own."""

    def __init__(self, log: Path, arguments: tuple[str, ...]) -> None:
        self.log = log
        ros2 = shutil.which("ros2")
        assert ros2 is not None
        environment = {**os.environ, "ROS_DOMAIN_ID": str(random.randint(1, 101)), "ROS_LOG_DIR": str(log.parent)}
        with log.open("wb") as output:
            self.child = subprocess.Popen(
                [ros2, "launch", "rtseg", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def end(self) -> int:
        """The exit code; fails where the launch does not end by itself."""
        try:
            return self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.output()) from None

    def running(self, command: str = "") -> set[int]:
        """Processes of the session that are not over, and whose command line holds a text."""
        found = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
                line = stat.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if int(session) == self.child.pid and state != "Z" and command in line:
                    found.add(int(stat.parent.name))
        return found

    def until(self, done: Callable[[], object], what: str) -> None:
        until = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < until, f"{what}:\n{self.output()}"
            time.sleep(0.1)

    def skip_without_rtseg(self) -> None:
        if MISSING in self.output():
            pytest.skip("rtseg is not installed for this Python, nor for one on the PATH")

    def node_is_ready(self) -> int:
        """Wait for the node `lanes`; gives its process."""
        self.until(lambda: "is ready on" in self.output() or self.child.poll() is not None, "not ready")
        self.skip_without_rtseg()
        (node,) = self.running("lib/rtseg/lanes")
        return node


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start a launch file of the package."""
    if not _there("rtseg"):
        pytest.skip("the workspace is not sourced")
    started: list[Launched] = []

    def start(*arguments: str) -> Launched:
        started.append(Launched(tmp_path / f"{len(started)}.log", arguments))
        return started[-1]

    yield start
    for each in started:
        for process in each.running():
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        each.child.wait()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("lanes.launch.py", "use_sim_time:=maybe"), "expected use_sim_time to be true or false, got 'maybe'"),
        (("lanes.launch.py", "large_frames:=2"), "expected large_frames to be true or false"),
        (("instances.launch.py", "respawn:=often"), "expected respawn to be true or false"),
        (("perception.launch.py", "params_file:=/no/such.yaml"), "there is no /no/such.yaml; mend params_file"),
        (("lanes.launch.py", "log_level:=loud"), "expected log_level to be one of debug"),
        (("lanes.launch.py", "imgae:=/x", "log_level:=loud"), "imgae is no argument; did you mean image?"),
        (("node.launch.py", "executable:=radar"), "expected executable to be one of lanes, instances, perception"),
        (("cameras.launch.py", "cameras:=left left"), "expected cameras to name each camera once"),
        (("replay.launch.py", "bag:=/no/such/bag"), "there is no /no/such/bag; mend bag"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_refused_before_anything_is_started(
    launch: Launch, arguments: tuple[str, ...], told: str
) -> None:
    launched = launch(*arguments)
    assert launched.end() == 1
    assert told in launched.output()
    assert "process started" not in launched.output()


def test_a_viewer_that_is_missing_leaves_no_node_behind(launch: Launch) -> None:
    if _there("rqt_image_view"):
        pytest.skip("rqt_image_view is installed here")
    launched = launch("lanes.launch.py", "overlay:=yes")
    assert launched.end() == 1
    assert "overlay:=true needs rqt_image_view" in launched.output()
    assert not launched.running()


def test_a_node_that_cannot_come_up_ends_the_launch_with_code_1(launch: Launch) -> None:
    launched = launch("lanes.launch.py", "model:=no-such-model")
    assert launched.end() == 1
    assert "has ended with code 1; its log says why" in launched.output()
    assert not launched.running()


def test_a_bag_that_cannot_be_played_ends_the_launch_with_code_1(launch: Launch, tmp_path: Path) -> None:
    launched = launch("replay.launch.py", f"bag:={tmp_path}")
    launched.node_is_ready()
    assert launched.end() == 1
    assert "the bag's player has ended with code" in launched.output()
    assert not launched.running()


def test_a_node_that_is_killed_ends_the_launch_with_code_1(launch: Launch) -> None:
    launched = launch("lanes.launch.py")
    os.kill(launched.node_is_ready(), signal.SIGKILL)
    assert launched.end() == 1
    assert "lanes-1 has ended with code -9" in launched.output()


def test_a_node_that_is_killed_comes_again_where_that_is_asked_for_until_the_launch_is_ended(launch: Launch) -> None:
    launched = launch("lanes.launch.py", "respawn:=on")
    first = launched.node_is_ready()
    os.kill(first, signal.SIGKILL)
    launched.until(lambda: launched.output().count("is ready on") == 2, "it does not come again")
    assert launched.node_is_ready() != first
    os.killpg(launched.child.pid, signal.SIGINT)  # as Ctrl-C
    assert launched.end() == 0
    assert not launched.running()


def test_ctrl_c_while_the_kernels_are_compiled_ends_all_in_good_order(
    launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kernels"))
    launched = launch("instances.launch.py")
    words = ("compiling kernels, once: ", MISSING)
    launched.until(lambda: any(word in launched.output() for word in words), "nothing is compiled")
    launched.skip_without_rtseg()
    os.killpg(launched.child.pid, signal.SIGINT)
    assert launched.end() == 0
    assert "process has finished cleanly" in launched.output()
    assert "escalating" not in launched.output()
    assert not launched.running()


@pytest.mark.parametrize("one_process", ["false", "true"])
def test_each_camera_has_a_node_in_its_namespace(launch: Launch, one_process: str) -> None:
    launched = launch("cameras.launch.py", "cameras:=left right", f"one_process:={one_process}")
    launched.until(
        lambda: launched.output().count("is ready on") == 2 or launched.child.poll() is not None, "not both are ready"
    )
    launched.skip_without_rtseg()
    for camera in ("left", "right"):
        assert f"[{camera}.lanes]" in launched.output()
    nodes = launched.running("lib/rtseg/cameras" if one_process == "true" else "lib/rtseg/lanes")
    assert len(nodes) == (1 if one_process == "true" else 2)
    os.killpg(launched.child.pid, signal.SIGINT)
    assert launched.end() == 0
    assert not launched.running()
