"""Training runs of the instance networks: configurations, short runs to their files, resuming."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rtseg.errors import ConfigError
from rtseg.lab.render.street.folder import write_streets as write_rendered
from rtseg.lab.training.averaged_module import _schedule
from rtseg.lab.training.config import OptimizerConfig
from rtseg.lab.training.configurations import load_config, load_stages, parse_config
from rtseg.lab.training.families import FAMILIES, Rendering
from rtseg.lab.training.instances.config import CITYSCAPES_THINGS, InstanceConfig
from rtseg.lab.training.instances.datasets import InstanceDataset
from rtseg.lab.training.instances.module import InstanceModule, build_instance_network
from rtseg.lab.training.instances.pictures import draw_prediction
from rtseg.lab.training.quick import quick_stage, shortened, with_own_classes
from rtseg.lab.training.train import load_network, read_weights, train
from tests.lab.training.instances.street_folder import write_streets

NETWORKS: dict[str, dict[str, Any]] = {
    "daffnet": {"backbone": "resnet18-half", "channels": 8, "head_channels": 8, "embedding": 4},
    "gmis": {"backbone": "resnet18-half", "channels": 8, "skip": True},
    "l2c-instances": {"backbone": "resnet18-half", "channels": 8},
}
SMALL = {
    "seed": 5,
    "input": {"width": 128, "height": 64},
    "crop": {"width": 96, "height": 64},
    "optimizer": {"name": "sgd", "rate": 0.01, "schedule": "step", "warmup_steps": 2},
    "epochs": 2,
    "samples_per_epoch": 4,
    "batch": 2,
    "precision": "fp32",
    "ema": 0.5,
    "workers": 0,
    "threads": 1,
}
CONFIGS = Path(__file__).parents[4] / "rtseg" / "lab" / "training" / "configs"


def small(model: str, **changes: Any) -> InstanceConfig:
    config = parse_config({**SMALL, "name": "small", "model": model, "network": NETWORKS[model], **changes}, "test")
    assert isinstance(config, InstanceConfig)
    return config


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_streets(tmp_path_factory.mktemp("data") / "streets")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_bundled_configuration_validates_and_its_network_is_made(path: Path) -> None:
    config = load_config(path.stem)
    assert config.name == path.stem
    with torch.device("meta"):
        net = FAMILIES[config.model].build(config, False)
    assert sum(value.numel() for value in net.parameters()) > 0


def test_the_papers_schedules_and_weights() -> None:
    daffnet, gmis, l2c = (load_config(name) for name in ("daffnet-r101", "gmis-r101", "l2c-instances-r101"))
    # DaffNet: 55,500 iterations of 16, 300 epochs of 2,975 pictures (section 4.3).
    assert daffnet.epochs * daffnet.samples_per_epoch // daffnet.batch == pytest.approx(55_500, rel=0.01)
    assert (daffnet.optimizer.warmup_steps, daffnet.optimizer.hold_steps) == (1000, 10_000)
    assert daffnet.network.embedding == 32  # type: ignore[attr-defined]
    assert daffnet.loss.affinity == (0.25, 0.5, 1.0, 1.0)  # type: ignore[attr-defined]
    # GMIS: 120,000 iterations of 64, the rate times 0.7 every 15,000 (section 5.1).
    per_epoch = gmis.samples_per_epoch // gmis.batch
    assert (gmis.epochs * per_epoch, gmis.optimizer.step_epochs * per_epoch) == (120_000, 15_000)
    assert (gmis.optimizer.rate, gmis.optimizer.step_factor) == (0.02, 0.7)
    # L2C: 90 epochs, 0.1 every 30, weights 1, 0.1, 0.01, 8 colors, 256 pixels, 50 samples (section V-B).
    assert (l2c.epochs, l2c.optimizer.step_epochs, l2c.optimizer.rate) == (90, 30, 0.01)
    loss, network = l2c.loss, l2c.network  # type: ignore[attr-defined]
    assert (loss.coloring, loss.semantic, loss.center) == (1.0, 0.1, 0.01)
    assert (network.colors, network.channels, loss.reach, loss.samples) == (8, 512, 256, 50)


def test_poly_holds_and_then_falls_to_nothing() -> None:
    settings = OptimizerConfig(schedule="poly", warmup_steps=10, hold_steps=20)
    factor = _schedule(settings, steps_per_epoch=10, epochs=13)
    assert [factor(step) for step in (10, 30)] == [1.0, 1.0]
    assert factor(80) == pytest.approx(0.5**0.9)
    assert factor(130) == 0.0
    assert factor(0) == pytest.approx(1 / 11)


@pytest.mark.slow
@pytest.mark.parametrize("model", NETWORKS)
def test_a_run_leaves_weights_that_load_and_pictures(tmp_path: Path, streets: Path, model: str) -> None:
    config = small(model, epochs=1)
    weights = train(config, [streets], tmp_path, validation=[streets])
    network, found = load_network(weights)
    assert found == config
    maps = network(torch.zeros(1, 3, 64, 128))
    assert all(bool(torch.isfinite(value).all()) for value in maps.values())
    events = EventAccumulator(str(tmp_path / "logs")).Reload()
    assert events.Tags()["images"]
    assert {"val/loss", "val/semantic", "val/semantic_iou"} <= set(events.Tags()["scalars"])


@pytest.mark.slow
def test_an_interrupted_run_ends_as_an_unbroken_one(tmp_path: Path, streets: Path) -> None:
    config = small("l2c-instances")  # its losses draw pixels
    expected = read_weights(train(config, [streets], tmp_path / "whole"))
    train(config.model_copy(update={"epochs": 1}), [streets], tmp_path / "broken")
    half = read_weights(tmp_path / "broken" / "model.safetensors")
    resumed = read_weights(train(config, [streets], tmp_path / "broken", resume=True))
    assert any(not torch.equal(half[name], expected[name]) for name in expected)
    for name, value in expected.items():
        torch.testing.assert_close(resumed[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_frozen_stages_stay_as_they_are(tmp_path: Path, streets: Path) -> None:
    network = {**NETWORKS["daffnet"], "frozen_stages": 2}
    config = small("daffnet", network=network, epochs=1)
    torch.manual_seed(0)
    module = InstanceModule(config)
    before = {name: value.clone() for name, value in module.net.state_dict().items()}
    module.train()
    batch = {
        "image": torch.randn(2, 3, 64, 96),
        "semantic": torch.zeros(2, 64, 96, dtype=torch.uint8),
        "instances": torch.zeros(2, 64, 96, dtype=torch.int32),
    }
    optimizer = module.configure_optimizers()["optimizer"]
    module._losses(module.net(batch["image"]), batch, torch.Generator())["loss"].backward()
    optimizer.step()
    changed = {name for name, value in module.net.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(
        name.startswith(("backbone.conv1", "backbone.bn1", "backbone.layer1", "backbone.layer2")) for name in changed
    )
    assert {"backbone.layer3.0.conv1.weight", "backbone.layer4.0.bn1.running_mean", "semantic.0.1.weight"} <= changed


def test_what_is_missing_is_said(tmp_path: Path, streets: Path) -> None:
    with pytest.raises(ConfigError, match="--data"):
        train(small("gmis"), [], tmp_path / "run")
    with pytest.raises(ConfigError, match="car, person"):
        train(small("gmis", classes=["car", "person"]), [streets], tmp_path / "run")
    with pytest.raises(ConfigError, match=r"model: expected one of .*daffnet"):
        parse_config({"name": "x", "model": "mask-rcnn"}, "test")
    assert not (tmp_path / "run").exists()


def test_rendered_streets_have_their_share_of_the_samples(tmp_path: Path, streets: Path) -> None:
    seeds, size = (3, 5), (64, 128)
    write_rendered(tmp_path / "streets-128x64", range(*seeds), size, workers=1)
    data = {"rendered_seeds": seeds, "rendered_size": size, "rendered_share": 0.75, "repeat": 0.5}
    config = small("daffnet", data=data, samples_per_epoch=2000)
    opened = FAMILIES["daffnet"].data(config, build_instance_network(config), [streets], [], Rendering(tmp_path), None)
    assert opened.rendered == 2
    assert isinstance(opened.training, InstanceDataset)
    names = [opened.training.frames[index].name for index, _ in opened.sampler]
    assert {name.split("_")[1] for name in names if name.startswith("street")} == {"000003", "000004"}
    assert sum(name.startswith("street") for name in names) / len(names) == pytest.approx(0.75, abs=0.03)
    assert opened.training[0]["image"].shape == opened.training[len(opened.training.frames) - 1]["image"].shape


def test_nothing_is_rendered_beside_labels_of_other_classes(tmp_path: Path, streets: Path) -> None:
    config = small("daffnet", data={"rendered_seeds": [3, 9999], "rendered_share": 0.5})
    assert with_own_classes(config, [streets]).data.rendered_share == 0.5
    assert with_own_classes(config.model_copy(update={"classes": ("dog",)}), [streets]).data.rendered_share == 0.0


def test_a_quick_run_renders_little_and_takes_the_stage_of_real_frames() -> None:
    config = small("daffnet", data={"rendered_seeds": [3, 9999], "rendered_share": 0.5})
    first, last = shortened(config).data.rendered_seeds
    assert (first, last) == (3, 27)
    stages = load_stages("instances-lite")
    assert stages[-1].data.rendered_share  # type: ignore[attr-defined]
    whole = next(stage for stage in stages if stage.stage == "whole")
    assert quick_stage(stages) == whole.model_copy(update={"stage": "", "after": ""})
    assert quick_stage(load_stages("lanes-lite")).seed == load_config("lanes-lite").seed


def test_pictures_show_input_truth_classes_and_grouping() -> None:
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (3, 16, 24))
    instances = np.zeros((16, 24), np.int32)
    instances[:8, :8], instances[12:, :] = 3, -1
    maps = {"semantic": np.zeros((9, 4, 6)), "affinity": np.full((4, 4, 6), -30.0)}
    maps["semantic"][2, 2:] = 1.0
    drawn = draw_prediction(image, maps, instances)
    assert drawn.shape == (32, 48, 3)
    np.testing.assert_array_equal(drawn[:16, :24], np.clip(image.transpose(1, 2, 0), 0, 255).astype(np.uint8))
    assert (drawn[8:12, 24:] == drawn[8:12, :24]).all()
    assert (drawn[:8, 24:32] != drawn[:8, :8]).any()
    assert (drawn[16:24, :24] == drawn[:8, :24]).all()
    assert (drawn[16:, 24:] == 0).all()
    assert CITYSCAPES_THINGS[2] == "car"
