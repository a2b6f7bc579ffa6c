"""The backends there are: one file each, and one entry here."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rtseg.errors import BackendError, ModelError
from rtseg.runtime.backends.base import Backend, DeviceBackend
from rtseg.runtime.card import ModelCard
from rtseg.runtime.device import Device


@dataclass(frozen=True)
class Entry:
    """A backend, and where it runs.

    Attributes:
        module: with ``open_backend(model, card, threads, streams)`` for a CPU, ``open_on_device(model, card, device)``
            for CUDA devices, or both; imported when the backend is opened, since it imports the library.
        libraries: of which it needs one.
        preferred: ``cpu``, ``cuda`` or both, where it is tried unasked.
        possible: where it runs if it is asked for by name.
        extra: of rtseg, which installs a library that suits it; empty where the library has its own name.
        streams: whether a network on a CPU can share its threads out among several frames at a time.
    """

    module: str
    libraries: tuple[str, ...]
    preferred: tuple[str, ...]
    possible: tuple[str, ...] = ()
    extra: str = ""
    streams: bool = False

    @property
    def installed(self) -> bool:
        """Whether one of its libraries is."""
        return any(find_spec(library) is not None for library in self.libraries)

    def runs_on(self, device: str) -> bool:
        """Whether it runs on ``cpu`` or ``cuda`` at all."""
        return device in (*self.preferred, *self.possible)

    def load(self) -> Any:
        """Import its module."""
        return importlib.import_module(f"rtseg.runtime.backends.{self.module}")


MAX_STREAMS = 4
"""Frames whose networks run at a time in a stream; what follows the networks keeps up with no more."""

# Best first; but see `preferred_backends`.
BACKENDS = {
    "tensorrt": Entry("tensorrt", ("tensorrt", "tensorrt_rtx"), ("cuda",), extra="tensorrt"),
    "torch": Entry("torch", ("torch",), ("cuda",), ("cpu",)),  # on a CPU slower than the others
    "onnxruntime": Entry("onnx_runtime", ("onnxruntime",), ("cpu", "cuda"), streams=True),
    "openvino": Entry("openvino", ("openvino",), ("cpu",), extra="openvino", streams=True),
}


def preferred_backends(device: str = "cpu") -> tuple[str, ...]:
    """Names of the backends for a kind of `device` (``cpu`` or ``cuda``), installed or not, best first.

    Where the CPU has AVX-512 VNNI OpenVINO comes first: it runs int8 networks in half to two thirds of ONNX Runtime's
    time there, and in about as much elsewhere.
    """
    names = [name for name, entry in BACKENDS.items() if device in entry.preferred]
    if device == "cpu" and _has_vnni():
        names.sort(key=lambda name: name != "openvino")
    return tuple(names)


@cache
def _has_vnni() -> bool:
    """Whether the CPU multiplies and adds 64 bytes at a time; where its features cannot be read it does not."""
    try:
        return "avx512_vnni" in Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False


def available_backends(device: str = "cpu") -> list[str]:
    """Names of the backends for a kind of `device` (``cpu`` or ``cuda``) whose library is installed, best first."""
    return [name for name in preferred_backends(device) if BACKENDS[name].installed]


def check_backend(name: str, device: str) -> None:
    """Check that a backend is installed and runs on a kind of device.

    Args:
        name: of the backend.
        device: ``cpu`` or ``cuda``.

    Raises:
        BackendError: if not; the message says what to do.
    """
    if name not in BACKENDS:
        raise BackendError(f"expected a backend of {', '.join(sorted(BACKENDS))}, got {name!r}")
    entry = BACKENDS[name]
    if not entry.runs_on(device):
        fitting = sorted(other for other in BACKENDS if BACKENDS[other].runs_on(device))
        raise BackendError(f"expected a backend that runs on {device}: {', '.join(fitting)}, got {name!r}")
    if not entry.installed:
        library = entry.libraries[-1]
        cure = f"'rtseg[{entry.extra}]'" if entry.extra else library
        raise BackendError(f"backend {name} needs the package {library}, which is not installed: pip install {cure}")


def check_backend_names(card: ModelCard) -> None:
    """Check that the backends a card names exist.

    Raises:
        ModelError: if one does not.
    """
    for file in card.files:
        unknown = sorted(set(file.backends) - set(BACKENDS))
        if unknown:
            raise ModelError(
                f"the card of {card.name} names {', '.join(unknown)} as backends of {file.file}, expected some of "
                f"{', '.join(sorted(BACKENDS))}"
            )


def stream_count(name: str, threads: int) -> int:
    """How many backends of a network are opened for a stream of frames: one with each thread, up to MAX_STREAMS.

    A network gains little by a second thread (lanes-lite in OpenVINO: 6.4 ms on two threads, 8.9 ms on one, and two on
    one each give a result every 4.6 ms), but a frame that nobody else waits for is done sooner on all of them.

    Args:
        name: of the backend.
        threads: of all of them together.
    """
    return min(threads, MAX_STREAMS) if BACKENDS[name].streams else 1


def create_backend(name: str, model: Path, card: ModelCard, threads: int, streams: int = 1) -> Backend:
    """Open a network with a backend on the CPU.

    Args:
        name: of the backend.
        model: the network's file.
        card: of the model.
        threads: of the network.
        streams: so many backends opened alike run at a time, and share the threads; 1 where the backend has none.

    Raises:
        BackendError: if the name is unknown, the library is missing, or it cannot load the model.
    """
    check_backend(name, "cpu")
    backend: Backend = BACKENDS[name].load().open_backend(model, card, threads, streams)
    return backend


def create_device_backend(name: str, model: Path, card: ModelCard, device: Device) -> DeviceBackend:
    """Open a network with a backend on a device, which is current, as is a stream.

    Args:
        name: of the backend.
        model: the network's file.
        card: of the model.
        device: where it is to run.

    Raises:
        BackendError: if the backend does not run there, its library is missing, or it cannot load the model.
        ModelError: if the network does not fit the backend or the card.
    """
    check_backend(name, "cuda")
    backend: DeviceBackend = BACKENDS[name].load().open_on_device(model, card, device)
    return backend
