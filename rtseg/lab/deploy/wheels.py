"""Whether the package index has an arm64 wheel of everything that the runtime needs on a Jetson.

``rtseg lab jetson-wheels`` asks pip to resolve the runtime's dependencies, theirs too, for each JetPack, wheels only,
and prints what it found as the table of docs/jetson.md. Nothing is installed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import requires
from typing import Any

from rtseg.printing import console

_SYSTEM = "TensorRT, CUDA and ROS 2 come from JetPack and apt"


@dataclass(frozen=True)
class JetPack:
    """A JetPack release, as far as wheels go.

    Attributes:
        name: for a person.
        python: of its Ubuntu.
        glibc: minor version of its C library.
        cupy: the wheel for its CUDA.
    """

    name: str
    python: str
    glibc: int
    cupy: str

    @property
    def platforms(self) -> list[str]:
        """Wheel tags that its pip accepts."""
        return ["manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in range(17, self.glibc + 1))]


JETPACKS = (
    JetPack("JetPack 6 (Ubuntu 22.04, CUDA 12)", "3.10", 35, "cupy-cuda12x"),
    JetPack("JetPack 7 (Ubuntu 24.04, CUDA 13)", "3.12", 39, "cupy-cuda13x"),
)


def runtime_requirements(jetpack: JetPack) -> list[str]:
    """What ``pip install rtseg`` brings, CuPy for that JetPack, and onnx, with which engines are compiled."""
    return [*(one for one in requires("rtseg") or [] if "extra ==" not in one), jetpack.cupy, "onnx"]


def resolve(jetpack: JetPack, requirements: list[str]) -> dict[str, str]:
    """Wheel file by package, as pip would install them there.

    Raises:
        LookupError: pip finds no set of wheels; the message is its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        command += ["--report", "-", "--target", folder, "--only-binary", ":all:"]
        command += ["--python-version", jetpack.python, "--implementation", "cp"]
        command += [part for platform in jetpack.platforms for part in ("--platform", platform)]
        answer = subprocess.run([*command, *requirements], capture_output=True, text=True, check=False)
    if answer.returncode:
        errors = [line for line in answer.stderr.splitlines() if line.startswith("ERROR")]
        raise LookupError("; ".join(errors) or answer.stderr.strip())
    return wheels_of(json.loads(answer.stdout))


def wheels_of(report: dict[str, Any]) -> dict[str, str]:
    """Wheel file by package of pip's installation report."""
    return {
        entry["metadata"]["name"].lower(): entry["download_info"]["url"].rpartition("/")[2]
        for entry in report["install"]
    }


def print_wheels() -> bool:
    """Print the table; False if something is missing."""
    complete = True
    for jetpack in JETPACKS:
        _lines("", f"{jetpack.name}, Python {jetpack.python}", "")
        try:
            wheels = resolve(jetpack, runtime_requirements(jetpack))
        except LookupError as error:
            console.print(error)
            complete = False
            continue
        compiled = {name: file for name, file in wheels.items() if not file.endswith("-any.whl")}
        _lines("| package | wheel |", "|---|---|")
        for name, file in sorted(compiled.items()):
            console.print(f"| {name} | `{file}` |")
        pure = sorted(set(wheels) - set(compiled))
        _lines("", f"Pure Python: {', '.join(pure)}.")
    _lines("", f"{_SYSTEM}.")
    return complete


def _lines(*lines: str) -> None:
    for line in lines:
        console.print(line)
