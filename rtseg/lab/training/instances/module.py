"""The Lightning module of the instance networks: losses of each paper, validation, pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rtseg.lab.nets.backbones import first_stages
from rtseg.lab.nets.daffnet import DaffNet
from rtseg.lab.nets.gmis import GMIS
from rtseg.lab.nets.heads import InstanceNetwork
from rtseg.lab.nets.l2c_instances import L2CInstances
from rtseg.lab.training.averaged_module import AveragedModule
from rtseg.lab.training.instances.config import DaffNetConfig, InstanceConfig
from rtseg.lab.training.instances.daffnet_losses import daffnet_losses
from rtseg.lab.training.instances.distillation import InstanceTeacher, distillation_losses
from rtseg.lab.training.instances.gmis_losses import gmis_losses
from rtseg.lab.training.instances.l2c_losses import l2c_instance_losses
from rtseg.lab.training.instances.labels import IGNORED_CLASS, at_stride
from rtseg.lab.training.instances.pictures import draw_prediction

Batch = dict[str, Tensor]

_NETWORKS: dict[str, Callable[..., InstanceNetwork]] = {"daffnet": DaffNet, "gmis": GMIS, "l2c-instances": L2CInstances}
_LOSSES: dict[str, Callable[..., dict[str, Tensor]]] = {
    "daffnet": daffnet_losses,
    "gmis": gmis_losses,
    "l2c-instances": l2c_instance_losses,
}


def build_instance_network(config: InstanceConfig, pretrained: bool | None = None) -> InstanceNetwork:
    """Make the network a configuration names; `pretrained` overrides whether ImageNet weights are loaded."""
    settings = config.network.model_dump(exclude={"frozen_stages"})
    if pretrained is not None:
        settings["pretrained"] = pretrained
    return _NETWORKS[config.model](len(config.classes), **settings)


class InstanceModule(AveragedModule):
    """An instance network with its paper's losses.

    Args:
        config: the run's configuration.
    """

    config: InstanceConfig
    net: InstanceNetwork
    average: InstanceNetwork
    seen: Tensor

    def __init__(self, config: InstanceConfig) -> None:
        super().__init__(config, build_instance_network(config), build_instance_network(config, pretrained=False))
        self._loss = _LOSSES[config.model]
        stages = config.network.frozen_stages
        self.keep_frozen([part for backbone in self.net.backbones for part in first_stages(backbone, stages)])
        self.register_buffer("seen", torch.zeros(2, 1 + len(config.classes)), persistent=False)
        self._distil = config.distil if isinstance(config, DaffNetConfig) else None
        self._teacher: InstanceTeacher | None = None

    def on_fit_start(self) -> None:
        if self._distil is not None:
            config, net = self.config, self.net
            self._teacher = InstanceTeacher(self._distil.teacher, config.classes, net.mean, net.std, config.threads)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        maps = self.net(batch["image"].contiguous(memory_format=torch.channels_last))
        losses = self._losses(maps, batch, self.draw_generator())
        if self._teacher is not None and self._distil is not None:
            with torch.autocast(batch["image"].device.type, enabled=False):
                taught = distillation_losses(maps, self._teacher(batch["image"]), batch, self.config.loss)  # type: ignore[attr-defined]
            losses["loss"] = losses["loss"] + self._distil.weight * taught
            losses["distil"] = taught
        for name, value in losses.items():
            self.log(f"train/{name}", value.detach(), prog_bar=name == "loss")
        return losses["loss"]

    def _losses(self, maps: Batch, batch: Batch, generator: torch.Generator) -> Batch:
        with torch.autocast(batch["image"].device.type, enabled=False):
            plain = {name: value.float() for name, value in maps.items()}
            return self._loss(plain, batch, self.config.loss, generator)  # type: ignore[attr-defined]

    def on_validation_epoch_start(self) -> None:
        self.seen.zero_()

    def validation_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:
        maps = self.average(batch["image"].contiguous(memory_format=torch.channels_last))
        losses = self._losses(maps, batch, torch.Generator().manual_seed(index))
        self.log_held_out(losses, dataloader_idx, len(batch["image"]))
        finest = next(entry for entry in self.net.maps if entry.kind == "semantic")
        self._count(maps[finest.name].argmax(1), at_stride(batch["semantic"], finest.stride))

    def pictures(self, batch: Batch) -> list[NDArray[np.uint8]]:
        maps = self.average(batch["image"].contiguous(memory_format=torch.channels_last))
        drawn = {entry.kind: maps[entry.name].float() for entry in reversed(self.net.maps)}  # the finest of each kind
        std, mean = (np.reshape(value, (3, 1, 1)) for value in (self.net.std, self.net.mean))
        return [
            draw_prediction(
                batch["image"][i].cpu().numpy() * std + mean,
                {kind: value[i].cpu().numpy() for kind, value in drawn.items()},
                batch["instances"][i].cpu().numpy(),
            )
            for i in range(len(batch["image"]))
        ]

    def _count(self, found: Tensor, truth: Tensor) -> None:
        """Add to the intersections and unions of each class, background first."""
        known = truth != IGNORED_CLASS
        for c in range(self.seen.shape[1]):
            a, b = (found == c) & known, truth == c
            self.seen[0, c] += (a & b).sum()
            self.seen[1, c] += (a | b).sum()

    def on_validation_epoch_end(self) -> None:
        seen = self.trainer.strategy.reduce(self.seen, reduce_op="sum")
        shares = seen[0, 1:] / seen[1, 1:].clamp(min=1)
        present = seen[1, 1:] > 0
        self.log("val/semantic_iou", shares[present].mean() if bool(present.any()) else shares.sum(), prog_bar=True)
