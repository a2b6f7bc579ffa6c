"""OpenVINO on the CPU, where it is installed: faster than ONNX Runtime on CPUs with AVX-512 VNNI."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import BackendError
from rtseg.runtime.backends.loading_faults import cannot_load
from rtseg.runtime.backends.openvino_pixels import taking_pixels
from rtseg.runtime.backends.shared import OpenNetworks
from rtseg.runtime.backends.signature import Shape, check_signature
from rtseg.runtime.backends.without_converter import openvino
from rtseg.runtime.card import ModelCard

_COMPILED: OpenNetworks[openvino.CompiledModel] = OpenNetworks()
# At its first use OpenVINO's binding looks up what it needs of NumPy; of two threads that come to that at once each
# waits for the other for ever, one of them with Python's lock.
_OPENING = threading.Lock()


class OpenVinoBackend:
    """An OpenVINO infer request on the CPU plugin, computing in float32 as the other backends do.

    All backends of a network have a request each of the same compiled one. Those of int8 networks may take pixels.
    """

    name = "openvino"

    def __init__(self, model: Path, card: ModelCard, threads: int, streams: int = 1) -> None:
        try:
            with _OPENING:
                settings = threads, streams, repr((card.input, card.outputs))
                network = _COMPILED.get(model, settings, lambda: _compile(model, card, threads, streams))
            self._request = network.create_infer_request()
        except (RuntimeError, MemoryError) as error:
            raise cannot_load("OpenVINO", model, error) from error
        self._network = network
        ports = {_name(port, card): port for port in network.outputs}
        self._outputs = {output.name: tuple(ports[output.name].shape) for output in card.outputs}
        self.takes_pixels = network.inputs[0].element_type == openvino.Type.u8
        self._blank = np.zeros(tuple(network.inputs[0].shape), np.uint8 if self.takes_pixels else np.float32)
        self._threads = threads

    def infer(self, tensor: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        maps = {name: np.empty(shape, np.float32) for name, shape in self._outputs.items()}
        try:
            self._request.set_input_tensor(openvino.Tensor(tensor, shared_memory=True))
            for name, values in maps.items():  # it writes there: nothing is copied
                self._request.set_tensor(name, openvino.Tensor(values, shared_memory=True))
            self._request.infer(share_outputs=True)
            return maps
        except RuntimeError as error:
            raise BackendError(f"OpenVINO failed on a frame: {error}") from error

    def warm_up(self) -> None:
        self.infer(self._blank)

    def describe(self) -> dict[str, str]:
        return {
            "backend": f"OpenVINO {openvino.__version__.split('-')[0]}",
            "device": "CPU",
            "threads": str(self._threads),
        }

    def close(self) -> None:
        del self._request, self._network


@cache
def _core() -> openvino.Core:
    """The process's only one, never given up.

    On CPUs with AMX each one's plugin gives its thread a stack for signals, and when it goes puts back the one that it
    found. Of several that went in another order than they came a stack was left that is no longer there, and the next
    signal that Python handles (Ctrl-C, SIGTERM, the end of a child) ended the process without a word.
    """
    return openvino.Core()


def _compile(model: Path, card: ModelCard, threads: int, streams: int) -> openvino.CompiledModel:
    core = _core()
    network = core.read_model(model)
    check_signature(
        card,
        {_name(i, card): _shape(i) for i in network.inputs},
        {_name(o, card): _shape(o) for o in network.outputs},
        {_name(t, card): t.element_type.to_dtype().name for t in (*network.inputs, *network.outputs)},
    )
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        # On CPUs with bf16 OpenVINO lowers float32 silently; masks must not depend on the CPU's make.
        "INFERENCE_PRECISION_HINT": "f32",
        # The networks of several cameras or tasks would all be tied to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    if streams > 1:
        settings["NUM_STREAMS"] = streams
    return core.compile_model(taking_pixels(core, network, card.input), "CPU", settings)


def _name(port: Any, card: ModelCard) -> str:
    """A port's name in the card, if it has that: of casts that it drops OpenVINO gives the port the names, too."""
    names = port.get_names()
    wanted = (card.input.name, *(output.name for output in card.outputs))
    return next((name for name in wanted if name in names), str(port.get_any_name()))


def _shape(port: Any) -> Shape:
    return tuple(side.get_length() if side.is_static else str(side) for side in port.partial_shape)


def open_backend(model: Path, card: ModelCard, threads: int, streams: int = 1) -> OpenVinoBackend:
    """Open `model` with OpenVINO."""
    return OpenVinoBackend(model, card, threads, streams)
