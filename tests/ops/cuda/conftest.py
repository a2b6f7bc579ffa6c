"""Machines that run the CUDA kernels: the shim on the CPU always, a device where there is one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.ops.cuda.module import Launcher

sys.path.insert(0, str(Path(__file__).parent / "shim"))  # tests are imported without touching the path

from shim_build import ShimLauncher


class Machine:
    """Runs kernels on the CPU; a seed shuffles the order of threads and blocks."""

    def __init__(self, library: Path) -> None:
        self._library = library

    def launcher(self, seed: int = 1, workers: int = 1) -> Launcher:
        return ShimLauncher(self._library, seed, workers)

    def put(self, array: NDArray[Any]) -> Any:
        return np.ascontiguousarray(array)

    def get(self, array: Any) -> NDArray[Any]:
        return array


class Device(Machine):
    """Runs kernels on the GPU, in whatever order it likes."""

    def __init__(self) -> None:
        pass

    def launcher(self, seed: int = 1, workers: int = 1) -> Launcher:
        from rtseg.ops.cuda.module import cuda_launcher

        return cuda_launcher()

    def put(self, array: NDArray[Any]) -> Any:
        import cupy

        return cupy.asarray(np.ascontiguousarray(array))

    def get(self, array: Any) -> NDArray[Any]:
        return array.get()


@pytest.fixture(scope="session", params=["shim", pytest.param("device", marks=pytest.mark.gpu)])
def machine(request: pytest.FixtureRequest) -> Machine:
    if request.param == "device":
        return Device()
    return Machine(request.getfixturevalue("shim_library"))
