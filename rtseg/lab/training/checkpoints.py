"""What an interrupted training goes on from; looked at before anything is written, for power goes when it likes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import nn

from rtseg.errors import ConfigError
from rtseg.files import replacing

CHECKPOINT = "last.ckpt"
"""Of a run's folder."""


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints whole or not at all, whatever disk they are on.

    Lightning writes them where temporary files are, and from there copies them in place of the last one if that is on
    another disk: whoever is stopped then, or finds the disk full, has neither.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write one.

        Raises:
            MediaError: it cannot be written; what was there is left.
        """
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with replacing(path) as partial:
            partial.write_bytes(content.getbuffer())


def epochs_done(checkpoint: Path) -> int:
    """How many epochs a training has behind it that left this checkpoint.

    Raises:
        ConfigError: it cannot be read.
    """
    return int(_read(checkpoint)["epoch"]) + 1


def check_checkpoint(checkpoint: Path, module: nn.Module) -> int:
    """Make sure that a training can go on from a checkpoint, and give its epochs, as :func:`epochs_done`.

    Args:
        checkpoint: file that a run left.
        module: what is trained, with all that the checkpoint holds of it.

    Raises:
        ConfigError: it cannot be read, or is of another network.
    """
    content = _read(checkpoint)
    kept = {name: tuple(value.shape) for name, value in content["state_dict"].items()}
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    for name in sorted(kept.keys() | wanted.keys()):
        if kept.get(name) != wanted.get(name):
            raise ConfigError(
                f"expected the network of this configuration in {checkpoint}, got another: {name} is "
                f"{kept.get(name, 'missing')} for {wanted.get(name, 'nothing')}; train anew, or with the configuration "
                "that the run began with"
            )
    return int(content["epoch"]) + 1


def _read(checkpoint: Path) -> dict[str, Any]:
    try:
        content = torch.load(checkpoint, weights_only=True, map_location="cpu")
        if {"epoch", "state_dict", "optimizer_states", "lr_schedulers", "loops"} <= content.keys():
            return dict(content)
        reason = "it lacks what a training leaves"
    except Exception as error:  # of what is damaged anything can be thrown
        reason = str(error) if isinstance(error, OSError) else "it is damaged, or holds more than numbers"
    raise ConfigError(
        f"expected a training's checkpoint in {checkpoint}: {reason}; remove it, and what it held is trained anew"
    )
