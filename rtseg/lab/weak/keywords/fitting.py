"""Fitting the small networks behind tag assignment with Lightning, resumable after every epoch."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, Dataset

from rtseg.files import replacing
from rtseg.lab.training.checkpoints import CHECKPOINT, check_checkpoint
from rtseg.lab.training.lanes.datasets import MixtureSampler
from rtseg.lab.training.loader_errors import told_in_a_sentence
from rtseg.ops.preprocess import preprocess

Advance = Callable[[int, int], None]
"""Called after every step with the steps done and the steps there are."""


@dataclass(frozen=True)
class FitSettings:
    """How long and how fast.

    Attributes:
        epochs: passes over the data.
        batch: samples a step.
        rate: AdamW's rate at the start of a cosine to 0.
        backbone_rate: multiplies the rate of the pretrained part; 0 leaves it as it is.
        weight_decay: of AdamW.
        seed: of the order, the augmentation and the new weights.
    """

    epochs: int = 8
    batch: int = 16
    rate: float = 1e-3
    backbone_rate: float = 0.1
    weight_decay: float = 1e-4
    seed: int = 0


class PretrainedModule(lightning.LightningModule):
    """A network whose `backbone` came trained: its normalization stays as it is, since batches are small."""

    def __init__(self, net: nn.Module, settings: FitSettings, steps: int) -> None:
        super().__init__()
        self.net = net
        self.settings = settings
        self.steps = steps

    def loss(self, batch: Any) -> torch.Tensor:
        raise NotImplementedError

    def on_train_epoch_start(self) -> None:
        for module in self.net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        return self.loss(batch)

    def configure_optimizers(self) -> Any:
        s = self.settings
        groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for name, parameter in self.net.named_parameters():
            groups[name.startswith("backbone.")].append(parameter)
            if name.startswith("backbone.") and s.backbone_rate == 0:
                parameter.requires_grad_(False)
        optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in members if p.requires_grad], "lr": s.rate * (s.backbone_rate if pre else 1.0)}
                for pre, members in groups.items()
            ],
            weight_decay=s.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, self.steps))))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def steps_of(samples: int, settings: FitSettings) -> int:
    """Optimizer steps of a whole fit."""
    return settings.epochs * math.ceil(samples / settings.batch)


def fit(
    module: PretrainedModule,
    dataset: Dataset[Any],
    sizes: list[int],
    weights: list[float],
    folder: Path,
    advance: Advance | None = None,
    workers: int = 0,
) -> list[float]:
    """Train a module, going on from `folder/last.ckpt` where an interrupted run left one.

    Args:
        module: what is trained.
        dataset: indexed by (index, draw), as :class:`MixtureSampler` gives them.
        sizes: samples in each part of the data set, parts one behind the other; an epoch is as long as all together.
        weights: share of each part in an epoch.
        folder: where the checkpoint is kept; it is deleted at the end.
        advance: told of every step.
        workers: processes that prepare samples.

    Returns:
        Mean loss of each epoch.
    """
    settings = module.settings
    sampler = MixtureSampler(sizes, weights, sum(sizes), settings.seed)
    loader: DataLoader[Any] = DataLoader(dataset, settings.batch, sampler=sampler, num_workers=workers)
    checkpoint = folder / CHECKPOINT
    found = checkpoint if checkpoint.is_file() else None
    if found:
        check_checkpoint(found, module)
    callback = _Keep(checkpoint, sampler, advance)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Few steps and no loader processes are meant; the rest of Lightning's advice does not apply to small sets.
        warnings.filterwarnings("ignore", module="lightning")
        trainer = lightning.Trainer(
            max_epochs=settings.epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            gradient_clip_val=5.0,
            devices=1,
            callbacks=[callback],
        )
        with told_in_a_sentence():
            trainer.fit(module, loader, ckpt_path=found, weights_only=True)
    checkpoint.unlink(missing_ok=True)
    return callback.losses


class _Keep(Callback):
    """Keeps a checkpoint and the mean loss of each epoch, and tells the sampler and the progress bar where it is."""

    def __init__(self, checkpoint: Path, sampler: MixtureSampler, advance: Advance | None) -> None:
        self.checkpoint, self.sampler, self.advance = checkpoint, sampler, advance
        self.losses: list[float] = []
        self._epoch: list[torch.Tensor] = []

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.sampler.set_epoch(trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._epoch.append(outputs["loss"].detach())
        if self.advance:
            self.advance(trainer.global_step, int(trainer.estimated_stepping_batches))

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.losses.append(float(torch.stack(self._epoch).mean()))
        self._epoch = []
        with replacing(self.checkpoint) as partial:
            trainer.save_checkpoint(partial)

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self.losses}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.losses = list(state_dict["losses"])


def vary(image: NDArray[np.uint8], seed: tuple[int, int], mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Brighten or darken and perhaps mirror an (H, W, 3) picture, by `seed`; (3, H, W) float32 normalized RGB."""
    rng = np.random.default_rng(seed)
    varied = cv2.convertScaleAbs(image, alpha=rng.uniform(0.7, 1.3))
    if rng.random() < 0.5:
        varied = varied[:, ::-1]
    return torch.from_numpy(preprocess(np.asarray(varied, np.uint8), (image.shape[0], image.shape[1]), mean, std)[0])


def inference_device() -> torch.device:
    """Where networks are applied: the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def in_batches(count: int, batch: int) -> Iterable[range]:
    """Ranges of at most `batch` that cover 0..count - 1."""
    return (range(first, min(first + batch, count)) for first in range(0, count, batch))
