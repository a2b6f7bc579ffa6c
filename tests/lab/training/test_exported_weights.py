"""A shipped model can be trained on: the network gets its function back, in a state to train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from rtseg.errors import ModelError
from rtseg.lab.deploy.export import run_maps
from rtseg.lab.nets.heads import ExportedMaps, InstanceNetwork
from rtseg.lab.training.configurations import load_config
from rtseg.lab.training.exported_weights import fitted, load_exported
from rtseg.lab.training.families import FAMILIES
from rtseg.lab.training.instances.config import DaffNetConfig
from rtseg.runtime.card import ModelCard, sha256_of
from rtseg.runtime.models import bundled_models, bundled_models_folder, find_model


def new_network(name: str) -> nn.Module:
    torch.manual_seed(3)
    config = load_config(name)
    network: nn.Module = FAMILIES[config.model].build(config, False)
    return network


def pictures(network: nn.Module, size: tuple[int, int], seed: int = 0) -> Tensor:
    """Blurred noise, whose statistics are nearer to those of pictures than white noise has them."""
    noise = torch.randn(2, 3, size[0] // 8, size[1] // 8, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(noise, size, mode="bilinear")


def maps(network: nn.Module, image: Tensor) -> list[Tensor]:
    with torch.no_grad():
        found = ExportedMaps(network)(image) if isinstance(network, InstanceNetwork) else network(image)
    return [found] if isinstance(found, Tensor) else list(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(bundled_models()) - {"exemplar-solo"}))
def test_the_network_computes_what_the_file_does_evaluating_and_training(name: str) -> None:
    card = find_model(name).card
    size = (card.input.height, card.input.width)
    network = new_network(name)
    x = pictures(network, size)
    load_exported(network, name, [x])
    evaluated = maps(network.eval(), x)
    expected = run_maps(bundled_models_folder() / name / "model-fp32.onnx", x[:1].numpy()).values()
    for mine, theirs in zip(evaluated, expected, strict=True):
        np.testing.assert_allclose(mine[:1].numpy(), theirs, atol=2e-3 * max(1.0, np.abs(theirs).max()))
    # BatchNorm was measured on this very batch, so that normalizing by the batch's own statistics changes nothing.
    for mine, training in zip(evaluated, maps(network.train(), x), strict=True):
        np.testing.assert_allclose(training.numpy(), mine.numpy(), atol=1e-2 * max(1.0, float(mine.abs().max())))


@pytest.mark.parametrize("name", ["instances-lite", pytest.param("gmis-lite", marks=pytest.mark.slow)])
def test_a_network_of_other_classes_goes_on_but_for_what_tells_them(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = load_config(name)
    own = config.model_copy(update={"classes": ("pallet", "forklift")})
    torch.manual_seed(4)
    network = FAMILIES[config.model].build(own, False)
    x = pictures(network, (64, 96))
    begun = maps(network.eval(), x)
    load_exported(network, name, [x])
    assert f"{name} knows others" in caplog.text
    same = new_network(name)
    load_exported(same, name, [x])
    for entry, mine, before, theirs in zip(
        network.maps, maps(network.eval(), x), begun, maps(same.eval(), x), strict=True
    ):
        if entry.kind == "semantic":
            assert mine.shape == before.shape != theirs.shape
        else:
            torch.testing.assert_close(mine, theirs)


def test_weights_of_a_run_of_other_classes_are_fitted(caplog: pytest.LogCaptureFixture) -> None:
    config = load_config("instances-lite")
    assert isinstance(config, DaffNetConfig)
    given = FAMILIES[config.model].build(config, False)
    network = FAMILIES[config.model].build(config.model_copy(update={"classes": ("pallet",)}), False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(fitted(network, given.state_dict(), "a run"))
    assert "a run knows others" in caplog.text
    kept = {name for name, value in given.state_dict().items() if value.shape != before[name].shape}
    assert len(kept) == 2 * len({entry.stride for entry in network.maps})  # weight and bias at each stride
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name] if name in kept else given.state_dict()[name])
    narrow = config.model_copy(update={"network": config.network.model_copy(update={"channels": 32})})
    other = FAMILIES[config.model].build(narrow, False)
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict(fitted(other, given.state_dict(), "a run"))


def test_the_lowered_background_of_lanes_is_raised_again() -> None:
    low, plain = new_network("lanes-lite"), new_network("lanes-lite")
    x = pictures(low, (192, 320))
    load_exported(low, "lanes-lite", [x])
    load_exported(plain, "lanes-lite", [x], line_bias=1.0)
    difference = maps(plain.eval(), x)[0] - maps(low.eval(), x)[0]
    assert torch.allclose(difference[:, 0], torch.ones(()), atol=1e-4)
    assert torch.allclose(difference[:, 1:], torch.zeros(()), atol=1e-4)


def test_another_network_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    x = torch.randn(1, 3, 64, 96)
    for name in ("l2c-instances-lite", "lanes-r18"):
        with pytest.raises(ModelError, match="configuration's network"):
            load_exported(new_network(name), "lanes-lite", [x])
    with pytest.raises(ModelError, match="bundled model"):
        load_exported(new_network("lanes-lite"), "nothing-of-the-kind", [x])
    card = ModelCard.load(bundled_models_folder() / "lanes-lite" / "card.yaml")
    (tmp_path / "model.onnx").write_bytes((bundled_models_folder() / "lanes-lite" / "model.onnx").read_bytes())
    card.model_copy(update={"alternatives": ()}).dump(tmp_path / "card.yaml")
    with pytest.raises(ModelError, match="no fp32 network"):
        load_exported(new_network("lanes-lite"), str(tmp_path), [x])


@pytest.mark.parametrize(("name", "lacks"), [("exemplar-solo", "embedding, exemplar"), ("lanes-lite", "teacher;")])
def test_a_network_with_layers_that_only_train_is_refused(name: str, lacks: str) -> None:
    network = new_network(name)
    if name == "lanes-lite":
        network.teacher = nn.Conv2d(8, 8, 1)
    with pytest.raises(ModelError, match=rf"it lacks {lacks}.* model\.safetensors of its training"):
        load_exported(network, name, [torch.randn(1, 3, 64, 96)])


def test_weights_that_were_tampered_with_are_noticed(tmp_path: Path) -> None:
    """The hash holds, the names fit, but an activation was taken out: the maps tell."""
    model = onnx.load(bundled_models_folder() / "lanes-lite" / "model-fp32.onnx")
    clip = next(node for node in model.graph.node if node.op_type == "Clip")
    for node in model.graph.node:
        node.input[:] = [clip.input[0] if name == clip.output[0] else name for name in node.input]
    onnx.save(model, tmp_path / "model-fp32.onnx")
    card = ModelCard.load(bundled_models_folder() / "lanes-lite" / "card.yaml")
    entry = next(file for file in card.files if file.precision == "fp32")
    entry = entry.model_copy(update={"sha256": sha256_of(tmp_path / "model-fp32.onnx")})
    card.model_copy(update={"model": entry, "alternatives": ()}).dump(tmp_path / "card.yaml")
    with pytest.raises(ModelError, match="differ by"):
        load_exported(new_network("lanes-lite"), str(tmp_path), [torch.randn(1, 3, 192, 320)])


def test_without_pictures_nothing_can_be_measured() -> None:
    with pytest.raises(ModelError, match="images to measure"):
        load_exported(new_network("lanes-lite"), "lanes-lite", [])
