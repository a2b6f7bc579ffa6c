"""Training runs: data, Lightning's trainer, checkpoints and weights on disk."""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import cv2
import lightning
import torch
import yaml
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import nn
from torch.utils.data import DataLoader

from rtseg.errors import ConfigError, ModelError
from rtseg.files import write_bytes, write_text
from rtseg.lab.training.averaged_module import AveragedModule
from rtseg.lab.training.checkpoints import CHECKPOINT, WholeCheckpoints, check_checkpoint
from rtseg.lab.training.config import RunConfig
from rtseg.lab.training.configurations import load_config, parse_config
from rtseg.lab.training.epochs import EpochPictures
from rtseg.lab.training.exported_weights import fitted, load_exported
from rtseg.lab.training.families import FAMILIES, Rendering, training_loader
from rtseg.lab.training.hours import (
    Deadline,
    InTime,
    begun_with,
    planned,
    scheduled,
    seconds_a_step,
    tell_plan,
    with_rendered,
)
from rtseg.lab.training.lanes.datasets import MixtureSampler
from rtseg.lab.training.loader_errors import told_in_a_sentence
from rtseg.lab.training.quick import shortened
from rtseg.printing import progress_console, remarks_console
from rtseg.progress import spoken
from rtseg.runtime import find_model

Config = TypeVar("Config", bound=RunConfig)

_START_WEIGHTS = "start.safetensors"


