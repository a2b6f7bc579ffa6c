"""Attention from keywords (section 3.1): a classifier of whole frames whose score maps say where each keyword is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from rtseg.errors import WeakSupervisionError
from rtseg.lab.nets.efficientnet_lite import EfficientNetLite, imagenet_state
from rtseg.lab.weak.keywords.fitting import (
    Advance,
    FitSettings,
    PretrainedModule,
    fit,
    in_batches,
    inference_device,
    steps_of,
    vary,
)
from rtseg.media.images import read_image
from rtseg.ops import resize_image
from rtseg.ops.preprocess import preprocess

_RIDGE = 0.1  # weight of the squared weights where there are as many of them as frames


@dataclass(frozen=True)
class AttentionSettings:
    """The classifier and its input.

    Attributes:
        size: (height, width) of its input in pixels, multiples of 32.
        fit: its training. With a `backbone_rate` of 0 only the two linear maps are fitted, on the averages of features
            that are computed once: minutes become seconds, and the result is the optimum.
    """

    size: tuple[int, int] = (320, 640)
    fit: FitSettings = field(default_factory=lambda: FitSettings(epochs=10, batch=8))


class AttentionNet(nn.Module):
    """Score maps of C keywords on EfficientNet-Lite0, at stride 16, for objects that are small in a road picture.

    The maps are the sum of one linear map on the last features (stride 32, upsampled) and one on those of stride 16.
    """

    def __init__(self, classes: int, pretrained: bool = True) -> None:
        super().__init__()
        self.backbone = EfficientNetLite()
        if pretrained:
            self.backbone.load_imagenet(imagenet_state())
        self.coarse = nn.Conv2d(self.backbone.channels[3], classes, 1)
        self.fine = nn.Conv2d(self.backbone.channels[2], classes, 1, bias=False)
        for layer in (self.coarse, self.fine):
            nn.init.normal_(layer.weight, std=0.01)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) normalized, sides multiples of 32 -> (B, C, H/16, W/16) scores, before the sigmoid."""
        _, _, fine, coarse = self.backbone(image)
        scores = F.interpolate(self.coarse(coarse), size=fine.shape[2:], mode="bilinear", align_corners=False)
        return scores + self.fine(fine)


def attention_loss(scores: Tensor, keywords: Tensor) -> Tensor:
    """Eq 1: mean binary cross-entropy of C classifiers, each the sigmoid of its score map's average.

    Args:
        scores: (B, C, h, w).
        keywords: (B, C), 1 where the frame has the keyword.
    """
    return F.binary_cross_entropy_with_logits(scores.mean((2, 3)), keywords.to(scores.dtype))


def box_probabilities(attention: ArrayLike, boxes: ArrayLike, size: tuple[int, int]) -> NDArray[np.float64]:
    """Eq 2: the mean attention inside each box.

    The maps are taken as constant within a cell and integrated exactly, so that a box smaller than a cell or across
    two has the share of each. (The minus sign of the printed equation would make probabilities negative.)

    Args:
        attention: (C, h, w) in [0, 1], after the sigmoid.
        boxes: (n, 4) (x0, y0, x1, y1) in pixels of the frame, x1 and y1 exclusive.
        size: (height, width) of the frame.

    Returns:
        (n, C) float64 in [0, 1].

    Raises:
        WeakSupervisionError: a box that is empty or not finite, or maps of another shape.
    """
    maps = np.asarray(attention, np.float64)
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)
    if maps.ndim != 3 or 0 in maps.shape:
        raise WeakSupervisionError(f"expected attention maps of shape (C, h, w), got {maps.shape}")
    bad = np.flatnonzero(~((corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])))
    if bad.size or not np.isfinite(corners).all():
        raise WeakSupervisionError(f"expected boxes with x0 < x1 and y0 < y1, got {corners[bad[:1]].tolist()}")
    height, width = maps.shape[1:]
    scale = np.array([width / size[1], height / size[0]] * 2)
    x0, y0, x1, y1 = np.clip(corners * scale, 0, [width, height] * 2).T
    # A sliver at the border may vanish in the clipping: it keeps a thousandth of a cell.
    x0, y0 = np.minimum(x0, width - 1e-3), np.minimum(y0, height - 1e-3)
    x1, y1 = np.maximum(x1, x0 + 1e-3), np.maximum(y1, y0 + 1e-3)
    integral = np.zeros((maps.shape[0], height + 1, width + 1))
    integral[:, 1:, 1:] = maps.cumsum(1).cumsum(2)

    def at(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        column, row = np.minimum(x.astype(int), width - 1), np.minimum(y.astype(int), height - 1)
        right, down = x - column, y - row
        top = integral[:, row, column] * (1 - right) + integral[:, row, column + 1] * right
        bottom = integral[:, row + 1, column] * (1 - right) + integral[:, row + 1, column + 1] * right
        return top * (1 - down) + bottom * down

    sums = at(x1, y1) - at(x0, y1) - at(x1, y0) + at(x0, y0)
    return np.clip(sums / ((x1 - x0) * (y1 - y0)), 0.0, 1.0).T


class _Frames(Dataset[tuple[Tensor, Tensor]]):
    """Frames, resized once and mirrored and brightened anew at each draw, with their keywords."""

    def __init__(self, paths: Sequence[Path], keywords: NDArray[np.bool_], size: tuple[int, int], seed: int) -> None:
        self.images = [resize_image(read_image(path), size) for path in paths]
        self.keywords, self.seed = keywords, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, Tensor]:
        index, draw = item
        pixels = vary(self.images[index], (self.seed, draw), EfficientNetLite.mean, EfficientNetLite.std)
        return pixels, torch.from_numpy(self.keywords[index].astype(np.float32))


