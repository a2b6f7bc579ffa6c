"""Data races between the threads of a launch, found by ThreadSanitizer with every CUDA thread a fiber of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from shim_build import SHIM, build

REPOSITORY = SHIM.parents[3]


def check(library: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    runtime = subprocess.run(["g++", "-print-file-name=libtsan.so"], capture_output=True, text=True, check=True)
    if not Path(runtime.stdout.strip()).is_absolute():
        pytest.skip("libtsan is not installed beside g++")
    environment = os.environ | {"LD_PRELOAD": runtime.stdout.strip(), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(SHIM / "race_check.py"), str(library), *arguments]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)
    if "FATAL: ThreadSanitizer" in finished.stderr:  # address space layouts that it does not know
        pytest.skip(f"ThreadSanitizer does not run here: {finished.stderr.splitlines()[0]}")
    return finished


@pytest.mark.slow
def test_missing_barrier_is_a_race(shim_folder: Path) -> None:
    library = build(shim_folder, SHIM, find_races=True)
    assert check(library, "reverse_with_barrier").returncode == 0
    faulty = check(library, "reverse_without_barrier")
    assert faulty.returncode != 0
    assert "ThreadSanitizer: data race" in faulty.stderr


@pytest.mark.slow
def test_kernels_have_no_races(shim_folder: Path) -> None:
    finished = check(build(shim_folder, find_races=True))
    assert finished.returncode == 0, finished.stderr[:4000]
