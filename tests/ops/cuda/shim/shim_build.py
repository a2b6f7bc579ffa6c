"""Builds the CUDA sources for the CPU behind the shim, and launches them like a device."""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from rtseg.ops.cuda import module

SHIM = Path(__file__).resolve().parent
FLAGS = ["-std=c++20", "-O1", "-g", "-fPIC", "-ffp-contract=off", "-Wall", "-U_FORTIFY_SOURCE", "-pthread"]


class LaunchError(AssertionError):
    """A launch that a device would refuse, hang on or misread."""


def build(folder: Path, sources: Path = module.FOLDER, find_races: bool = False) -> Path:
    """Compile all kernels of `sources` and the scheduler into one shared library in `folder`, unless it is there.

    With `find_races` the library is for processes that have libtsan preloaded, which then reports data races.
    """
    kernels = sorted(sources.glob("*.cu"))
    files = [*kernels, *sorted(module.FOLDER.glob("*.cuh")), *sorted(SHIM.glob("cuda_shim.*"))]
    digest = hashlib.sha256(
        b"".join(path.read_bytes() for path in files) + repr((FLAGS, find_races)).encode()
    ).hexdigest()
    library = folder / f"kernels-{digest[:16]}.so"
    with FileLock(folder / "lock"):  # tests may run side by side
        if not library.exists():
            _compile(library, kernels, digest, find_races)
    return library


def _compile(library: Path, kernels: list[Path], digest: str, find_races: bool) -> None:
    folder = library.parent
    lines = ['#include "cuda_shim.h"', '#include "common.cuh"']
    for path in kernels:
        names = " ".join(f"SHIM_REGISTER({name})" for name in module.find_kernels(path.read_text()))
        lines += [f"namespace {path.stem} {{", f'#include "{path}"', names, "}"]
    unit = folder / f"kernels-{digest[:16]}.cpp"
    unit.write_text("\n".join(lines) + "\n")
    objects = []
    for path in (unit, SHIM / "cuda_shim.cpp"):
        objects.append(folder / f"{path.stem}-{digest[:16]}.o")
        extra = [] if not find_races else ["-fsanitize=thread"] if path == unit else ["-DSHIM_TSAN"]
        command = ["g++", *FLAGS, *extra, f"-I{SHIM}", f"-I{module.FOLDER}", "-c", str(path), "-o", str(objects[-1])]
        subprocess.run(command, check=True, timeout=900)
    partial = library.with_suffix(".partial")
    link = ["-fsanitize=thread"] if find_races else []
    command = ["g++", "-shared", "-pthread", *link, *map(str, objects), "-o", str(partial)]
    subprocess.run(command, check=True, timeout=900)
    partial.rename(library)


class ShimLauncher:
    """Launches kernels on the CPU; `seed` draws the order of threads and blocks, 0 keeps them in ascending order."""

    xp = np

    def __init__(self, library: Path, seed: int = 1, workers: int = 1) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.shim_launch.argtypes = [
            ctypes.c_char_p,
            ctypes.POINTER(ctypes.c_uint * 3),
            ctypes.POINTER(ctypes.c_uint * 3),
            ctypes.POINTER(ctypes.c_void_p),
            ctypes.c_ulonglong,
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_int,
        ]
        self.seed = seed
        self.workers = workers
        self.launches = 0

    def prepare(self, source: str) -> None:
        assert source in module.source_names()

    def launch(self, source: str, kernel: str, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any) -> None:
        sizes = (ctypes.c_int * 64)()
        count = self._library.shim_parameters(kernel.encode(), sizes, 64)
        if count < 0 or (source in module.source_names() and kernel not in module.kernel_names(source)):
            raise LaunchError(f"{source}.cu has no kernel {kernel}")
        expected = list(sizes[:count])
        held = [_as_c(argument) for argument in arguments]
        given = [_code(argument) for argument in arguments]
        if given != expected:
            raise LaunchError(f"{kernel} takes parameters {expected}, got {given} (sizes; see Sizes in cuda_shim.h)")
        pointers = (ctypes.c_void_p * len(held))(*(ctypes.addressof(value) for value in held))
        message = ctypes.create_string_buffer(256)
        self.launches += 1
        seed = self.seed and self.seed * 1_000_003 + self.launches
        size = [(ctypes.c_uint * 3)(*(*dimensions, 1, 1)[:3]) for dimensions in (grid, block)]
        if self._library.shim_launch(kernel.encode(), size[0], size[1], pointers, seed, self.workers, message, 256):
            raise LaunchError(message.value.decode())


def _as_c(argument: Any) -> Any:
    if isinstance(argument, np.ndarray):
        assert argument.flags.c_contiguous
        return ctypes.c_void_p(argument.ctypes.data)
    if isinstance(argument, int):
        return ctypes.c_int(argument)
    if isinstance(argument, float):
        return ctypes.c_float(argument)
    raise LaunchError(f"a kernel argument of type {type(argument).__name__}")


def _code(argument: Any) -> int:
    if isinstance(argument, np.ndarray):
        return -(argument.dtype.itemsize + 100 * (argument.dtype.kind == "f"))
    return 104 if isinstance(argument, float) else 4
