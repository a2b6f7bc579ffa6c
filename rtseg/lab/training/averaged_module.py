"""What all Lightning modules here share: a network, a moving average of its weights, optimizer and schedule."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rtseg.errors import TrainingError
from rtseg.lab.training.config import OptimizerConfig, RunConfig

logger = logging.getLogger("rtseg")

_MOST_SPOILED = 100


class AveragedModule(lightning.LightningModule):
    """A network, its optimizer and a slowly moving average of its weights, which is what is kept.

    Args:
        config: the run's configuration.
        net: the network to train.
        average: another of the same shape.
    """

    def __init__(self, config: RunConfig, net: nn.Module, average: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.net = net
        self.average = average.requires_grad_(False).eval()
        self.average.load_state_dict(self.net.state_dict())
        self._frozen: list[nn.Module] = []
        self.spoiled = 0
        self.held_out_names: tuple[str, ...] = ()
        for module in (self.net, self.average):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def train(self, mode: bool = True) -> AveragedModule:
        """Switch to training mode; neither the average nor frozen parts ever train."""
        super().train(mode)
        for module in (self.average, *self._frozen):
            module.eval()
        return self

    def keep_frozen(self, parts: Sequence[nn.Module]) -> None:
        """Keep the weights and BatchNorm statistics of parts of the network as they are."""
        self._frozen += parts
        for module in parts:
            module.requires_grad_(False)

    def log_held_out(self, values: Mapping[str, Any], part: int, samples: int) -> None:
        """Log what was measured on a batch of a held-out set, under ``val/`` and the set's name, if it has one."""
        name = self.held_out_names[part] if part < len(self.held_out_names) else ""
        place = f"val/{name}/" if name else "val/"
        for measure, value in values.items():
            self.log(f"{place}{measure}", value, batch_size=samples, sync_dist=True, add_dataloader_idx=False)

    def pictures(self, batch: Any) -> list[NDArray[np.uint8]]:
        """What the average finds in a batch beside what is true, (H, W, 3) uint8 RGB each; none by default."""
        return []

    def draw_generator(self) -> torch.Generator:
        """Generator of a step's draws: by step and process, so that a resumed run draws what an unbroken one would."""
        draw = (self.config.seed * 1_000_003 + self.global_step) * 64 + self.global_rank
        return torch.Generator().manual_seed(draw)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave out a step whose gradients are not finite: it would spoil all weights, and the average for good.

        Raises:
            TrainingError: after a hundred of these in a row, since nothing is learned any more.
        """
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        # Asked of all at once: each answer that is waited for would leave a card idle.
        if not gradients or bool(torch.stack([torch.isfinite(gradient).all() for gradient in gradients]).all()):
            self.spoiled = 0
            return
        self.spoiled += 1
        logger.warning("step %d left out: its gradients are not finite", self.global_step)
        if self.spoiled >= _MOST_SPOILED:
            raise TrainingError(
                f"expected finite gradients, got none in {self.spoiled} steps in a row at step {self.global_step}; "
                "lower optimizer.rate, or use precision fp32"
            )
        for gradient in gradients:
            gradient.zero_()

    def on_train_batch_end(self, *_: Any) -> None:
        update_average(self.average, self.net, self.config.ema, self.global_step)

    def configure_optimizers(self) -> Any:
        settings = self.config.optimizer
        optimizer = _optimizer(self.net, settings)
        per_epoch = math.ceil(self.config.samples_per_epoch / self.config.batch)

        def factor(step: int) -> float:
            """By the configuration as it is now: a run that has to end in time may come to fewer epochs."""
            return _schedule(self.config.optimizer, per_epoch, self.config.epochs)(step)

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


@torch.no_grad()
def update_average(average: nn.Module, net: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the weights; early steps count more, so that the start is forgotten."""
    keep = min(decay, (1.0 + step) / (10.0 + step))
    means, values = [], []
    for mean, value in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if mean.is_floating_point():
            means.append(mean)
            values.append(value)
        else:
            mean.copy_(value)
    torch._foreach_lerp_(means, values, 1.0 - keep)


def _optimizer(net: nn.Module, settings: OptimizerConfig) -> torch.optim.Optimizer:
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            # Neither biases nor the scales of BatchNorm are decayed.
            groups.setdefault((name.startswith("backbone"), parameter.ndim > 1), []).append(parameter)
    parameters = [
        {
            "params": members,
            "lr": settings.rate * (settings.backbone_rate if backbone else 1.0),
            "weight_decay": settings.weight_decay if decayed else 0.0,
        }
        for (backbone, decayed), members in groups.items()
    ]
    if settings.name == "sgd":
        return torch.optim.SGD(parameters, momentum=0.9)
    return torch.optim.AdamW(parameters)


def _schedule(settings: OptimizerConfig, steps_per_epoch: int, epochs: int) -> Callable[[int], float]:
    total = steps_per_epoch * epochs

    def factor(step: int) -> float:
        warm = min(1.0, (step + 1) / (settings.warmup_steps + 1))
        if settings.schedule == "step":
            return warm * settings.step_factor ** (step // (steps_per_epoch * settings.step_epochs))
        if settings.schedule == "poly":
            start = settings.warmup_steps + settings.hold_steps
            done = min(1.0, max(0, step - start) / max(1, total - start))
            return warm * float((1.0 - done) ** 0.9)
        return warm * 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / total)))

    return factor
