"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rtseg.counted import counted

_LIBRARIES = (
    *("numpy", "numba", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "openvino", "torch"),
    *("cupy-cuda13x", "cupy-cuda12x", "tensorrt", "tensorrt_rtx"),
)


def machine_facts() -> list[tuple[str, str]]:
    """Processor, cores, caches of a core, system and Python as (name, value); no caches where the system hides them."""
    caches = _caches(Path("/sys/devices/system/cpu/cpu0/cache"))
    return [
        ("processor", f"{_processor()}, {counted(os.cpu_count() or 1, 'core')}"),
        *([("caches", caches)] if caches else []),
        ("system", f"{platform.system()} {platform.release()}, Python {platform.python_version()}"),
    ]


def _processor() -> str:
    # platform.processor() is empty on most Linux systems; Arm boards name the board, not the processor.
    for path, mark in (("/proc/cpuinfo", "model name"), ("/proc/device-tree/model", "")):
        try:
            text = Path(path).read_text(errors="replace")
        except OSError:
            continue
        for line in text.replace("\0", "\n").splitlines():
            if line.startswith(mark) and line.strip():
                return line.partition(":")[2].strip() if mark else line.strip()
    return platform.machine()


def _caches(folder: Path) -> str:
    """The caches that a core sees, such as ``L1 48K, L2 2048K, L3 307200K``, of Linux's folder of them."""
    found = []
    for cache in sorted(folder.glob("index*")):
        try:
            level, kind, size = ((cache / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            found.append(f"L{level} {size}")
    return ", ".join(found)


def hardware_name(device: str | None = None) -> str:
    """A short name for the machine: the card where frames run on one, else the board or the cores of the CPU."""
    if device:
        return re.sub(r"^cuda:\d+ ", "", device)
    board = Path("/proc/device-tree/model")
    try:
        return board.read_text(errors="replace").strip("\0 \n")
    except OSError:
        return f"{_processor()}, {counted(os.cpu_count() or 1, 'core')}"


def library_versions() -> dict[str, str]:
    """Versions of the installed libraries that decide how fast frames run."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Short hash of the checkout that this code is in, with "-dirty" where it was changed; empty elsewhere."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return ""
    try:
        answers = [
            subprocess.run(["git", "-C", str(root), *asked], capture_output=True, text=True, check=True).stdout.strip()
            for asked in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "--untracked-files=no", "rtseg"])
        ]
    except (OSError, subprocess.CalledProcessError):
        return ""
    return answers[0] + "-dirty" * bool(answers[1])


def utc_now() -> str:
    """The time, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
