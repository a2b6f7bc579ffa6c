"""The Lightning module of an L2C lane network: loss, validation, pictures."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rtseg.lab.nets.backbones import first_stages
from rtseg.lab.nets.l2c import L2CLanes
from rtseg.lab.training.averaged_module import AveragedModule
from rtseg.lab.training.config import TrainingConfig
from rtseg.lab.training.l2c_losses import l2c_loss
from rtseg.lab.training.lanes.distillation import LaneTeacher, distillation_loss

_COLORS = np.array(
    [[0, 0, 0], [230, 60, 60], [60, 200, 60], [70, 110, 255], [250, 200, 40], [210, 80, 230], [60, 220, 220]], np.uint8
)


class LaneModule(AveragedModule):
    """An L2C lane network with its loss.

    Args:
        config: the run's configuration.
    """

    config: TrainingConfig
    net: L2CLanes

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__(config, build_network(config), build_network(config, pretrained=False))
        self.keep_frozen(first_stages(self.net.backbone, config.network.frozen_stages))
        self._teacher: LaneTeacher | None = None

    def on_fit_start(self) -> None:
        if self.config.distil is not None:
            self._teacher = LaneTeacher(
                self.config.distil.teacher,
                self.config.network.lanes,
                self.net.mean,
                self.net.std,
                self.config.line_bias,
                self.device,
            )

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        image, ids = batch
        logits = self.net(image.contiguous(memory_format=torch.channels_last))
        losses = self._losses(logits, ids, self.draw_generator())
        if self._teacher is not None and self.config.distil is not None:
            taught = distillation_loss(logits, self._teacher(image))
            losses["loss"] = losses["loss"] + self.config.distil.weight * taught
            losses["distil"] = taught
        for name, value in losses.items():
            self.log(f"train/{name}", value.detach(), prog_bar=True)
        return losses["loss"]

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int, dataloader_idx: int = 0) -> None:
        image, ids = batch
        logits = self.average(image.contiguous(memory_format=torch.channels_last))
        losses = self._losses(logits, ids, torch.Generator().manual_seed(index))
        probability = 1.0 - torch.softmax(_to_labels(logits.float(), ids), dim=1)[:, 0]
        counted = ids != 255
        found, truth = (probability > 0.5) & counted, (ids > 0) & counted
        overlap = (found & truth).sum() / ((found | truth).sum() + 1e-6)
        measured = {**losses, "foreground_iou": overlap, "found_area": found.float().mean()}
        self.log_held_out(measured, dataloader_idx, len(image))

    def pictures(self, batch: tuple[Tensor, Tensor]) -> list[NDArray[np.uint8]]:
        image, ids = batch
        logits = self.average(image.contiguous(memory_format=torch.channels_last)).float()
        return [self._picture(*one) for one in zip(image, logits, ids, strict=True)]

    def _losses(self, logits: Tensor, ids: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        weights = self.config.loss
        with torch.autocast(logits.device.type, enabled=False):
            return l2c_loss(logits, ids, weights.samples, weights.margin, weights.split, generator)

    def _picture(self, image: Tensor, logits: Tensor, ids: Tensor) -> NDArray[np.uint8]:
        """Prediction above truth, (2 H, W, 3) uint8 RGB."""
        mean, std = (torch.tensor(value).view(3, 1, 1) for value in (self.net.mean, self.net.std))
        plain = (image.cpu() * std + mean).clamp(0, 255).byte().permute(1, 2, 0).numpy()
        found = _to_labels(logits[None], ids[None])[0].argmax(0).byte().cpu().numpy()
        size = (plain.shape[1], plain.shape[0])
        rows = []
        for mask in (found, ids.byte().cpu().numpy()):
            mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
            color = _COLORS[np.where(mask == 255, 0, mask % len(_COLORS))]
            rows.append(np.where(color.any(2, keepdims=True), color // 3 * 2 + plain // 3, plain))
        return np.concatenate(rows).astype(np.uint8)


def build_network(config: TrainingConfig, pretrained: bool | None = None) -> L2CLanes:
    """Make the network a configuration names; `pretrained` overrides whether ImageNet weights are loaded."""
    network = config.network
    wanted = network.pretrained if pretrained is None else pretrained
    return L2CLanes(network.backbone, network.channels, network.lanes, wanted)


def _to_labels(logits: Tensor, ids: Tensor) -> Tensor:
    return nn.functional.interpolate(logits, size=ids.shape[1:], mode="bilinear", align_corners=False)
