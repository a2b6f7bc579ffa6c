"""Fixtures for tests of the node: a colcon workspace, the node in a process of its own, and a peer over DDS."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

if sys.version_info >= (3, 13):
    pytest.skip("rclpy has no wheels for this Python", allow_module_level=True)

rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed (pip install rtseg[ros])")

from rtseg_ros.transport import private_environment  # noqa: E402

import rtseg  # noqa: E402
from tests.instance_networks import write_instance_model  # noqa: E402
from tests.ros.harness import Peer, Process  # noqa: E402
from tests.threshold_network import write_threshold_model  # noqa: E402


@pytest.hookimpl(tryfirst=True)  # before -m "not slow" is looked at
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Each starts a process that imports, loads and discovers for seconds before the first frame.
    for item in items:
        if "start_node" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def dds() -> Iterator[dict[str, str]]:
    """A DDS domain of this test session's own; also the environment for the processes of the test."""
    before = dict(os.environ)
    environment = private_environment(os.environ)
    os.environ.update(environment)
    rclpy.init(args=[])
    yield environment
    rclpy.shutdown()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which colcon has built ros/."""
    folder = tmp_path_factory.mktemp("workspace")
    ignore = shutil.ignore_patterns("build", "install", "log", "*.egg-info", "__pycache__")
    shutil.copytree(REPOSITORY / "ros", folder / "src" / "rtseg", ignore=ignore)
    # colcon takes the Python it runs on for that of the workspace.
    built = subprocess.run(
        [sys.executable, "-m", "colcon", "build", "--event-handlers", "console_direct+"],
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a lane model that answers to colors.

    It is compiled here, so that the processes of the tests find it in Numba's cache: two that fill it at a time may
    spoil it for each other.
    """
    folder = write_threshold_model(tmp_path_factory.mktemp("model") / "thresholds")
    rtseg.load(folder).warm_up()
    return folder


@pytest.fixture(scope="session")
def instance_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an instance model that answers to colors, compiled here as `model` is."""
    folder = write_instance_model(tmp_path_factory.mktemp("instances") / "blocks")
    rtseg.load(folder).warm_up()
    return folder


_namespaces = (f"/test{number}" for number in itertools.count())


@pytest.fixture
def start_node(dds: dict[str, str], workspace: Path, model: Path, tmp_path: Path) -> Iterator[Callable[..., Peer]]:
    """Start the colcon-built executable; keyword arguments are parameters. Gives a peer in the node's namespace.

    A test that uses it is marked slow.
    """
    peers: list[Peer] = []

    def start(
        *remappings: str, executable: str = "lanes", params_file: Path | None = None, **parameters: object
    ) -> Peer:
        namespace = next(_namespaces)
        values = {"model": str(model), **parameters}
        arguments = ["-r", f"__ns:={namespace}"]
        for remapping in remappings:
            arguments += ["-r", remapping]
        if params_file is not None:
            arguments += ["--params-file", str(params_file)]
        for name, value in values.items():
            text = str(value).lower() if isinstance(value, bool) else value
            arguments += ["-p", f'{name}:="{text}"' if isinstance(value, str) else f"{name}:={text}"]
        path = workspace / "install" / "rtseg" / "lib" / "rtseg" / executable
        command = ["bash", "-c", f'. {workspace}/install/setup.bash && exec {path} "$@"', executable]
        process = Process([*command, "--ros-args", *arguments], dds, tmp_path / f"{executable}{len(peers)}.log")
        peer = Peer(namespace, process, executable)
        peers.append(peer)
        return peer

    yield start
    for peer in peers:
        peer.close()
        peer.process.end()
