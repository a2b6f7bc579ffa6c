"""Going on from a model that was exported: its weights, put back into the network that is trained.

The export folds each BatchNorm into the convolution before it. Here the convolution gets the folded weights, and its
BatchNorm the statistics of what then comes in, with the scale and shift that undo them: the network computes what the
file does, and its BatchNorm is in a state to train on.

An instance network may be of other classes: the layers that tell them begin anew, all others go on.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from rtseg.errors import ModelError
from rtseg.lab.nets.heads import ExportedMaps, InstanceNetwork
from rtseg.lab.nets.l2c import L2CLanes
from rtseg.lab.nets.l2c_instances import CENTER_UNIT, L2CInstances
from rtseg.runtime.half_weights import with_float_weights
from rtseg.runtime.models import find_model, float_network

logger = logging.getLogger("rtseg")

_CALLED_AGAIN = re.compile(r"_\d+$")
"""What the export adds to the name of a layer that several maps pass, from its second call on."""
_TOLD = 4  # layers that are named
_TOLERANCE = 1e-3  # relative to the largest value of a map


@torch.no_grad()
def load_exported(net: nn.Module, model: str, images: Iterable[Tensor], line_bias: float = 0.0) -> None:
    """Put the fp32 weights of an exported model into the network it was exported from.

    Args:
        net: the network, of the family and the sizes of the model; of instances also of other classes.
        model: bundled model or folder with a card.
        images: batches (B, 3, H, W) of normalized training images, for BatchNorm's statistics.
        line_bias: by how much the export of a lane network lowered the background's logit.

    Raises:
        ModelError: there is no such model, it has no fp32 network, that is not the network's, or it lacks layers of
            the network, such as those that only train.
    """
    found = find_model(model)
    path = float_network(found)
    size = (found.card.input.height, found.card.input.width)
    net.eval()
    probe = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    norms = _norms(net, probe)
    _load_folded(path, net, norms)
    if isinstance(net, L2CInstances):
        _take_out_center_unit(net)
    _compare(net, path, probe)
    if isinstance(net, L2CLanes):
        net.lower_background(-line_bias)
    _measure_norms(net, norms, images)


def fitted(net: nn.Module, weights: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The weights for the network: of an instance network of other classes without those that tell classes.

    Args:
        net: gives the weights of the layers that begin anew.
        weights: of a run, by name.
        source: of the weights, for what is told.
    """
    layers = _class_layers(net)
    own = net.state_dict()
    anew = {
        name
        for name, value in weights.items()
        if name in own and name.rpartition(".")[0] in layers and _of_other_classes(own[name].shape, value.shape)
    }
    if anew:
        _tell_anew(source)
    return {name: own[name] if name in anew else value for name, value in weights.items()}


def _class_layers(net: nn.Module) -> set[str]:
    """Names of the layers that give class maps: such as they are, one for each stride."""
    if not isinstance(net, InstanceNetwork):
        return set()
    channels = {entry.channels for entry in net.maps if entry.kind == "semantic"}
    return {
        name
        for name, layer in net.named_modules()
        if isinstance(layer, nn.Conv2d) and layer.bias is not None and layer.out_channels in channels
    }


def _of_other_classes(own: Sequence[int], given: Sequence[int]) -> bool:
    return own[0] != given[0] and tuple(own[1:]) == tuple(given[1:])


def _tell_anew(source: str) -> None:
    logger.warning("what tells classes begins anew: %s knows others", source)


def _norms(net: nn.Module, probe: Tensor) -> dict[nn.Module, nn.BatchNorm2d]:
    """The BatchNorm that each convolution feeds, for those that feed one."""
    norms: dict[nn.Module, nn.BatchNorm2d] = {}
    made: dict[int, tuple[Tensor, nn.Module]] = {}  # outputs are kept, so that none has the address of another

    def after_layer(module: nn.Module, _: Any, output: Tensor) -> None:
        made[id(output)] = (output, module)

    def before_norm(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        if id(inputs[0]) in made:
            norms[made[id(inputs[0])][1]] = module

    hooks = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            hooks.append(module.register_forward_hook(after_layer))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(before_norm))
    net(probe)
    for hook in hooks:
        hook.remove()
    if set(norms.values()) != {module for module in net.modules() if isinstance(module, nn.BatchNorm2d)}:
        raise ModelError(f"{type(net).__name__} normalizes what no convolution made; start from a safetensors file")
    return norms