def train(
    config: RunConfig | str | Path,
    data: Sequence[Path],
    out: Path,
    resume: bool = False,
    validation: Sequence[Path] = (),
    cache: Path | None = None,
    start: str | None = None,
    images: Path | None = None,
    quick: bool = False,
    deadline: Deadline | None = None,
) -> Path:
    """Train a network.

    Args:
        config: the run's configuration, its file, or the name of a bundled one; its `model` says what is trained.
        data: folders of real frames. For lanes of TuSimple's kind or CULane's (see `load_real`), may be empty;
            for instances Cityscapes' own layout or cityscapes640.
        out: folder of the run: `config.yaml`, `command.txt`, `last.ckpt`, TensorBoard logs, `report.html` with what is
            found after each epoch, and the averaged weights as `model.safetensors`; what they are blended with, if with
            anything, as `start.safetensors`.
        resume: go on from `out/last.ckpt`.
        validation: folders of real frames that are only looked at.
        cache: folder of rendered frames; `out/rendered` by default.
        start: what to go on from instead of the configuration's: a safetensors file of a run, a bundled model, or a
            model folder.
        images: folder of the pictures, where they lie outside of the labels' own.
        quick: see :func:`rtseg.lab.training.quick.shortened`.
        deadline: when it has to be done: epochs are planned by the rate of steps measured here, and told.

    On several machines torchrun starts it, and the batch is divided among all processes.

    Returns:
        The path of the safetensors file.

    Raises:
        ConfigError: if the configuration asks for data that were not given, there is nothing to resume or what there is
            is damaged or another network's, there is nothing to blend with, or several processes have a deadline.
        DatasetError: if labels do not parse.
        ModelError: if there is nothing to start from, or it is another network's.
        TrainingError: if no gradient is finite any more.
    """
    named = config.name if isinstance(config, RunConfig) else str(config)
    if not isinstance(config, RunConfig):
        config = load_config(config)
    if start is not None:
        config = config.model_copy(update={"start": start})
    checkpoint = out / CHECKPOINT
    if resume and not checkpoint.is_file():
        raise ConfigError(f"expected a checkpoint to resume at {checkpoint}, which is not there; leave --resume out")
    # OpenCV's threads do not survive the fork of loader processes, which then wait for them for ever.
    cv2.setNumThreads(1)
    config, nodes = _spread(config)
    _check_start(config)
    family = FAMILIES[config.model]
    if family.own_classes is not None:
        config = family.own_classes(config, data, images)
    if quick:
        config = shortened(config)
    config = _prepared(config, out, resume, deadline)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\.")  # what it thinks of these settings is not the user's
    lightning.seed_everything(config.seed, verbose=False)
    module = family.module(config)
    until = deadline.rendering if deadline else math.inf
    rendering = Rendering(cache or out / "rendered", until)
    samples = family.data(config, module.net, data, validation, rendering, images)
    config = with_rendered(config, samples.rendered)
    if config.threads:
        torch.set_num_threads(config.threads)
    loader = training_loader(config, samples)
    done = 0
    if resume:
        done = check_checkpoint(checkpoint, module)
    elif config.start:
        _start(module, config, loader, deadline)
    config = module.config = _planned(config, module, loader, done, deadline)
    samples.sampler.samples = config.samples_per_epoch
    write_text(out / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    folders = "".join(f" --data {folder}" for folder in data)
    started = f" --start {start}" if start is not None else ""
    write_text(out / "command.txt", f"rtseg train {named}{started}{folders} --out {out}\n")
    if config.start and not resume and config.blend < 1:
        begun = module.net
        if config.blend_with:
            begun = copy.deepcopy(begun)
            _load_run(begun, config.blend_with)
        save_weights(begun, out / _START_WEIGHTS, config)
    module.held_out_names = tuple(samples.held_out)
    held_out = [DataLoader(part, config.batch) for part in samples.held_out.values()] or None
    trainer = lightning.Trainer(
        max_epochs=config.epochs,
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
        devices=config.processes // nodes if config.processes > 1 else "auto",
        num_nodes=nodes,
        accelerator="cpu" if config.processes // nodes > max(1, torch.cuda.device_count()) else "auto",
        strategy="ddp" if config.processes > 1 else "auto",
        benchmark=torch.cuda.is_available(),  # samples are all of one size
        gradient_clip_val=config.optimizer.clip_norm,
        logger=TensorBoardLogger(str(out), name="", version="logs"),
        plugins=[WholeCheckpoints()],
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_checkpointing=False,
        enable_progress_bar=not progress_console.quiet,
        callbacks=[
            _Save(out),
            _SetEpoch(samples.sampler),
            EpochPictures(out, named, samples.training, samples.held_out),
            _PlainProgress() if progress_console.quiet else RichProgressBar(console_kwargs={"stderr": True}),
            *([InTime(deadline)] if deadline else []),
        ],
    )
    with _interruptible(), told_in_a_sentence():
        trainer.fit(module, loader, held_out, ckpt_path=checkpoint if resume else None, weights_only=True)
    return out / "model.safetensors"


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C be one: Lightning ends the process with 1, which means something else, and deafens it to the next."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def _prepared(config: Config, out: Path, resume: bool, deadline: Deadline | None) -> Config:
    """What a run that has to end in time starts from: of one that goes on, its own earlier plan."""
    if deadline is None:
        return config
    if config.processes > 1:
        raise ConfigError(f"expected one process where hours are given, got {config.processes}; give epochs instead")
    if not resume:
        return config
    earlier = load_config(out / "config.yaml")
    if not isinstance(earlier, type(config)):
        raise ConfigError(f"expected a run of {config.model} to go on with in {out}, got one of {earlier.model}")
    return earlier


def _planned(
    config: Config,
    module: AveragedModule,
    loader: DataLoader[Any],
    done: int,
    deadline: Deadline | None,
) -> Config:
    """The configuration with the epochs that there is time for beside those that are done, which is told."""
    if deadline is None:
        return config
    with _interruptible(), told_in_a_sentence():
        step = seconds_a_step(module, loader, deadline)
    if not done:
        config = planned(config, step, deadline.left)
    else:
        an_epoch = step * math.ceil(config.samples_per_epoch / config.batch)
        config = scheduled(config, done + max(1, int(deadline.left / an_epoch)), config.samples_per_epoch)
    tell_plan(config, step, done)
    return config


def _spread(config: Config) -> tuple[Config, int]:
    """The configuration with as many processes as torchrun started, where it did, and the number of machines."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return config, 1
    processes, nodes = int(os.environ["WORLD_SIZE"]), int(os.environ["GROUP_WORLD_SIZE"])
    return config.model_copy(update={"processes": processes}), nodes


def _check_start(config: RunConfig) -> None:
    """Make sure that there is something to start from, before anything that takes long."""
    if config.blend < 1 and not config.start:
        raise ConfigError(f"expected something to start from where blend is below 1, got blend {config.blend} alone")
    if not config.start:
        return
    if Path(config.start).suffix == ".safetensors":
        try:
            with safe_open(Path(config.start), framework="pt"):
                return
        except (OSError, SafetensorError) as error:
            raise ModelError(f"expected weights to start from at {config.start}: {error}") from error
    find_model(config.start)


def _start(module: AveragedModule, config: RunConfig, loader: DataLoader[Any], deadline: Deadline | None) -> None:
    """Load the weights to go on from: a run's, or those of an exported model."""
    if Path(config.start).suffix == ".safetensors":
        _load_run(module.net, config.start)
    else:
        few = begun_with(loader, deadline)
        batches = (batch["image"] if isinstance(batch, dict) else batch[0] for batch in few)
        load_exported(module.net, config.start, batches, getattr(config, "line_bias", 0.0))
    module.average.load_state_dict(module.net.state_dict())
    module.train()


def _load_run(net: nn.Module, weights: str) -> None:
    """Load the weights of a run, a safetensors file."""
    found = fitted(net, read_weights(Path(weights)), weights)
    try:
        net.load_state_dict(found)
    except RuntimeError as error:
        raise ModelError(f"the weights in {weights} are not of this network: {error}") from error


@torch.no_grad()
def _blend(net: nn.Module, start: dict[str, torch.Tensor], share: float) -> nn.Module:
    """A network whose weights lie between those of the start and the trained ones, `share` of the way."""
    blended = copy.deepcopy(net)
    for name, value in blended.state_dict().items():
        if value.is_floating_point():
            value.lerp_(start[name].to(value.device), 1.0 - share)
    return blended


def save_between(run: Path, out: Path, share: float) -> None:
    """Write weights that lie between those that a blended run started from and its own.

    Args:
        run: folder of a run with a `blend` below 1.
        out: folder to write `model.safetensors` to.
        share: of the way from the start, 0 to 1.

    Raises:
        ModelError: the run's weights are missing or broken.
    """
    net, config = load_network(run / "model.safetensors")
    between = _blend(net, read_weights(run / _START_WEIGHTS), share)
    out.mkdir(parents=True, exist_ok=True)
    save_weights(between, out / "model.safetensors", config.model_copy(update={"blend": share * config.blend}))


def save_weights(net: nn.Module, path: Path, config: RunConfig) -> None:
    """Write a network's weights as safetensors, with the configuration in the metadata, at once or not at all."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    # Whose own writing of files tells of a full disk in errors of a kind of its own.
    write_bytes(path, serialized(tensors, metadata={"config": config.model_dump_json()}))


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a safetensors file.

    Raises:
        ModelError: if it is missing or broken.
    """
    return _open_weights(path)[0]


def load_network(path: Path) -> tuple[Any, Any]:
    """Rebuild a trained network, in evaluation mode, from a safetensors file that `train` wrote.

    Returns:
        The network and its configuration, of the kind that the configuration's `model` names in `FAMILIES`.

    Raises:
        ModelError: if the file is missing or broken, names no configuration, or its weights do not fit.
        ConfigError: if that configuration does not validate.
    """
    tensors, metadata = _open_weights(path)
    if "config" not in metadata:
        raise ModelError(f"expected the training configuration in the metadata of {path}, found none; train it again")
    config = parse_config(json.loads(metadata["config"]), f"the configuration in {path}")
    net = FAMILIES[config.model].build(config, False)
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(f"the weights in {path} do not fit the network they name: {error}") from error
    return net.eval(), config


def _open_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"expected a safetensors file of trained weights at {path}: {error}") from error


