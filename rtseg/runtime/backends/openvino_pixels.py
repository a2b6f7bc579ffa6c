"""Networks whose first layer makes bytes of its input take the picture's own bytes instead.

An int8 network rounds its input to 256 levels. Where its mean and deviation are such that these levels are those of
the pixels, normalizing and rounding give back the bytes that one began with: the network gets them as they are, in a
quarter of the memory, and computes the same to the last bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.ops.preprocess import preprocess
from rtseg.runtime.backends.without_converter import openvino
from rtseg.runtime.card import ModelInput

try:
    from openvino import opset8 as opset
except ImportError:  # 2024
    from openvino.runtime import opset8 as opset

_LEVELS = 256
_SIDE = 16  # of a picture with a pixel of each level


def taking_pixels(core: openvino.Core, model: openvino.Model, needs: ModelInput) -> openvino.Model:
    """Give a network that takes (1, h, w, 3) uint8 in the card's order of channels, if `model` has levels of such.

    Args:
        core: to compute the levels with.
        model: a network whose input is as `needs` says; not to be used any more.
        needs: its card's input.

    Returns:
        that network, or `model` as it is.
    """
    first = _first_layer(model)
    if first is None:
        return model
    levels = _levels(core, model, needs)
    even = np.linspace(levels[0, 0], levels[0, -1], _LEVELS)
    if not np.allclose(levels, even, rtol=0, atol=1e-3 * abs(even[1] - even[0])):
        return model
    pixels = opset.parameter([1, needs.height, needs.width, 3], openvino.Type.u8, needs.name)
    planes = opset.convert(opset.transpose(pixels, opset.constant(np.array([0, 3, 1, 2]))), openvino.Type.f32)
    # What the plugin knows as the quantization of a layer's input, and here costs nothing.
    ends = [opset.constant(np.full((1, 1, 1, 1), end, np.float32)) for end in (0, _LEVELS - 1, even[0], even[-1])]
    first.input(0).replace_source_output(opset.fake_quantize(planes, *ends, _LEVELS).output(0))
    return openvino.Model(model.get_results(), [pixels], model.get_friendly_name())


def _first_layer(model: openvino.Model) -> openvino.Node | None:
    """The convolution that alone reads the input, by way of a quantization; None where there is no such."""
    (parameter,) = model.get_parameters()
    node, quantized = parameter, False
    while node.get_type_name() != "Convolution":
        quantized = quantized or node.get_type_name() == "FakeQuantize"
        readers = list(node.output(0).get_target_inputs()) if node.get_output_size() == 1 else []
        if len(readers) != 1 or readers[0].get_index() != 0:
            return None
        node = readers[0].get_node()
    return node if quantized else None


def _levels(core: openvino.Core, model: openvino.Model, needs: ModelInput) -> NDArray[np.float32]:
    """What the first layer reads of each channel of each byte, (3, 256), computed by the network itself."""
    beginning = model.clone()
    first = _first_layer(beginning)
    assert first is not None  # as in `model`
    beginning = openvino.Model([first.input_value(0)], beginning.get_parameters(), "levels")
    beginning.reshape([1, 3, _SIDE, _SIDE])
    every = np.broadcast_to(np.arange(_LEVELS, dtype=np.uint8).reshape(_SIDE, _SIDE, 1), (_SIDE, _SIDE, 3))
    normalized = preprocess(every, (_SIDE, _SIDE), needs.mean, needs.std)
    compiled = core.compile_model(beginning, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    values = compiled(normalized)[0]
    return np.asarray(values, np.float32).reshape(3, _LEVELS)
