"""Half precision for TensorRT: cast inside the ONNX file, since strongly typed networks take types from there."""

from __future__ import annotations

from rtseg.errors import BackendError
from rtseg.runtime.half_weights import with_float_weights

_TYPED_SCALES = 19  # the first opset whose QuantizeLinear takes float16


def in_float(onnx: bytes) -> bytes:
    """Put weights that are stored in float16 back to float32, since TensorRT takes types from where they are stored.

    Args:
        onnx: a serialized float32 network.

    Raises:
        BackendError: if the package onnx is missing.
    """
    try:
        import onnx as onnx_library
    except ImportError as error:
        raise BackendError(f"compiling a network needs the package onnx ({error}): pip install onnx") from error
    plain: bytes = with_float_weights(onnx_library.load_from_string(onnx)).SerializeToString()
    return plain


def cast_to_half(onnx: bytes) -> bytes:
    """Cast what a network computes in float32 to float16; its inputs and outputs stay float32.

    In a Q/DQ network integer layers stay integer: what is cast are the sums and activations between them, the layers
    that were left in float, and the scales. Such a file is for TensorRT. ONNX Runtime runs it wrongly with its
    optimisations on (1.31: it makes int32 biases whose scale, a product of two scales, underflows in float16), so judge
    it there with ``disabled_optimizers=["WeightBiasQuantization"]``.

    Args:
        onnx: a serialized float32 or Q/DQ network.

    Raises:
        BackendError: if the package onnx is missing.
    """
    try:
        import onnx as onnx_library
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise BackendError(f"casting a network to fp16 needs the package onnx ({error}): pip install onnx") from error
    network = with_float_weights(onnx_library.load_from_string(onnx))
    if any(node.op_type == "QuantizeLinear" for node in network.graph.node):
        for opset in network.opset_import:
            if opset.domain in ("", "ai.onnx"):
                opset.version = max(opset.version, _TYPED_SCALES)
    half: bytes = convert_float_to_float16(network, keep_io_types=True).SerializeToString()
    return half
