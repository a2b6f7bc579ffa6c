"""ResNet feature extractors of 18 to 101 layers, with torchvision's parameter names, so that its weights load."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from rtseg.errors import ModelError

_DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, figure 5 left).

    `rates` are the dilations for what comes before the block's stride and after it.
    """

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, rates: tuple[int, int], stride_first: bool) -> None:
        super().__init__()
        before, dilation = rates
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, before, before, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != width:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut (He et al. 2016, figure 5 right).

    The stride is that of the 3x3 layer, as in torchvision, or of the first 1x1 layer, as in the paper and in Keras.
    `rates` are the dilations for what comes before that stride and after it.
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, rates: tuple[int, int], stride_first: bool) -> None:
        super().__init__()
        dilation = rates[1] if stride_first else rates[0]
        outputs = width * self.expansion
        first, second = (stride, 1) if stride_first else (1, stride)
        self.conv1 = nn.Conv2d(inputs, width, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, second, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet(nn.Module):
    """Convolutional stages of a ResNet.

    Args:
        depth: 18, 34 (basic blocks), 50 or 101 (bottlenecks).
        width: multiplier of all channel counts; 1 is the published network, whose weights fit by name and shape.
        dilation: of the 3x3 layers of the last stage, whose stride stays (DaffNet, section 4.2).
        stride_first: bottlenecks stride on their first 1x1 layer, as weights from Keras want it.
        output_stride: 32, or 16 or 8, from which on stages do not stride and dilate by 2, then 4 (DeepLab).

    `channels` and `strides` describe the four outputs: strides 4, 8, 16 and 32, none over `output_stride`.
    """

    mean = (123.675, 116.28, 103.53)
    std = (58.395, 57.12, 57.375)

    def __init__(
        self,
        depth: int = 18,
        width: float = 1.0,
        dilation: int = 1,
        stride_first: bool = False,
        output_stride: int = 32,
    ) -> None:
        super().__init__()
        block = BasicBlock if depth < 50 else Bottleneck
        widths = [max(8, round(base * width / 8) * 8) for base in (64, 128, 256, 512)]
        self.channels = tuple(count * block.expansion for count in widths)
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.strides = tuple(min(stride, output_stride) for stride in (4, 8, 16, 32))
        inputs = widths[0]
        for i, (blocks, count) in enumerate(zip(_DEPTHS[depth], widths, strict=True)):
            reach = (4 << i) // self.strides[i]
            stride = 2 if i and self.strides[i] > self.strides[i - 1] else 1
            stage = []
            for j in range(blocks):
                # Where a stage does not stride, its first block still reads what the stage before wrote, at its rate.
                before = reach // 2 if reach > 1 and not j else reach
                rates = (dilation, dilation) if i == 3 and dilation > 1 else (before, reach)
                stage.append(block(inputs, count, 1 if j else stride, rates, stride_first))
                inputs = count * block.expansion
            self.add_module(f"layer{i + 1}", nn.Sequential(*stage))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> Sequence[Tensor]:
        """Map (B, 3, H, W) to four feature maps at `strides`."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        features = []
        for stage in self.stages():
            x = stage(x)
            features.append(x)
        return features

    def stages(self) -> list[nn.Module]:
        """The four stages, whose outputs `forward` gives."""
        return [self.get_submodule(f"layer{i + 1}") for i in range(4)]

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Load a torchvision state dict of the same depth at width 1; its classifier ``fc`` is left out.

        Raises:
            ModelError: if keys are missing or too many, or shapes differ.
        """
        try:
            self.load_state_dict({name: value for name, value in state.items() if not name.startswith("fc.")})
        except RuntimeError as error:
            raise ModelError(f"expected a torchvision state dict of this ResNet, got {error}") from error
