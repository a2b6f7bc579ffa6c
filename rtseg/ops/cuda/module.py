"""The CUDA sources beside this file: reading, compiling and launching them.

Plans launch through a :class:`Launcher`, so that the same plan drives a device through CuPy and, in the tests, the same
sources built for the CPU.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rtseg.errors import BackendError

FOLDER = Path(__file__).resolve().parent

# The architectures the sources are checked for: Turing to Blackwell, Orin (87), Thor (110) and Spark (121) among them.
CAPABILITIES = (75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121)

# Without contraction to fused multiply-adds every float result is bit for bit that of the CPU form.
OPTIONS = ("--std=c++17", "--fmad=false")

_KERNEL = re.compile(r'^extern "C" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(', re.MULTILINE)
_INCLUDE = re.compile(r'^#include "([\w.]+)"\n', re.MULTILINE)


class Launcher(Protocol):
    """Where kernels run: allocates with `xp` (CuPy, or NumPy in the tests) and launches on the current stream."""

    xp: Any

    def prepare(self, source: str) -> None:
        """Compile and load the kernels of `source`, so that a later launch may be captured in a CUDA graph."""

    def launch(self, source: str, kernel: str, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any) -> None:
        """Launch a kernel; arrays pass as pointers, Python integers as 32-bit, Python floats as float32."""


def source_names() -> list[str]:
    """Names of the kernel files, without their suffix."""
    return sorted(path.stem for path in FOLDER.glob("*.cu"))


def kernel_names(source: str) -> list[str]:
    """Names of the kernels that a file defines."""
    return find_kernels((FOLDER / f"{source}.cu").read_text())


def find_kernels(text: str) -> list[str]:
    """Names of the ``extern "C" __global__`` kernels in a source text."""
    return _KERNEL.findall(text)


@cache
def read_source(source: str) -> str:
    """Give the text of a kernel file with its own headers put in place.

    CuPy's cache on disk is keyed by this text, so that a changed header is never overlooked.
    """
    seen: set[str] = set()

    def expand(name: str) -> str:
        def include(match: re.Match[str]) -> str:
            if match[1] in seen:
                return ""
            seen.add(match[1])
            return expand(match[1])

        text = _INCLUDE.sub(include, (FOLDER / name).read_text())
        return text.replace("#pragma once\n", "")

    return expand(f"{source}.cu")


def compile_source(source: str, capability: int) -> bytes:
    """Compile a kernel file to a cubin with NVRTC; needs no device.

    Args:
        source: name of the file without ``.cu``.
        capability: compute capability times ten, such as 87.

    Raises:
        BackendError: if NVRTC is not installed or the source does not compile; the compiler's words are passed on.
    """
    try:
        from cupy.cuda import nvrtc
    except ImportError as error:
        raise BackendError(f"expected CuPy with NVRTC, got {error}; pip install 'rtseg[gpu]'") from error
    program = nvrtc.createProgram(read_source(source), f"{source}.cu", (), ())
    try:
        nvrtc.compileProgram(program, (*OPTIONS, f"--gpu-architecture=sm_{capability}"))
        return nvrtc.getCUBIN(program)
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program)
        raise BackendError(f"expected {source}.cu to compile for sm_{capability}, got {error}: {log}") from error
    finally:
        nvrtc.destroyProgram(program)


class CudaLauncher:
    """Launches on the current CuPy device and stream."""

    def __init__(self) -> None:
        import cupy

        self.xp = cupy
        self._modules: dict[tuple[int, str], Any] = {}
        self._kernels: dict[tuple[int, str], Any] = {}

    def prepare(self, source: str) -> None:
        device = self.xp.cuda.runtime.getDevice()
        if (device, source) not in self._modules:
            module = self.xp.RawModule(code=read_source(source), options=OPTIONS, backend="nvrtc")
            module.compile()
            for name in kernel_names(source):
                self._kernels[device, name] = module.get_function(name)
            self._modules[device, source] = module

    def launch(self, source: str, kernel: str, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any) -> None:
        device = self.xp.cuda.runtime.getDevice()
        function = self._kernels.get((device, kernel))
        if function is None:
            self.prepare(source)
            function = self._kernels[device, kernel]
        function(grid, block, tuple(_as_parameter(argument) for argument in arguments))


def _as_parameter(argument: Any) -> Any:
    if isinstance(argument, int):
        return np.int32(argument)
    if isinstance(argument, float):
        return np.float32(argument)
    return argument


@cache
def cuda_launcher() -> CudaLauncher:
    """The process-wide launcher; compiled modules are kept for every device they ran on.

    Raises:
        BackendError: if CuPy is not installed.
    """
    try:
        return CudaLauncher()
    except ImportError as error:
        raise BackendError(f"expected CuPy for arrays on a device, got {error}; pip install 'rtseg[gpu]'") from error


def blocks(items: int, threads: int) -> int:
    """Blocks of `threads` that cover `items`, at least one, since a grid may not be empty."""
    return max(1, -(-items // threads))