class _Module(PretrainedModule):
    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return attention_loss(self.net(batch[0]), batch[1])


def train_attention(
    paths: Sequence[Path],
    keywords: NDArray[np.bool_],
    settings: AttentionSettings,
    folder: Path,
    advance: Advance | None = None,
) -> tuple[AttentionNet, list[float]]:
    """Train the attention module on frames and their keywords.

    Args:
        paths: pictures.
        keywords: (frames, C) bool.
        settings: of the net and its training.
        folder: for the checkpoint, from which an interrupted training goes on.
        advance: told of every step.

    Returns:
        The network, in evaluation mode, and the mean loss of each epoch.
    """
    torch.manual_seed(settings.fit.seed)
    if settings.fit.backbone_rate == 0:
        return _fit_linear(paths, keywords, settings, advance)
    dataset = _Frames(paths, keywords, settings.size, settings.fit.seed)
    net = AttentionNet(keywords.shape[1])
    module = _Module(net, settings.fit, steps_of(len(dataset), settings.fit))
    losses = fit(module, dataset, [len(dataset)], [1.0], folder, advance)
    return net.eval(), losses


def _fit_linear(
    paths: Sequence[Path], keywords: NDArray[np.bool_], settings: AttentionSettings, advance: Advance | None
) -> tuple[AttentionNet, list[float]]:
    """Minimize eq 1 over the linear maps alone.

    The average of a score map is the linear map of the average feature, since upsampling by two with clamped edges
    keeps the average: the loss is that of a logistic regression on one vector a frame.
    """
    device = inference_device()
    net = AttentionNet(keywords.shape[1]).eval().to(device)
    pooled = []
    with torch.no_grad():
        for done, path in enumerate(paths, 1):
            pixels = torch.from_numpy(preprocess(read_image(path), settings.size, net.backbone.mean, net.backbone.std))
            _, _, fine, coarse = net.backbone(torch.cat([pixels, pixels.flip(3)]).to(device))
            pooled.append(torch.cat([coarse.mean((2, 3)), fine.mean((2, 3))], 1).mean(0).cpu())
            if advance:
                advance(done, len(paths))
    vectors, target = torch.stack(pooled), torch.from_numpy(keywords.astype(np.float32))
    scale = vectors.std(0, correction=0).clamp_min(1e-6)
    weight = torch.zeros(keywords.shape[1], vectors.shape[1], requires_grad=True)
    bias = torch.zeros(keywords.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=500, line_search_fn="strong_wolfe")
    shifted = (vectors - vectors.mean(0)) / scale

    def loss() -> Tensor:
        optimizer.zero_grad()
        fit_loss = F.binary_cross_entropy_with_logits(shifted @ weight.T + bias, target)
        total = fit_loss + _RIDGE * weight.square().sum() / len(target.T)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[arg-type]
    final = float(loss().detach())
    with torch.no_grad():
        plain = weight / scale
        inner = net.coarse.in_channels
        net.coarse.weight.copy_(plain[:, :inner, None, None])
        net.fine.weight.copy_(plain[:, inner:, None, None])
        assert net.coarse.bias is not None
        net.coarse.bias.copy_(bias - plain @ vectors.mean(0))
    return net, [final]


@torch.inference_mode()
def attend(
    net: AttentionNet,
    paths: Sequence[Path],
    size: tuple[int, int],
    visit: Callable[[int, NDArray[np.float32]], None],
    batch: int = 8,
) -> None:
    """Give `visit` the index of each picture and its (C, h, w) attention maps, A_i of section 3.1."""
    device = inference_device()
    net.to(device)
    for part in in_batches(len(paths), batch):
        pixels = np.concatenate(
            [preprocess(read_image(paths[i]), size, net.backbone.mean, net.backbone.std) for i in part]
        )
        maps = torch.sigmoid(net(torch.from_numpy(pixels).to(device))).float().cpu().numpy()
        for i, one in zip(part, maps, strict=True):
            visit(i, one)
