"""What a network finds after each epoch, in TensorBoard and on a page beside the run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import Dataset, Subset, default_collate

from rtseg.files import write_bytes, write_text
from rtseg.lab.data.selection import evenly
from rtseg.lab.report.plots import plot_bars
from rtseg.lab.report.report import Picture, ReportData, write_report
from rtseg.lab.training.averaged_module import AveragedModule

_SAMPLES = 4  # of a set
_SHOWN = 12  # epochs on the page, evenly from all


class EpochPictures(Callback):
    """Draws the same few samples after every epoch, and writes ``report.html`` with them and what was measured.

    Pictures and measures lie in the folder ``epochs``, so that a run that is resumed goes on with its page.

    Args:
        out: folder of the run.
        name: of the configuration.
        training: what is learned from, of which the last samples are drawn where nothing is held out.
        held_out: sets that are only looked at, by name.
    """

    def __init__(self, out: Path, name: str, training: Dataset[Any], held_out: Mapping[str, Dataset[Any]]) -> None:
        self._out, self._name = out, name
        # Labelled frames stand behind those that are rendered.
        sets = {f"held out {key}".strip(): part for key, part in held_out.items()} or {"learned from": training}
        self._sets = {key: _last(part) for key, part in sets.items()}

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, AveragedModule)
        if not trainer.is_global_zero:
            return
        epoch, folder = trainer.current_epoch + 1, self._out / "epochs"
        for number, (name, part) in enumerate(self._sets.items()):
            batch = default_collate([part[i] for i in range(len(part))])  # no loader: it would draw from the run's seed
            batch = module.transfer_batch_to_device(batch, module.device, 0)
            with torch.no_grad():
                pictures = module.pictures(batch)
            if pictures and isinstance(trainer.logger, TensorBoardLogger):
                board = trainer.logger.experiment
                board.add_images(f"pictures/{name}", np.stack(pictures), module.global_step, dataformats="NHWC")
            for i, picture in enumerate(pictures):
                bgr = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), dtype=np.uint8)
                write_bytes(folder / f"{epoch:04d}_{number}_{i}.jpg", Picture.of("", bgr).jpeg)
        measured = {name: float(value) for name, value in trainer.callback_metrics.items()}
        finite = {name: value for name, value in measured.items() if math.isfinite(value)}
        write_text(folder / f"{epoch:04d}.json", json.dumps(finite, indent=1))
        self._write(folder, trainer.max_epochs or epoch)

    def _write(self, folder: Path, planned: int) -> None:
        epochs = {int(path.stem): json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
        numbers = sorted(epochs)
        names = sorted({name for measured in epochs.values() for name in measured})
        rows = [(str(n), *(f"{epochs[n].get(name, math.nan):.4g}" for name in names)) for n in numbers]
        gallery = [
            Picture(f"after epoch {n}, {name}", path.read_bytes())
            for n in reversed(evenly(numbers, _SHOWN))
            for number, name in enumerate(self._sets)
            for path in sorted(folder.glob(f"{n:04d}_{number}_*.jpg"))
        ]
        losses = [epochs[n].get("train/loss", 0.0) for n in numbers]
        data = ReportData(
            title=f"Training of {self._name}",
            subtitle="What the network finds beside what is true; TensorBoard has the same, and curves by step.",
            figures=[("epochs", f"{numbers[-1]} of {planned}"), ("loss", f"{losses[-1]:.3f}")],
            plots=[("Loss", plot_bars({"training": losses}, "epoch", "loss", [str(n) for n in numbers]))],
            tables=[("Measured after each epoch", ("epoch", *names), rows)],
            gallery=gallery,
        )
        write_report(self._out / "report.html", data)


def _last(part: Dataset[Any]) -> Subset[Any]:
    count = len(part)  # type: ignore[arg-type]
    return Subset(part, range(max(0, count - _SAMPLES), count))
