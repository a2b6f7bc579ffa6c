"""A workspace on a system whose Python has ROS but not rtseg, which lives in an environment of its own.

So it is on Ubuntu 24.04: nobody may install into the system's Python. Both are made here of links to what is installed:
one has rclpy, colcon and what they need, the other rtseg and its libraries; where ROS is sourced, PYTHONPATH holds the
former.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ros, pytest.mark.slow]
REPOSITORY = Path(__file__).resolve().parents[2]
OF_RTSEG = {"annotated_types", "backports", "cv2", "flatbuffers", "google", "llvmlite", "lz4", "numba", "onnxruntime"}
OF_RTSEG |= {"pil", "pillow", "pydantic", "pydantic_core", "simplejpeg", "typing_extensions", "typing_inspection"}
OF_BOTH = {"numpy", "yaml", "_yaml"}


def _environment(folder: Path) -> Path:
    """An empty environment; gives its site-packages."""
    venv.create(folder, with_pip=False)
    return Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The system's environment and that of rtseg."""
    folder = tmp_path_factory.mktemp("system")
    installed = Path(sysconfig.get_path("purelib"))
    ros, library = _environment(folder / "ros"), _environment(folder / "rtseg")
    for entry in installed.iterdir():
        top = entry.name.partition("-")[0].partition(".")[0].lower()
        if entry.suffix == ".pth" or "rtseg" in top or top in sys.stdlib_module_names:
            continue
        of_rtseg = top in OF_RTSEG or top.removesuffix("_headless") in ("opencv_python",)
        if not of_rtseg:
            (ros / entry.name).symlink_to(entry)
        if of_rtseg or top in OF_BOTH:
            (library / entry.name).symlink_to(entry)
    (library / "rtseg").symlink_to(REPOSITORY / "rtseg")
    return folder / "ros", folder / "rtseg"


def _sourced(ros: Path, *active: Path, **more: str) -> dict[str, str]:
    """The environment of a shell that has sourced ROS, with an environment active or not."""
    ros_packages = sysconfig.get_path("purelib", vars={"base": str(ros), "platbase": str(ros)})
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "VIRTUAL_ENV")}
    path = [str(each / "bin") for each in (*active, ros)]
    environment.update(PATH=os.pathsep.join([*path, os.environ["PATH"]]), PYTHONPATH=ros_packages, **more)
    return environment


@pytest.fixture(scope="module", params=[(), ("--symlink-install",)], ids=["copied", "linked"])
def built(request: pytest.FixtureRequest, system: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace, built by the system's colcon."""
    folder = tmp_path_factory.mktemp("split")
    ignore = shutil.ignore_patterns("build", "install", "log", "*.egg-info", "__pycache__")
    shutil.copytree(REPOSITORY / "ros", folder / "src" / "rtseg", ignore=ignore)
    ros, library = system
    command = [str(ros / "bin" / "python3"), "-m", "colcon", "build", *request.param]
    result = subprocess.run(
        command, cwd=folder, env=_sourced(ros, library), capture_output=True, text=True, check=False, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def _run(workspace: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    executable = workspace / "install" / "rtseg" / "lib" / "rtseg" / "lanes"
    script = f'. {workspace}/install/setup.bash && exec {executable} "$@"'
    command = ["bash", "-c", script, "lanes", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


FAILING = ("--ros-args", "-p", "model:=no-such-model", "-p", "exit_on_failure:=true")


def test_the_node_finds_the_active_environment(built: Path, system: tuple[Path, Path], dds: dict[str, str]) -> None:
    ros, library = system
    assert not any((Path(path) / "rtseg").exists() for path in _sourced(ros)["PYTHONPATH"].split(os.pathsep))
    result = _run(built, _sourced(ros, library, ROS_DOMAIN_ID=dds["ROS_DOMAIN_ID"]), *FAILING)
    assert "expected a bundled model" in result.stderr, result.stderr
    assert result.returncode == 1


def test_the_node_finds_the_environment_that_is_named(
    built: Path, system: tuple[Path, Path], dds: dict[str, str]
) -> None:
    ros, library = system
    named = {"RTSEG_PYTHON": str(library / "bin" / "python3"), "ROS_DOMAIN_ID": dds["ROS_DOMAIN_ID"]}
    result = _run(built, _sourced(ros, **named), *FAILING)
    assert "expected a bundled model" in result.stderr, result.stderr
    assert result.returncode == 1


def test_without_either_it_says_what_to_do(built: Path, system: tuple[Path, Path]) -> None:
    result = _run(built, _sourced(system[0]))
    assert result.returncode == 1
    assert "No module named 'rtseg'" in result.stderr
    assert "RTSEG_PYTHON" in result.stderr
    assert "Traceback" not in result.stderr
    result = _run(built, _sourced(system[0], RTSEG_PYTHON="/no/such/python"))
    assert result.returncode == 1
    assert "/no/such/python" in result.stderr
    assert "Traceback" not in result.stderr


def test_colcon_test_runs_the_packages_own_tests(built: Path, system: tuple[Path, Path]) -> None:
    ros, library = system
    command = [str(ros / "bin" / "python3"), "-m", "colcon", "test", "--return-code-on-test-failure"]
    result = subprocess.run(
        [*command, "--event-handlers", "console_direct+"],
        cwd=built,
        env=_sourced(ros, library),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout


def test_the_system_is_as_described(system: tuple[Path, Path]) -> None:
    ros, library = system
    for python, module, there in ((ros, "rclpy", True), (ros, "rtseg", False), (ros, "cv2", False)):
        command = [str(python / "bin" / "python3"), "-I", "-c", f"import {module}"]
        assert (subprocess.run(command, capture_output=True, check=False, cwd="/").returncode == 0) == there, module
    command = [str(library / "bin" / "python3"), "-I", "-c", "import rtseg"]
    assert subprocess.run(command, capture_output=True, check=False, cwd="/").returncode == 0
