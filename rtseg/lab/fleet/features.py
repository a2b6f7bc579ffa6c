"""What a network itself makes of a picture: its deepest features, by which pictures are told to be alike."""

from __future__ import annotations

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

EVERY = 2 * 10**9
"""Nanoseconds of a recording for which one frame's features stand; stills have their own each."""

_STRIDE = 32
_WIDE = 32  # channels; fewer are about to become an output


class FeatureNetwork:
    """The part of a network up to its deepest features, with their mean over the picture.

    Deepest are those of the smallest map with at least a point for every 32 pixels, where backbones end; of several
    such maps the last that has many channels and is no output.

    Args:
        model: with its card.
        threads: of the network; 0 for all cores.

    Raises:
        ModelError: the network has no such map.
    """

    def __init__(self, model: Model, threads: int = 0) -> None:
        self._input = model.card.input
        network = onnx.load(str(model.path))
        dims = network.graph.input[0].type.tensor_type.shape.dim
        for dim, size in zip(dims, (1, 3, self._input.height, self._input.width), strict=True):
            dim.dim_value = size
        network = onnx.shape_inference.infer_shapes(network)
        name = _deepest(network, (self._input.height // _STRIDE, self._input.width // _STRIDE))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        part = Extractor(network).extract_model([network.graph.input[0].name], [name])
        self._session: Any = onnxruntime.InferenceSession(
            part.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features (C,) of an (H, W, 3) uint8 BGR picture.

        Raises:
            ImageError: it is no such picture.
        """
        needs = self._input
        tensor = preprocess(check_image(image), (needs.height, needs.width), needs.mean, needs.std, needs.order)
        (maps,) = self._session.run(None, {self._session.get_inputs()[0].name: tensor})
        return np.asarray(maps[0].mean(axis=(1, 2)), np.float32)


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
