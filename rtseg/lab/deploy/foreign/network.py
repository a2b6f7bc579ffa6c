"""An ONNX file of any origin, with everything open in it fixed: one picture in, float32 out, all sides known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from rtseg.errors import ConfigError, ModelError
from rtseg.lab.deploy.foreign.reading import read_network, text_of
from rtseg.runtime.card import Precision

RENAMED = "_float32"
"""What the names of inputs and outputs end in that were none of float32."""
_MOST_PIXELS = 1 << 25  # of an input: what is larger is a slip of the pen, and takes all memory
_NOISE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (/\S+ .*\) )?")  # before what ONNX Runtime has to say


@dataclass(frozen=True)
class ForeignNetwork:
    """A network that the runtime can run, and what it gave for noise.

    Attributes:
        model: the ``onnx.ModelProto``: input (1, 3, h, w) float32, outputs float32.
        input: name.
        size: (h, w).
        takes_bytes: whether the file's input is uint8, so that it normalizes by itself.
        outputs: values by name, float32 as the network gives them.
        integers: names of outputs that were integers.
        metadata: texts that the exporter left in the file.
        precision: of the weights.
    """

    model: Any
    input: str
    size: tuple[int, int]
    takes_bytes: bool
    outputs: dict[str, NDArray[np.float32]]
    integers: frozenset[str]
    metadata: dict[str, str]
    precision: Precision

    def reduced(self, outputs: Mapping[str, Sequence[int]]) -> bytes:
        """The network with these outputs alone, brought to these sides, and nothing that only others need.

        An output whose channels come last, where these sides have them before the rows, is turned.
        """
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        graph = model.graph
        kept = [output for output in graph.output if output.name in outputs]
        del graph.output[:]
        graph.output.extend(kept)
        for output in graph.output:
            wanted, given = tuple(outputs[output.name]), self.outputs[output.name].shape
            if wanted != given:
                _bring(graph, output, wanted, turned=len(given) == 4 and wanted == (given[0], given[3], *given[1:3]))
        _drop_unread(graph)
        content: bytes = model.SerializeToString()
        return content


def open_foreign(path: Path, size: tuple[int, int] | None = None) -> ForeignNetwork:
    """Read a network, fix its batch to 1 and its sides, and run it once to see what it gives.

    Half-precision and integer tensors at its ends become float32 by casts inside the file, and an input with channels
    last takes them first.

    Args:
        path: ONNX file; weights may lie in files beside it.
        size: (height, width) for a network that leaves them open.

    Raises:
        ConfigError: the package onnx is missing.
        ModelError: it is no such network; the message says what to do.
    """
    try:
        import onnx
    except ImportError as error:
        raise ConfigError(f"importing a network needs the package onnx ({error}): pip install onnx") from error
    model = read_network(path)
    graph = model.graph
    name, fixed, takes_bytes = _fix_input(path, graph, size)
    integers = _cast_outputs(path, graph)
    del graph.value_info[:]
    if takes_bytes:
        _leave_out_bytes(model)
    constants = [tensor.data_type for tensor in graph.initializer]
    half = onnx.TensorProto.FLOAT16 in constants
    quantized = any("QuantizeLinear" in node.op_type or node.op_type.startswith("QLinear") for node in graph.node)
    outputs = _probe(path, model, name, fixed, 255.0 if takes_bytes else 1.0)
    for output in graph.output:
        output.type.tensor_type.shape.Clear()
        for side in outputs[output.name].shape:
            output.type.tensor_type.shape.dim.add().dim_value = side
    return ForeignNetwork(
        model,
        name,
        fixed,
        takes_bytes,
        outputs,
        frozenset(integers),
        {text_of(entry.key): text_of(entry.value) for entry in model.metadata_props},
        "int8" if quantized else "fp16" if half else "fp32",
    )


def _fix_input(path: Path, graph: Any, size: tuple[int, int] | None) -> tuple[str, tuple[int, int], bool]:
    """Give the input fixed sides, channels first and float32; its name, (h, w), and whether it was uint8."""
    import onnx

    constants = {tensor.name for tensor in graph.initializer}
    inputs = [entry for entry in graph.input if entry.name not in constants]
    if len(inputs) != 1:
        named = ", ".join(entry.name for entry in inputs) or "none"
        raise ModelError(f"expected a network of one input, a picture, {path.name} has {named}; export it so")
    entry, kinds = inputs[0], onnx.TensorProto
    if not entry.type.HasField("tensor_type"):
        raise ModelError(f"expected a picture as input, {path.name} has {entry.name}, which is no array; export it so")
    tensor = entry.type.tensor_type
    if not tensor.HasField("shape"):
        for _ in range(4):
            tensor.shape.dim.add()
    sides = [max(0, side.dim_value) for side in tensor.shape.dim]  # some exporters write -1 for what they leave open
    shown = ", ".join(str(side or "open") for side in sides)
    last = len(sides) == 4 and sides[3] == 3 and sides[1] != 3
    if len(sides) != 4 or sides[0] > 1 or (not last and sides[1] not in (0, 3)):
        several = len(sides) == 4 and sides[0] > 1
        raise ModelError(
            f"expected an input (1, 3, height, width), or with channels last, {path.name} has {entry.name} ({shown}); "
            f"export it for {'one picture, a batch of 1' if several else 'one picture of 3 channels'}"
        )
    if tensor.elem_type not in (kinds.FLOAT, kinds.FLOAT16, kinds.UINT8):
        known = dict(zip(kinds.DataType.values(), kinds.DataType.keys(), strict=True))
        kind = known.get(tensor.elem_type, f"type {tensor.elem_type}").lower()
        raise ModelError(
            f"expected an input of float32, float16 or uint8, {path.name} has {entry.name} of {kind}; export it so"
        )
    fixed = _fixed_sides(path, sides[1:3] if last else sides[2:], size)
    for side, value in zip(tensor.shape.dim, (1, 3, *fixed), strict=True):
        side.dim_value = value
    takes_bytes = tensor.elem_type == kinds.UINT8
    if last or tensor.elem_type != kinds.FLOAT:
        inner, entry.name = entry.name, entry.name + RENAMED
        nodes = _as_the_network_takes_it(entry.name, inner, tensor.elem_type, last)
        for node in reversed(nodes):
            graph.node.insert(0, node)
        tensor.elem_type = kinds.FLOAT
    return entry.name, fixed, takes_bytes


def _fixed_sides(path: Path, given: list[int], size: tuple[int, int] | None) -> tuple[int, int]:
    """(h, w) of the input: those of the file, and `size` where it leaves them open, as 0."""
    height, width = given
    if size is None and not (height and width):
        raise ModelError(
            f"{path.name} leaves the size of its input open ({width or 'open'}x{height or 'open'}); say which with "
            "--size WIDTHxHEIGHT"
        )
    if size is not None and ((height or size[0]), (width or size[1])) != size:
        raise ModelError(
            f"expected the size of the network, {width or 'any'}x{height or 'any'}, got --size {size[1]}x{size[0]}"
        )
    fixed = size or (height, width)
    if fixed[0] * fixed[1] > _MOST_PIXELS:
        raise ModelError(
            f"expected an input of at most {_MOST_PIXELS / 1e6:.0f} million pixels, {path.name} takes "
            f"{fixed[1]}x{fixed[0]}; export it for the size at which it is to run"
        )
    return fixed


def _as_the_network_takes_it(source: str, inner: str, kind: int, channels_last: bool) -> list[Any]:
    """Operators that make of `source` (1, 3, h, w) float32 the input `inner` of another type, or with channels last."""
    import onnx

    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    nodes = []
    if kind == onnx.TensorProto.UINT8:  # to the nearest number, where a resized frame lies between two
        half = onnx.helper.make_tensor("value", onnx.TensorProto.FLOAT, [], [0.5])
        nodes.append(onnx.helper.make_node("Constant", [], [f"{source}_half"], value=half))
        steps += [("Add", [f"{source}_half"], {}), ("Floor", [], {})]  # Round is there from opset 11 on
    if kind != onnx.TensorProto.FLOAT:
        steps.append(("Cast", [], {"to": kind}))
    if channels_last:
        steps.append(("Transpose", [], {"perm": [0, 2, 3, 1]}))
    names = [source, *(f"{source}_{number}" for number in range(1, len(steps))), inner]
    nodes += [
        onnx.helper.make_node(step, [names[i], *more], [names[i + 1]], **attributes)
        for i, (step, more, attributes) in enumerate(steps)
    ]
    return nodes


def _leave_out_bytes(model: Any) -> None:
    """Let float32 go where bytes went, which TensorRT has none of inside a network, if the operators there take it."""
    cast = next(node for node in model.graph.node if node.op_type == "Cast")
    kept = type(cast).FromString(cast.SerializeToString())
    cast.op_type = "Identity"
    del cast.attribute[:]
    try:
        _session(model)
    except Exception:  # the library raises many kinds
        cast.CopyFrom(kept)


def _cast_outputs(path: Path, graph: Any) -> list[str]:
    """Make every output float32; give the names of those that were integers."""
    import onnx

    kinds, integers = onnx.TensorProto, []
    whole = (
        *(kinds.INT64, kinds.INT32, kinds.INT16, kinds.INT8, kinds.BOOL),
        *(kinds.UINT64, kinds.UINT32, kinds.UINT16, kinds.UINT8),
    )
    named = {output.name: type(output).FromString(output.SerializeToString()) for output in graph.output}
    del graph.output[:]  # one that is named twice is one
    graph.output.extend(named.values())
    for output in graph.output:
        tensor = output.type.tensor_type
        of_numbers = (kinds.FLOAT, kinds.FLOAT16, kinds.BFLOAT16, kinds.DOUBLE, *whole)
        if not output.type.HasField("tensor_type") or tensor.elem_type not in of_numbers:
            raise ModelError(
                f"expected outputs that are arrays of numbers, {path.name} has {output.name}, which is not"
            )
        if tensor.elem_type == kinds.FLOAT:
            continue
        inner, output.name = output.name, output.name + RENAMED
        if tensor.elem_type in whole:
            integers.append(output.name)
        tensor.elem_type = kinds.FLOAT
        graph.node.append(onnx.helper.make_node("Cast", [inner], [output.name], to=kinds.FLOAT))
    return integers


def _probe(path: Path, model: Any, name: str, size: tuple[int, int], scale: float) -> dict[str, NDArray[np.float32]]:
    """Run the network on two pictures of noise up to `scale`: its outputs must have the same sides for both."""
    rng = np.random.default_rng(0)
    dark, bright = (most * rng.random((1, 3, *size), dtype=np.float32) for most in (0.02 * scale, scale))
    try:
        session = _session(model)
        names = [output.name for output in session.get_outputs()]
        first, second = (session.run(names, {name: value}) for value in (dark, bright))
    except Exception as error:  # the library raises many kinds
        reason = _NOISE.sub("", " ".join(str(error).split("\n")[0].split())).rstrip(".")
        raise ModelError(
            f"expected a network that ONNX Runtime {onnxruntime.__version__} can run, {path.name} fails at "
            f"{size[1]}x{size[0]} pixels: {reason}; {_mend(reason)}"
        ) from error
    for output, a, b in zip(names, first, second, strict=True):
        if not isinstance(a, np.ndarray) or a.shape != b.shape:
            raise ModelError(
                f"expected outputs whose sides do not depend on the picture, {path.name} gives {output} "
                f"{np.shape(a)} and {np.shape(b)}; export it with a fixed number of detections"
            )
        if not a.size:
            raise ModelError(
                f"expected outputs with something in them, {path.name} gives {output} {a.shape} for a picture of "
                "noise; export it with a fixed number of detections, or without this output"
            )
    return dict(zip(names, second, strict=True))


def _session(model: Any) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _mend(reason: str) -> str:
    """What to do about a failure of ONNX Runtime."""
    if "codec can't decode" in reason:
        return "a name in it is no UTF-8: export it with plain names"
    if "Unsupported model IR version" in reason or "is till opset" in reason:
        return "export it with an older opset, such as 17"
    if "No Op registered" in reason or "not a registered function/op" in reason:
        return "export it without operators of its own"
    if "invalid model" in reason:
        return "export it again, and look at it with onnx.checker.check_model"
    return "export it again, at the size at which it is to run"


def _bring(graph: Any, output: Any, sides: Sequence[int], turned: bool) -> None:
    """Bring an output to these sides, by turning its channels from the last place or by counting its sides anew."""
    import onnx

    inner = output.name + "_before"
    for node in graph.node:
        node.input[:] = [inner if name == output.name else name for name in node.input]
        node.output[:] = [inner if name == output.name else name for name in node.output]
    if turned:
        graph.node.append(onnx.helper.make_node("Transpose", [inner], [output.name], perm=[0, 3, 1, 2]))
    else:
        shape = onnx.numpy_helper.from_array(np.array(sides, np.int64), inner + "_sides")
        graph.initializer.append(shape)
        graph.node.append(onnx.helper.make_node("Reshape", [inner, shape.name], [output.name]))
    output.type.tensor_type.shape.Clear()
    for side in sides:
        output.type.tensor_type.shape.dim.add().dim_value = side


def _drop_unread(graph: Any) -> None:
    wanted = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= _read_by(node)
    kept.reverse()
    nodes = [type(node).FromString(node.SerializeToString()) for node in kept]
    del graph.node[:]
    graph.node.extend(nodes)
    constants = [tensor for tensor in graph.initializer if tensor.name in wanted]
    copied = [type(tensor).FromString(tensor.SerializeToString()) for tensor in constants]
    listed = {tensor.name for tensor in graph.initializer} - wanted  # old files list their weights as inputs as well
    inputs = [type(entry).FromString(entry.SerializeToString()) for entry in graph.input if entry.name not in listed]
    del graph.initializer[:], graph.input[:]
    graph.initializer.extend(copied)
    graph.input.extend(inputs)


def _read_by(node: Any) -> set[str]:
    """Names that a node reads, those of graphs inside it too."""
    read = set(node.input)
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            read |= {output.name for output in inner.output}
            for each in inner.node:
                read |= _read_by(each)
    return read