def _load_folded(path: Path, net: nn.Module, norms: dict[nn.Module, nn.BatchNorm2d]) -> None:
    graph = with_float_weights(onnx.load(path)).graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    layers = dict(net.named_modules())
    missing = {layer for layer in layers.values() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)}
    class_layers = _class_layers(net)
    anew = False
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        name = _module_name(node.name)
        name = name if name in layers else _CALLED_AGAIN.sub("", name)
        layer = layers.get(name)
        weight = constants.get(node.input[1])
        other = f"expected the layers of the configuration's network in {path}, got {node.name}"
        if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) or weight is None:
            raise ModelError(other)
        if name in class_layers and _of_other_classes(layer.weight.shape, weight.shape):
            missing.discard(layer)
            anew = True
            continue
        if weight.shape != tuple(layer.weight.shape):
            raise ModelError(other)
        missing.discard(layer)
        layer.weight.copy_(torch.from_numpy(weight.copy()))
        shift = np.zeros(layer.out_channels, np.float32) if len(node.input) < 3 else constants[node.input[2]].copy()
        norm = norms.get(layer)
        if layer.bias is not None:
            layer.bias.copy_(torch.from_numpy(shift))
            shift = np.zeros_like(shift)
        if norm is not None:
            norm.running_mean.zero_()  # type: ignore[union-attr]
            norm.running_var.fill_(1.0 - norm.eps)  # type: ignore[union-attr]
            norm.weight.fill_(1.0)
            norm.bias.copy_(torch.from_numpy(shift))
        elif shift.any():
            raise ModelError(f"expected no bias in {path} at {node.name}, where the configuration's network has none")
    if missing:
        names = sorted(name for name, layer in layers.items() if layer in missing)
        told = ", ".join(names[:_TOLD]) + (f" and {len(names) - _TOLD} more" if len(names) > _TOLD else "")
        raise ModelError(
            f"expected all layers of the configuration's network in {path}, it lacks {told}; layers that only train "
            "are exported to no file: if these are, name the model.safetensors of its training"
        )
    if anew:
        _tell_anew(str(path.parent.name))


def _module_name(node: str) -> str:
    """Module that a node of the exported graph comes from: /net/head/head.0/head.0.1/Conv is head.0.1.

    The scopes in the name are those of the modules that were called; a member of a Sequential or ModuleList carries the
    name of its container.
    """
    parts: list[str] = []
    for scope in node.split("/")[1:-1]:
        if parts and scope.startswith(f"{parts[-1]}."):
            parts[-1] = scope
        else:
            parts.append(scope)
    return ".".join(parts[1:] if parts and parts[0] == "net" else parts)


def _take_out_center_unit(net: L2CInstances) -> None:
    """The export folds this factor into the layer before it."""
    last = net.centers[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    last.weight.div_(CENTER_UNIT)
    last.bias.div_(CENTER_UNIT)


def _compare(net: nn.Module, path: Path, probe: Tensor) -> None:
    """Make sure that the network computes what the file does, but for maps of other classes."""
    whole = ExportedMaps(net) if isinstance(net, InstanceNetwork) else net
    maps = whole(probe)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # what it tidies up is no concern of the user's
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    expected = session.run(None, {session.get_inputs()[0].name: probe.numpy()})
    for mine, theirs in zip((maps,) if isinstance(maps, Tensor) else maps, expected, strict=True):
        if isinstance(net, InstanceNetwork) and _of_other_classes(mine.shape[1:], theirs.shape[1:]):
            continue  # only layers of classes can have come this far
        difference = float(np.abs(mine.numpy() - theirs).max())
        if not difference <= _TOLERANCE * max(1.0, float(np.abs(theirs).max())):
            raise ModelError(f"expected the configuration's network in {path}, its maps differ by {difference:.3g}")


def _measure_norms(net: nn.Module, norms: dict[nn.Module, nn.BatchNorm2d], images: Iterable[Tensor]) -> None:
    """Give every BatchNorm, which passes its input on as it is but for a shift, the statistics of that input."""
    sums: dict[nn.Module, list[Tensor]] = defaultdict(list)

    def before_norm(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].double()
        counted = torch.full((x.shape[1],), float(x.numel() / x.shape[1]), dtype=torch.float64)
        sums[norm].append(torch.stack([counted, x.sum((0, 2, 3)), (x * x).sum((0, 2, 3))]))

    hooks = [norm.register_forward_pre_hook(before_norm) for norm in norms.values()]
    for batch in images:
        net(batch)
    for hook in hooks:
        hook.remove()
    for norm in norms.values():
        if not sums[norm]:
            raise ModelError("expected training images to measure BatchNorm on, got none")
        count, total, squares = torch.stack(sums[norm]).sum(0)
        mean = total / count
        variance = (squares / count - mean * mean).clamp(min=0)
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(variance)  # type: ignore[union-attr]
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.add_(mean)
