"""A model folder made smaller: its fp32 network with weights in float16."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from rtseg.files import write_bytes
from rtseg.lab.deploy.quantize import network_inputs, open_session
from rtseg.lab.render import render_road, render_street
from rtseg.runtime.card import ModelCard, sha256_of
from rtseg.runtime.half_weights import with_half_weights
from rtseg.runtime.models import Model, find_model, float_network

_FRAMES = 6
_SEED = 900_000  # beyond what models are trained on


@dataclass(frozen=True)
class Stored:
    """What storing weights in float16 did.

    Attributes:
        before: bytes of the file.
        after: bytes of the file.
        change: root mean square change of the output that changes most, relative to its standard deviation.
    """

    before: int
    after: int
    change: float


def store_in_half(folder: Path) -> Stored:
    """Store the weights of a model's fp32 network in float16, and enter the new hash into its card.

    Args:
        folder: of the model.

    Returns:
        Sizes, and the change of the outputs over rendered frames.

    Raises:
        ModelError: if there is no model with an fp32 network.
        MediaError: if the folder cannot be written.
    """
    model = find_model(folder)
    path = float_network(model)
    before = onnx.load(path)
    after = with_half_weights(before)
    size = path.stat().st_size
    change = _change(before, after, model)
    write_bytes(path, after.SerializeToString())
    card = model.card
    files = tuple(
        file.model_copy(update={"sha256": sha256_of(path)}) if file.file == path.name else file for file in card.files
    )
    ModelCard.model_copy(card, update={"model": files[0], "alternatives": files[1:]}).dump(path.parent / "card.yaml")
    return Stored(size, path.stat().st_size, change)


def _change(before: onnx.ModelProto, after: onnx.ModelProto, model: Model) -> float:
    needs = model.card.input
    size = (needs.height, needs.width)
    if model.card.task == "lanes":
        images = [render_road(_SEED + i).image for i in range(_FRAMES)]
    else:
        images = [render_street(_SEED + i, size).image for i in range(_FRAMES)]
    sessions = [open_session(network) for network in (before, after)]
    worst = 0.0
    for tensor in network_inputs(images, size, needs.mean, needs.std, needs.order):
        maps = (session.run(None, {needs.name: tensor}) for session in sessions)
        for exact, stored in zip(*maps, strict=True):
            worst = max(worst, float(np.sqrt(np.square(stored - exact).mean()) / exact.std()))
    return worst
