"""The workspace's executables: each finds the Python that rtseg is installed in, and starts nodes there.

ROS comes with the system's Python, into which Ubuntu 24.04 lets nobody install; rtseg then lives in an environment of
its own, while colcon writes the system's Python into the scripts. So a script that does not find rtseg goes on in the
first ``python3`` of the PATH, which is that environment's where it is active; RTSEG_PYTHON names its Python where it is
not (under systemd, say). Nothing of rtseg is imported before that is settled.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sys
from pathlib import Path

from rtseg_ros import shared_memory

VARIABLE = "RTSEG_PYTHON"


def lanes() -> None:
    """Run the node ``lanes``."""
    _run("lanes")


def instances() -> None:
    """Run the node ``instances``."""
    _run("instances")


def perception() -> None:
    """Run the node ``perception``."""
    _run("perception")


def cameras() -> None:
    """Run nodes of several cameras in this process."""
    _run("cameras")


def player() -> None:
    """Run the player of recordings."""
    _run("player")


def recorder() -> None:
    """Run the recorder of masks."""
    _run("recorder")


def _run(module: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # until the node takes them there is nothing to be put in order
        signal.signal(number, lambda *_: os._exit(0))
    environment = dict(os.environ)
    python = environment.pop(VARIABLE, None)
    if not python and importlib.util.find_spec("rtseg") is None:
        python = shutil.which("python3")
    # No links resolved: an environment's Python is a link to the one that it was made with.
    if python and Path(python).expanduser().absolute() != Path(sys.executable).absolute():
        try:
            os.execve(str(Path(python).expanduser()), [python, *sys.argv], environment)
        except OSError as error:
            sys.exit(f"rtseg: expected {VARIABLE} to name a Python, got {python!r}: {error}")
    if reason := shared_memory.why_none_starts():
        sys.exit(f"rtseg: {reason}")
    try:
        importlib.import_module("rtseg")
        importlib.import_module("rclpy")
    except ImportError as error:
        sys.exit(
            f"rtseg: {error}, in {sys.executable}; activate the environment that rtseg is installed in, or name its "
            f"Python in {VARIABLE} (it has to be the version that ROS was built for)"
        )
    from rtseg_ros import ros_arguments

    try:
        importlib.import_module(f"rtseg_ros.{module}").main()
    except ros_arguments.REFUSALS as error:
        sys.exit(f"rtseg: {ros_arguments.refusal(error)}")
