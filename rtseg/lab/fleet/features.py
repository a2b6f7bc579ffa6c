"""What a network itself makes of a picture: its deepest features, by which pictures are told to be alike."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx.utils import Extractor

from rtseg.errors import ModelError
from rtseg.frame import check_image
from rtseg.ops import preprocess
from rtseg.runtime.models import Model

logger = logging.getLogger("rtseg")

EVERY = 2 * 10**9
"""Nanoseconds of a recording for which one frame's features stand; stills have their own each."""

_STRIDE = 32
_WIDE = 32  # channels; fewer are about to become an output


class FeatureNetwork:
    """The part of a network up to its deepest features, with their mean over the picture.

    Deepest are those of the smallest map with at least a point for every 32 pixels, where backbones end; of several
    such maps the last that has many channels and is no output. Pictures are taken at half the size of the network's
    input, which is a third of the work and tells them apart nearly as well; at all of it where the network takes no
    other.

    Args:
        model: with its card.
        threads: of the network; 0 for all cores.

    Raises:
        ModelError: the network has no such map, or cannot be taken apart.
    """

    def __init__(self, model: Model, threads: int = 0) -> None:
        self._input = model.card.input
        whole = self._input.height, self._input.width
        half = _half(whole[0]), _half(whole[1])
        for self._size in (half, whole):
            try:
                self._session = _part(str(model.path), self._size, threads)
                self(np.zeros((*self._size, 3), np.uint8))
                return
            except Exception as error:  # protobuf, ONNX and ONNX Runtime each raise kinds of their own
                reason = error
        raise ModelError(f"expected a network with deep maps of known size, got none in {model.path.name}: {reason}")

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features (C,) of an (H, W, 3) uint8 BGR picture.

        Raises:
            ImageError: it is no such picture.
        """
        needs = self._input
        tensor = preprocess(check_image(image), self._size, needs.mean, needs.std, needs.order)
        (maps,) = self._session.run(None, {self._session.get_inputs()[0].name: tensor})
        return np.asarray(maps[0].mean(axis=(1, 2)), np.float32)


def describer(model: Model, threads: int = 0) -> FeatureNetwork | None:
    """A model's features; None, with a warning, where its network has none that are to be had: results do without."""
    try:
        return FeatureNetwork(model, threads)
    except ModelError as error:
        logger.warning("frames are not described: %s", error)
        return None


def _half(size: int) -> int:
    return max(_STRIDE, size // 2 // _STRIDE * _STRIDE)


def _part(path: str, size: tuple[int, int], threads: int) -> Any:
    """The network up to its deepest features, for pictures of `size` (height, width)."""
    network = onnx.load(path)
    dims = network.graph.input[0].type.tensor_type.shape.dim
    for dim, extent in zip(dims, (1, 3, *size), strict=True):
        dim.dim_value = extent
    for value in (*network.graph.output, *network.graph.value_info):  # what it said of its own size
        value.type.tensor_type.ClearField("shape")
    network = onnx.shape_inference.infer_shapes(network)
    name = _deepest(network, (size[0] // _STRIDE, size[1] // _STRIDE))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    part = Extractor(network).extract_model([network.graph.input[0].name], [name])
    return onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _deepest(network: onnx.ModelProto, smallest: tuple[int, int]) -> str:
    """Name of the deepest map that has at least the (height, width) `smallest`."""
    sizes: dict[str, int] = {}
    wide: set[str] = set()
    for value in (*network.graph.value_info, *network.graph.output):
        kind = value.type.tensor_type
        shape = [dim.dim_value for dim in kind.shape.dim]
        if kind.elem_type != onnx.TensorProto.FLOAT or len(shape) != 4 or shape[0] != 1:
            continue
        if shape[1] and shape[2] >= smallest[0] and shape[3] >= smallest[1]:
            sizes[value.name] = shape[2] * shape[3]
            wide |= {value.name} if shape[1] >= _WIDE else set()
    seen = {network.graph.input[0].name}  # weights are tensors, too
    made: list[str] = []
    for node in network.graph.node:
        if seen.intersection(node.input):
            seen.update(node.output)
            made += [name for name in node.output if name in sizes]
    if not made:
        raise ModelError(
            "expected a network with maps whose size is known, got one without; export it with fixed sizes"
        )
    outputs = {output.name for output in network.graph.output}
    inner = [name for name in made if name in wide and name not in outputs] or made
    deepest = min(sizes[name] for name in inner)
    return [name for name in inner if sizes[name] == deepest][-1]
