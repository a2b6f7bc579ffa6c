"""The interfaces that backends have, and how one is opened."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import BackendError
from rtseg.runtime.card import ModelCard

if TYPE_CHECKING:
    from rtseg.runtime.gpu.device import Device

# Name of the backend, the module it lives in, the libraries of which it needs one.
_BACKENDS = {
    "onnxruntime": ("rtseg.runtime.backends.onnx_runtime", ("onnxruntime",)),
    "openvino": ("rtseg.runtime.backends.openvino", ("openvino",)),
    "tensorrt": ("rtseg.runtime.backends.tensorrt", ("tensorrt", "tensorrt_rtx")),
    "torch": ("rtseg.runtime.backends.torch", ("torch",)),
}

# In order of preference; torch runs on a CPU too, but slower than the others.
_PREFERRED = {"cpu": ("onnxruntime", "openvino"), "cuda": ("tensorrt", "torch", "onnxruntime")}
_POSSIBLE = {"cpu": ("onnxruntime", "openvino", "torch"), "cuda": _PREFERRED["cuda"]}


class Backend(Protocol):
    """Runs one network on the CPU."""

    name: str

    def infer(self, tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Run the network.

        Args:
            tensor: (1, 3, h, w) float32, as the card's input says.

        Returns:
            each output's (1, C, h', w') float32 by name; the caller's own, the next call does not overwrite it.

        Raises:
            BackendError: if the library fails.
        """
        ...

    def warm_up(self) -> None:
        """Run once on a blank input so that the first real frame is not the slow one."""
        ...

    def describe(self) -> dict[str, str]:
        """Facts for a person: library version, device, threads, precision."""
        ...

    def close(self) -> None:
        """Give back what the backend holds."""
        ...


class DeviceBackend(Protocol):
    """Runs one network on a device: the four methods of :class:`Backend` over arrays that stay there.

    Attributes:
        name: as in a card.
        input_dtype: type of the input, ``float32`` or ``float16``.
        capturable: whether a run may be captured in a CUDA graph after one that was not.
    """

    name: str
    input_dtype: Any

    @property
    def capturable(self) -> bool: ...

    def infer(self, tensor: Any) -> dict[str, Any]:
        """Enqueue the network on CuPy's current stream.

        Args:
            tensor: (1, 3, h, w) of `input_dtype` on the device; kept, so that its address stays its own.

        Returns:
            each output's (1, C, h', w') float32 on the device by name. The first run with a tensor allocates them, and
            every further run with that tensor writes to the same: frames in flight on several streams do not disturb
            each other when each has a tensor of its own.

        Raises:
            BackendError: if memory runs out or the library fails.
        """
        ...

    def warm_up(self) -> None:
        """Run once on a blank input and wait for it."""
        ...

    def describe(self) -> dict[str, str]: ...

    def close(self) -> None: ...


def preferred_backends(device: str = "cpu") -> tuple[str, ...]:
    """Names of the backends for ``cpu`` or ``cuda``, installed or not, best first."""
    return _PREFERRED[device]


def available_backends(device: str = "cpu") -> list[str]:
    """Names of the backends for ``cpu`` or ``cuda`` whose library is installed, best first."""
    return [name for name in _PREFERRED[device] if _is_installed(name)]


def check_backend(name: str, device: str) -> None:
    """Check that a backend of that name is installed and runs on ``cpu`` or ``cuda``.

    Raises:
        BackendError: if not; the message says what to do.
    """
    if name not in _BACKENDS:
        raise BackendError(f"expected a backend of {', '.join(_BACKENDS)}, got {name!r}")
    if name not in _POSSIBLE[device]:
        raise BackendError(f"expected a backend that runs on {device}: {', '.join(_POSSIBLE[device])}, got {name!r}")
    if not _is_installed(name):
        library = _BACKENDS[name][1][-1]
        raise BackendError(f"backend {name} needs the package {library}, which is not installed: pip install {library}")


def create_backend(name: str, model: Path, card: ModelCard, threads: int) -> Backend:
    """Open `model` with the named backend on the CPU.

    Raises:
        BackendError: if the name is unknown, the library is missing, or it cannot load the model.
    """
    check_backend(name, "cpu")
    backend: Backend = importlib.import_module(_BACKENDS[name][0]).open_backend(model, card, threads)
    if card.grouping.parameters.get("flip") is True:
        from rtseg.instances.flip import FlipBackend

        return FlipBackend(backend, card)
    return backend


def create_device_backend(name: str, model: Path, card: ModelCard, device: Device) -> DeviceBackend:
    """Open `model` with the named backend on a device, which is current, as is a stream.

    Raises:
        BackendError: if the backend does not run there, its library is missing, or it cannot load the model.
        ModelError: if the network does not fit the backend or the card.
    """
    check_backend(name, "cuda")
    if card.grouping.parameters.get("flip") is True:
        raise BackendError(f"the card of {card.name} asks for flip inference, which runs on the CPU only")
    backend: DeviceBackend = importlib.import_module(_BACKENDS[name][0]).open_on_device(model, card, device)
    return backend


def _is_installed(name: str) -> bool:
    return any(find_spec(library) is not None for library in _BACKENDS[name][1])
