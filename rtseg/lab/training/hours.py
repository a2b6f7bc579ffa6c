"""A training that ends in time: as many epochs as the hours allow, by the rate of steps measured on this machine."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from rtseg.counted import counted
from rtseg.lab.training.averaged_module import AveragedModule
from rtseg.lab.training.config import RunConfig
from rtseg.printing import remarks_console

Config = TypeVar("Config", bound=RunConfig)

_RENDERING = 0.25  # of the time, at most
_RESERVED = 0.1  # of the time: what is looked at and written after each epoch, and other work of the machine
_LONGEST = 2  # times the samples of the configuration
_LEAST_EPOCHS = 5  # where there is time for so many steps
_MEASURED = 6  # steps, after as many as it takes to be warm
_WARM = 2
_BATCHES = 16  # that BatchNorm's statistics are measured on when an exported model is gone on from
_MEASURING = 0.05  # of the time: on a machine that is busy with other things fewer steps have to do


@dataclass(frozen=True)
class Deadline:
    """When a training has to be done.

    Attributes:
        begun: of the clock `time.monotonic`.
        seconds: from then on.
    """

    begun: float
    seconds: float

    @classmethod
    def of(cls, seconds: float) -> Deadline:
        """So many seconds from now."""
        return cls(time.monotonic(), seconds)

    @property
    def rendering(self) -> float:
        """When frames have to be rendered that are rendered from now on."""
        return time.monotonic() + _RENDERING * self.seconds

    @property
    def left(self) -> float:
        """Seconds that can be trained for, from now on."""
        return self.begun + self.seconds * (1 - _RESERVED) - time.monotonic()


def with_rendered(config: Config, frames: int) -> Config:
    """The configuration with as many rendered frames as there were made, which is told where they are fewer."""
    if not frames:
        return config
    first, last = config.data.rendered_seeds
    if frames < last - first:
        remarks_console.print(f"plan: {frames} rendered frames instead of {last - first}")
    return config.with_rendered(frames)


def begun_with(batches: Iterable[Any], deadline: Deadline | None) -> Iterator[Any]:
    """The batches that a network's statistics are measured on before a training: a few where there is little time."""
    until = time.monotonic() + _MEASURING * deadline.seconds if deadline else math.inf
    for batch in islice(batches, _BATCHES):
        yield batch
        if time.monotonic() > until:
            return


def seconds_a_step(module: AveragedModule, loader: DataLoader[Any], deadline: Deadline) -> float:
    """Seconds of a step, reading and augmenting included, measured on a copy of the module."""
    clock = _Clock(time.monotonic() + _MEASURING * deadline.seconds)
    trainer = lightning.Trainer(
        max_steps=_WARM + _MEASURED,
        max_epochs=-1,
        limit_val_batches=0,
        precision="bf16-mixed" if module.config.precision == "bf16" else "32-true",
        devices=1,
        logger=False,
        callbacks=[clock],
        enable_model_summary=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    state = torch.get_rng_state()
    trainer.fit(copy.deepcopy(module), loader)
    torch.set_rng_state(state)
    warm = min(_WARM, len(clock.stamps) - 1)
    return (clock.stamps[-1] - clock.stamps[warm - 1]) / (len(clock.stamps) - warm)


def planned(config: Config, seconds_a_step: float, seconds: float) -> Config:
    """The configuration with the epochs that fit into so many seconds, and a schedule as long as these.

    At most twice the samples that it has; epochs get shorter where fewer than five would fit.
    """
    steps = max(1, int(seconds / seconds_a_step))
    samples = max(config.batch, min(steps * config.batch, _LONGEST * config.epochs * config.samples_per_epoch))
    per_epoch = max(config.batch, min(config.samples_per_epoch, samples // _LEAST_EPOCHS))
    return scheduled(config, max(1, samples // per_epoch), per_epoch)


def scheduled(config: Config, epochs: int, samples_per_epoch: int) -> Config:
    """The configuration with other epochs; warm-up, plateau and steps of its rate keep their share of the run."""
    settings, before = config.optimizer, config.epochs * config.samples_per_epoch
    share = epochs * samples_per_epoch / before
    changed = {
        "warmup_steps": int(settings.warmup_steps * min(1.0, share)),
        "hold_steps": int(settings.hold_steps * share),
        "step_epochs": max(1, round(settings.step_epochs * epochs / config.epochs)),
    }
    optimizer = settings.model_copy(update=changed)
    return config.model_copy(update={"epochs": epochs, "samples_per_epoch": samples_per_epoch, "optimizer": optimizer})


def tell_plan(config: RunConfig, seconds_a_step: float, done: int = 0) -> None:
    """Say what is going to happen, and until when, after so many epochs that are `done`."""
    steps = (config.epochs - done) * math.ceil(config.samples_per_epoch / config.batch)
    until = time.strftime("%H:%M", time.localtime(time.time() + steps * seconds_a_step / (1 - _RESERVED)))
    epochs = counted(config.epochs, "epoch")
    rate = config.batch / seconds_a_step
    remarks_console.print(
        f"plan: {epochs} of {config.samples_per_epoch} samples, {rate:.1f} samples a second here; done at about {until}"
    )


class InTime(Callback):
    """Ends a training in time: by fewer epochs where they take longer than planned, the last one cut if it must be."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._begun, self._first = 0.0, 0

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._begun, self._first = time.monotonic(), trainer.current_epoch

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if self._deadline.left < 0:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, AveragedModule)
        done, epochs = trainer.current_epoch + 1, module.config.epochs
        an_epoch = (time.monotonic() - self._begun) / (done - self._first)
        fitting = done + max(0, int(self._deadline.left / an_epoch))
        if fitting < epochs and not trainer.should_stop:
            remarks_console.print(
                f"plan: {counted(fitting, 'epoch')} instead of {epochs}, as they take longer than was measured"
            )
            module.config = scheduled(module.config, fitting, module.config.samples_per_epoch)
            trainer.fit_loop.max_epochs = fitting


class _Clock(Callback):
    def __init__(self, until: float) -> None:
        self._until = until
        self.stamps: list[float] = []

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.stamps.append(time.monotonic())
        trainer.should_stop = len(self.stamps) > 1 and self.stamps[-1] > self._until
