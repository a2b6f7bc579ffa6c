"""How long the training of an adaptation is: as long as the minutes allow on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from rtseg.errors import ModelError
from rtseg.lab.render import render_road
from rtseg.lab.training.config import TrainingConfig
from rtseg.lab.training.configurations import load_config
from rtseg.lab.training.exported_weights import load_exported
from rtseg.lab.training.lanes.module import build_network
from rtseg.runtime import find_model

RECIPE = "lanes-lite-finetune"
_OTHERS = ("lanes-r18",)  # whose networks are trained by the same schedule
_MOST = 20_000  # samples: more teach nothing new
_LEAST = 64  # samples, however little time there is
_RENDERED = 10  # samples for every rendered frame
_MOST_RENDERED = 1000  # frames
_EPOCH = 240.0  # seconds after which there is something to resume from
_LOADING = 1.25  # of a step's time: what reading and augmenting adds to it


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
        config = recipe.model_copy(
            update={"network": network, "input": other.input, "labels": other.labels, "start": model}
        )
        # Whether it is that network is known before an hour is spent.
        net = build_network(config)
        load_exported(net, model, [torch.randn(2, 3, other.input.height, other.input.width)], config.line_bias)
        return config
    known = " or ".join(("lanes-lite", *_OTHERS))
    raise ModelError(
        f"expected a lane network that is trained here, such as {known} or what was made of them, got {card.name}; "
        "train others where they come from"
    )


def fitted(config: TrainingConfig, seconds: float) -> TrainingConfig:
    """The configuration with as many samples, rendered frames and epochs as fit into so many seconds here, or a few."""
    threads = max(1, torch.get_num_threads() - 1) if not torch.cuda.is_available() else 1
    config = config.model_copy(update={"threads": threads})
    rendering = _seconds(lambda: render_road(0, config.data.rendered_size)) / 2  # by two processes
    per_sample = _seconds_a_sample(config) + rendering / _RENDERED
    samples = max(_LEAST, min(_MOST, int(seconds / per_sample)))
    epochs = max(2, min(20, round(seconds / _EPOCH)))
    first = config.data.rendered_seeds[0]
    rendered = max(16, min(_MOST_RENDERED, samples // _RENDERED))
    steps = samples // config.batch
    return config.model_copy(
        update={
            "epochs": epochs,
            "samples_per_epoch": max(config.batch, samples // epochs),
            "data": config.data.model_copy(update={"rendered_seeds": (first, first + rendered)}),
            "optimizer": config.optimizer.model_copy(
                update={"warmup_steps": min(config.optimizer.warmup_steps, steps // 5)}
            ),
        }
    )


def _seconds_a_sample(config: TrainingConfig) -> float:
    """Of a step of training, forward and backward, measured here."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = build_network(config).to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    image = torch.randn(config.batch, 3, config.input.height, config.input.width, device=device)
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=config.precision == "bf16"):
            loss = net(image).float().square().mean()
        loss.backward()

    seconds = _seconds(step)
    torch.set_num_threads(before)
    return _LOADING * seconds / config.batch


def _seconds(work: Callable[[], object]) -> float:
    """Seconds of the faster of two calls, after one that warms up."""
    taken = []
    for _ in range(3):
        begin = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - begin)
    return min(taken[1:])
