"""The same frames through plain code: a library's session, OpenCV and NumPy around it, as one would write it first."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from rtseg.errors import BackendError
from rtseg.runtime import LatencyLog, ModelCard

Image = NDArray[np.uint8]
Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]


_NO_MAPS = ("row_anchor", "yolo_seg")  # methods whose networks give tables or anchors


class PlainPeer:
    """A network in plain code.

    Args:
        name: for the results.
        card: what the network expects.
        file: that it runs.
        network: (1, 3, h, w) float32 to (C, h', w') float32 of the card's first output.

    Attributes:
        log: its times so far.

    Raises:
        BackendError: what the network gives is not read by the strongest channel of each pixel.
    """

    def __init__(self, name: str, card: ModelCard, file: str, network: Network) -> None:
        if card.grouping.method in _NO_MAPS:
            raise BackendError(f"plain code takes the strongest channel of each pixel, not what {card.name} gives")
        self.name, self.file, self.log = name, file, LatencyLog()
        self._card, self._network = card, network

    def __call__(self, image: Image) -> Image:
        """Give the mask of an (H, W, 3) uint8 BGR image: the strongest output at each pixel of the image."""
        needs = self._card.input
        start = time.perf_counter()
        resized = cv2.resize(image, (needs.width, needs.height), interpolation=cv2.INTER_LINEAR)
        if needs.order == "rgb":
            resized = cv2.cvtColor(resized, cv2.COLOR_BGR2RGB)
        normalized = (resized.astype(np.float32) - np.asarray(needs.mean, np.float32)) / np.asarray(
            needs.std, np.float32
        )
        tensor = np.ascontiguousarray(normalized.transpose(2, 0, 1)[None])
        prepared = time.perf_counter()
        maps = self._network(tensor)
        inferred = time.perf_counter()
        size = (image.shape[1], image.shape[0])
        enlarged = np.stack([cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in maps])
        mask = enlarged.argmax(0).astype(np.uint8)
        if self._card.task == "lanes":
            _polylines(mask, maps.shape[0])
        else:
            cv2.connectedComponents(mask, connectivity=8)
        end = time.perf_counter()
        stages = (prepared - start, inferred - prepared, end - inferred)
        self.log.record({name: 1e3 * t for name, t in zip(("preprocess", "infer", "decode"), stages, strict=True)})
        return mask


def _polylines(mask: Image, channels: int) -> list[NDArray[np.float64]]:
    lines = []
    for lane in range(1, channels):
        ys, xs = np.nonzero(mask == lane)
        if len(ys):
            counts = np.bincount(ys)
            rows = np.flatnonzero(counts)
            lines.append(np.stack([np.bincount(ys, xs)[rows] / counts[rows], rows], axis=1))
    return lines


def onnxruntime_peer(name: str, card: ModelCard, path: Path, threads: int, provider: str) -> PlainPeer:
    """ONNX Runtime's session as its documentation opens it.

    Raises:
        BackendError: the provider is not there, or the session does not open.
    """
    if provider not in onnxruntime.get_available_providers():
        raise BackendError(f"this ONNX Runtime has no {provider}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # the library raises many kinds
        raise BackendError(f"ONNX Runtime does not open {path.name}: {error}") from error
    if provider not in session.get_providers():
        raise BackendError(f"ONNX Runtime opened {path.name} without {provider}; its libraries do not load")
    output, given = card.outputs[0].name, card.input.name
    return PlainPeer(name, card, path.name, lambda tensor: session.run([output], {given: tensor})[0][0])


def torch_peer(name: str, card: ModelCard, path: Path, threads: int, device: str) -> PlainPeer:
    """torch in eager mode, float32, outputs copied to the host.

    Raises:
        BackendError: torch is missing or has no such device.
        ModelError: the network has an operator that rtseg does not give to torch.
    """
    try:
        import torch
    except ImportError as error:
        raise BackendError(f"torch is not installed ({error})") from error
    from rtseg.runtime.backends.onnx_torch import OnnxNetwork

    if device != "cpu" and not torch.cuda.is_available():
        raise BackendError("torch finds no CUDA device")
    network, place, output = OnnxNetwork(path, torch.device(device), torch.float32), device, card.outputs[0].name

    def run(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode():
                maps: NDArray[np.float32] = network(torch.from_numpy(tensor).to(place))[output][0].cpu().numpy()
                return maps
        finally:
            torch.set_num_threads(before)

    return PlainPeer(name, card, path.name, run)
