"""ONNX export, int8 and packaging of the instance networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import rtseg
from rtseg.lab.deploy import package
from rtseg.lab.deploy.export import export_onnx, run_maps
from rtseg.lab.deploy.package import package_model
from rtseg.lab.deploy.quantize import WEIGHTED, calibrate_ranges, quantize_network, read_float_network
from rtseg.lab.nets.daffnet import DaffNet
from rtseg.lab.nets.gmis import GMIS
from rtseg.lab.nets.heads import ExportedMaps, InstanceNetwork
from rtseg.lab.nets.l2c_instances import L2CInstances
from rtseg.lab.training.configurations import parse_config
from rtseg.lab.training.families import FAMILIES
from rtseg.lab.training.train import save_weights
from rtseg.runtime.card import ModelCard

SIZE = (64, 128)
NETWORKS = {
    "daffnet": lambda: DaffNet(2, "efficientnet-lite0", channels=16, head_channels=8, embedding=4),
    "daffnet-coarse-embedding": lambda: DaffNet(2, "efficientnet-lite0", channels=16, embedding=4, finest_embedding=8),
    "daffnet-paper": lambda: DaffNet(2, "resnet18-half", "deconvolution", 16, 8, 2, 4, dilation=4),
    "gmis": lambda: GMIS(2, "resnet18-half", channels=16),
    "gmis-skip": lambda: GMIS(2, "efficientnet-lite0", channels=16, shared=True, skip=True),
    "l2c": lambda: L2CInstances(2, "efficientnet-lite0", channels=16),
}


def lived_in(net: InstanceNetwork) -> InstanceNetwork:
    """Give a network BatchNorm statistics that are not those of a fresh one."""
    torch.manual_seed(0)
    net.train()
    with torch.no_grad():
        for _ in range(2):
            net(torch.randn(2, 3, *SIZE))
    return net.eval()


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_file_computes_what_torch_does(tmp_path: Path, kind: str) -> None:
    net, path = lived_in(NETWORKS[kind]()), tmp_path / "model.onnx"
    assert export_onnx(net, path, SIZE) < 1e-2
    image = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        expected = ExportedMaps(net)(image)
    found = run_maps(path, image.numpy())
    assert list(found) == [entry.name for entry in net.maps]
    for entry, value in zip(net.maps, expected, strict=True):
        np.testing.assert_allclose(found[entry.name], value.numpy(), rtol=1e-3, atol=2e-3)
        if entry.name.startswith("affinity"):
            assert 0.0 <= found[entry.name].min() <= found[entry.name].max() <= 1.0
    model = onnx.load(path)
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 3, *SIZE]
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}


@pytest.mark.slow
def test_int8_leaves_the_last_layers_and_what_follows_them_in_float(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(lived_in(NETWORKS["daffnet"]()), path, SIZE)
    inputs = [np.random.default_rng(i).normal(size=(1, 3, *SIZE)).astype(np.float32) for i in range(3)]
    calibration = calibrate_ranges(read_float_network(path), inputs)
    head = set(calibration.head)
    kinds = [node.op_type for node in calibration.network.graph.node if node.name in head]
    # One last layer a head and level, and what makes affinities symmetric and probabilities.
    assert sum(kind in WEIGHTED for kind in kinds) == 12
    assert kinds.count("Sigmoid") == 4
    for form in ("cpu", "tensorrt"):
        network = quantize_network(calibration, form)  # type: ignore[arg-type]
        made = {name: node.op_type for node in network.graph.node for name in node.output}
        for output in network.graph.output:
            assert made[output.name] in ("Conv", "Sigmoid")
        onnx.save(network, tmp_path / "int8.onnx")
        found = run_maps(tmp_path / "int8.onnx", inputs[0])
        assert all(np.isfinite(value).all() for value in found.values())


def run_folder(folder: Path, model: str, network: dict[str, Any]) -> Path:
    content = {
        "name": "small",
        "model": model,
        "network": {"backbone": "efficientnet-lite0", "channels": 16, **network},
        "classes": ["person", "car", "truck", "bicycle"],
        "input": {"width": SIZE[1], "height": SIZE[0]},
        "epochs": 1,
        "samples_per_epoch": 4,
    }
    config = parse_config(content, "test")
    folder.mkdir()
    save_weights(lived_in(FAMILIES[model].build(config, False)), folder / "model.safetensors", config)  # type: ignore[arg-type]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "network", "family", "method"),
    [
        ("daffnet", {"head_channels": 8, "embedding": 4}, "daffnet", "cascade_gaec"),
        ("gmis", {"shared": True}, "gmis", "graph_merge"),
        ("l2c-instances", {}, "l2c", "coloring"),
    ],
)
def test_a_run_becomes_a_model_that_the_runtime_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, network: dict[str, Any], family: str, method: str
) -> None:
    monkeypatch.setattr(package, "RENDERED_FRAMES", 2)
    out = tmp_path / f"{model}-small"
    card = ModelCard.load(package_model(run_folder(tmp_path / "run", model, network), out))
    assert (card.family, card.task, card.grouping.method) == (family, "instances", method)
    assert card.classes == ("person", "car", "truck", "bicycle")
    if model == "gmis":
        assert card.grouping.parameters["super_classes"] == [["person"], ["car", "truck"], ["bicycle"]]
    if model == "l2c-instances":
        # 20 and 1500 pixels at a width of 2048.
        assert card.grouping.parameters == {"merge_distance": 1.25, "score_area": 5.9}
    picture = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    instances = rtseg.load(out)(picture)
    assert instances.labels.shape == (90, 160)
