"""One spoiled step must not cost a training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rtseg.errors import TrainingError
from rtseg.lab.training.averaged_module import AveragedModule
from rtseg.lab.training.configurations import load_config


def module_and_optimizer() -> tuple[AveragedModule, torch.optim.Optimizer]:
    torch.manual_seed(0)
    module = AveragedModule(load_config("lanes-lite"), nn.Conv2d(2, 3, 3), nn.Conv2d(2, 3, 3))
    return module, module.configure_optimizers()["optimizer"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_step_with_gradients_that_are_not_finite_leaves_the_weights_sound(value: float) -> None:
    module, optimizer = module_and_optimizer()
    module.net(torch.ones(1, 2, 4, 4)).sum().backward()
    module.net.weight.grad[0, 0, 0, 0] = value  # type: ignore[index]
    before = module.net.bias.detach().clone()
    module.on_before_optimizer_step(optimizer)
    optimizer.step()
    assert all(bool(torch.isfinite(p).all()) for p in module.net.parameters())
    assert torch.equal(module.net.bias, before)


def test_sound_steps_are_taken_and_end_the_count() -> None:
    module, optimizer = module_and_optimizer()
    for bad, spoiled in ((True, 1), (True, 2), (False, 0)):
        optimizer.zero_grad()
        (module.net(torch.ones(1, 2, 4, 4)).sum() * (float("nan") if bad else 1.0)).backward()
        module.on_before_optimizer_step(optimizer)
        assert module.spoiled == spoiled
    assert module.net.weight.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_a_training_that_only_has_spoiled_steps_ends_and_says_what_to_do() -> None:
    module, optimizer = module_and_optimizer()
    (module.net(torch.ones(1, 2, 4, 4)).sum()).backward()
    module.spoiled = 99
    module.net.bias.grad[0] = float("nan")  # type: ignore[index]
    with pytest.raises(TrainingError, match="lower optimizer"):
        module.on_before_optimizer_step(optimizer)
