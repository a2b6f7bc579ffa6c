"""Trained networks, of lanes or of instances, to ONNX files with a fixed input, checked against torch."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from rtseg.errors import ModelError
from rtseg.lab.deploy.quantize import open_session
from rtseg.lab.nets.heads import ExportedMaps, InstanceNetwork
from rtseg.lab.nets.l2c import L2CLanes
from rtseg.lab.training.train import load_network

INPUT, OUTPUT = "image", "logits"
OPSET = 17


def export_onnx(
    network: nn.Module | Path, path: Path, size: tuple[int, int] | None = None, tolerance: float = 1e-3
) -> float:
    """Write a network as ONNX: input `image` (1, 3, H, W) float32, BatchNorm and padding folded.

    A lane network has the output `logits`; an instance network those that its `maps` name, affinities as probabilities.

    Args:
        network: a module, or the safetensors file of a training run, whose `line_bias` (lanes) is then applied.
        path: file to write.
        size: (height, width) of the input; taken from the run's configuration where `network` is a file.
        tolerance: greatest difference from torch, relative to the largest value of a map.

    Returns:
        The greatest absolute difference of ONNX Runtime's maps from torch's, on random input.

    Raises:
        ModelError: if the weights cannot be read, the size is unknown, or the file computes something else than torch.
    """
    if isinstance(network, Path):
        module, config = load_network(network)
        if isinstance(module, L2CLanes):
            module.lower_background(config.line_bias)
        size = size or (config.input.height, config.input.width)
    else:
        module = network
    if size is None:
        raise ModelError("expected the input size (height, width) to export a module for, got none")
    names = [OUTPUT]
    if isinstance(module, InstanceNetwork):
        names = [entry.name for entry in module.maps]
        module = ExportedMaps(module)
    module.eval()
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = Path(folder) / "raw.onnx"
        torch.onnx.export(
            module, (image,), raw, opset_version=OPSET, input_names=[INPUT], output_names=names, dynamo=False
        )
        _fold(raw, path)
    with torch.no_grad():
        maps = module(image)
    expected = dict(zip(names, (maps,) if isinstance(maps, torch.Tensor) else maps, strict=True))
    found = run_maps(path, image.numpy())
    worst = 0.0
    for name, value in expected.items():
        difference = float(np.abs(found[name] - value.numpy()).max())
        if not difference <= tolerance * max(1.0, float(value.abs().max())):
            raise ModelError(f"expected {path} to compute what torch does, but {name} differ by {difference:.3g}")
        worst = max(worst, difference)
    return worst


def _fold(raw: Path, path: Path) -> None:
    """Let ONNX Runtime fold constants, BatchNorm and explicit padding; at this level all operators stay ONNX's own."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    folded = raw.with_name("folded.onnx")
    options.optimized_model_filepath = str(folded)
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(str(raw), options, providers=["CPUExecutionProvider"])
        model = onnx.load(folded)
    except Exception as error:  # of kinds of its own, also where the disk is full
        raise ModelError(
            f"ONNX Runtime could not write the network to {raw.parent}: {error}; check the space on that disk"
        ) from error
    foreign = sorted({node.domain for node in model.graph.node if node.domain not in ("", "ai.onnx")})
    if foreign:
        logging.getLogger(__name__).warning("%s has operators of %s", path, ", ".join(foreign))
    _fold_padding(model.graph)
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used | {""}]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _fold_padding(graph: onnx.GraphProto) -> None:
    """Move explicit zero padding of rows and columns into the convolution that alone reads it."""
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for pad in [node for node in graph.node if node.op_type == "Pad"]:
        mode = next((a.s for a in pad.attribute if a.name == "mode"), b"constant")
        amounts = constants.get(pad.input[1])
        value = constants.get(pad.input[2], np.zeros(1)) if len(pad.input) > 2 and pad.input[2] else np.zeros(1)
        users = readers.get(pad.output[0], [])
        if mode != b"constant" or amounts is None or len(amounts) != 8 or value.any():
            continue
        if len(users) != 1 or users[0].op_type != "Conv" or amounts[[0, 1, 4, 5]].any() or (amounts < 0).any():
            continue
        conv = users[0]
        attribute = next((a for a in conv.attribute if a.name == "pads"), None)
        before = list(attribute.ints) if attribute else [0, 0, 0, 0]
        if attribute:
            conv.attribute.remove(attribute)
        pads = [int(a + b) for a, b in zip(before, amounts[[2, 3, 6, 7]], strict=True)]
        conv.attribute.append(onnx.helper.make_attribute("pads", pads))
        conv.input[0] = pad.input[0]
        graph.node.remove(pad)


def run_maps(path: Path, image: np.ndarray) -> dict[str, np.ndarray]:
    """Run a network file once on the CPU: (1, 3, H, W) float32 to its outputs by name."""
    session = open_session(path)
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {session.get_inputs()[0].name: image})
    return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}