class _Save(Callback):
    """Writes the checkpoint to resume from, and the averaged weights as safetensors, after each epoch."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, AveragedModule)
        trainer.save_checkpoint(self.out / CHECKPOINT)
        if trainer.is_global_zero:
            kept: nn.Module = module.average
            if module.config.blend < 1:
                kept = _blend(kept, read_weights(self.out / _START_WEIGHTS), module.config.blend)
            save_weights(kept, self.out / "model.safetensors", module.config)


class _SetEpoch(Callback):
    """Tells the sampler the epoch, also after resuming."""

    def __init__(self, sampler: MixtureSampler) -> None:
        self.sampler = sampler

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.sampler.set_epoch(trainer.current_epoch)


class _PlainProgress(Callback):
    """A line of text now and then, where no terminal can show a bar."""

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._began, self._first = time.monotonic(), trainer.global_step

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        last = batch_idx + 1 == trainer.num_training_batches
        if trainer.is_global_zero and (trainer.global_step % 20 == 0 or last):
            loss = float(trainer.callback_metrics.get("train/loss", torch.nan))
            total = trainer.num_training_batches
            left = int(total) * (trainer.max_epochs or 1) - trainer.global_step
            per_step = (time.monotonic() - self._began) / max(1, trainer.global_step - self._first)
            place = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs} batch {batch_idx + 1}/{total}"
            remarks_console.print(f"{place} loss {loss:.3f}, {spoken(max(0, left) * per_step)} left")
