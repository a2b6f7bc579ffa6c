"""What an adaptation is trained by, and how much of an earlier training is done."""

from __future__ import annotations

from pathlib import Path

import torch

from rtseg.errors import ModelError
from rtseg.lab.training.checkpoints import CHECKPOINT, epochs_done
from rtseg.lab.training.config import TrainingConfig
from rtseg.lab.training.configurations import load_config
from rtseg.lab.training.exported_weights import load_exported
from rtseg.lab.training.lanes.module import build_network
from rtseg.runtime import find_model

RECIPE = "lanes-lite-finetune"
_OTHERS = ("lanes-r18",)  # whose networks are trained by the same schedule


def recipe_for(model: str) -> TrainingConfig:
    """The configuration that goes on from a lane model: its network, trained as `lanes-lite-finetune` is.

    Raises:
        ModelError: the model is none that is trained here, or has no fp32 network.
    """
    card = find_model(model).card
    recipe = load_config(RECIPE)
    assert isinstance(recipe, TrainingConfig)
    for name in (RECIPE, *_OTHERS):
        other = load_config(name)
        assert isinstance(other, TrainingConfig)
        sizes = (other.input.width, other.input.height), other.network.lanes + 1
        if card.task != "lanes" or sizes != ((card.input.width, card.input.height), card.outputs[0].channels):
            continue
        network = other.network.model_copy(update={"pretrained": False})
        threads = 1 if torch.cuda.is_available() else max(1, torch.get_num_threads() - 1)  # one augments
        changed = {"network": network, "input": other.input, "labels": other.labels, "start": model, "threads": threads}
        config = recipe.model_copy(update=changed)
        # Whether it is that network is known before an hour is spent.
        net = build_network(config)
        load_exported(net, model, [torch.randn(2, 3, other.input.height, other.input.width)], config.line_bias)
        return config
    known = " or ".join(("lanes-lite", *_OTHERS))
    raise ModelError(
        f"expected a lane network that is trained here, such as {known} or what was made of them, got {card.name}; "
        "train others where they come from"
    )


def share_done(run: Path) -> float:
    """How much of its plan a training has behind it, 0 to 1; 0 of one that has not come to its first checkpoint."""
    checkpoint = run / CHECKPOINT
    if not checkpoint.is_file():
        return 0.0
    return min(1.0, epochs_done(checkpoint) / load_config(run / "config.yaml").epochs)
