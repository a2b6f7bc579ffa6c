"""ONNX export, int8 quantization and packaging of lane networks."""

from __future__ import annotations

import os
import resource
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from rtseg.errors import DatasetError, ModelError
from rtseg.lab.deploy import export, package, quantize
from rtseg.lab.deploy.export import export_onnx, run_maps
from rtseg.lab.deploy.package import package_model
from rtseg.lab.deploy.quantize import (
    calibrate_ranges,
    compare_networks,
    network_inputs,
    quantize_network,
    read_float_network,
)
from rtseg.lab.nets.l2c import L2CLanes
from rtseg.lab.training.config import TrainingConfig
from rtseg.lab.training.train import load_network, save_weights
from rtseg.runtime.card import ModelCard, verified_model_file

SIZE = (64, 96)


def network(backbone: str = "efficientnet-lite0") -> L2CLanes:
    """A network with lived-in BatchNorm statistics, so that folding them is no identity."""
    torch.manual_seed(0)
    net = L2CLanes(backbone, channels=16, lanes=4).train()  # type: ignore[arg-type]
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(4, 3, *SIZE))
    return net.eval()


def images(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    pictures = []
    for _ in range(count):
        picture = rng.integers(0, 256, (45, 80, 3), dtype=np.uint8)
        pictures.append(cv2.resize(picture, (160, 90), interpolation=cv2.INTER_CUBIC))
    return pictures


@pytest.mark.parametrize("backbone", ["efficientnet-lite0", "resnet18-half"])
def test_the_file_computes_what_torch_does(tmp_path: Path, backbone: str) -> None:
    net, path = network(backbone), tmp_path / "model.onnx"
    assert export_onnx(net, path, SIZE) < 1e-3
    image = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        np.testing.assert_allclose(run_maps(path, image.numpy())["logits"], net(image).numpy(), atol=1e-3)
    model = onnx.load(path)
    (given,), (result,) = model.graph.input, model.graph.output
    assert (given.name, result.name) == ("image", "logits")
    assert [d.dim_value for d in given.type.tensor_type.shape.dim] == [1, 3, *SIZE]
    assert {entry.domain: entry.version for entry in model.opset_import}[""] >= 17
    operators = Counter(node.op_type for node in model.graph.node)
    assert set(operators) <= {"Conv", "Relu", "Clip", "Add", "Resize", "MaxPool"}
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}


def test_a_runs_line_bias_lowers_the_background_alone(tmp_path: Path, run_folder: Path) -> None:
    weights = run_folder / "model.safetensors"
    net, config = load_network(weights)
    save_weights(net, weights, config.model_copy(update={"line_bias": 0.75}))
    export_onnx(weights, tmp_path / "model.onnx")
    image = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        expected = net(image).numpy()
    expected[:, 0] -= 0.75
    np.testing.assert_allclose(run_maps(tmp_path / "model.onnx", image.numpy())["logits"], expected, atol=1e-3)


@pytest.mark.slow
def test_the_export_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="size"):
        export_onnx(network(), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="differ"):
        export_onnx(network(), tmp_path / "model.onnx", SIZE, tolerance=0.0)


@pytest.mark.slow
def test_a_disk_that_is_full_while_the_network_is_folded_is_told(tmp_path: Path) -> None:
    export_onnx(network("resnet18-half"), tmp_path / "raw.onnx", SIZE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(ModelError, match=r"could not write .* space on that disk"):
            export._fold(tmp_path / "raw.onnx", tmp_path / "model.onnx")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.slow
def test_int8_stays_near_float_and_is_smaller(tmp_path: Path) -> None:
    net = network()
    floating, quantized = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    export_onnx(net, floating, SIZE)
    inputs = network_inputs(images(24), SIZE, net.mean, net.std)
    assert inputs[0].shape == (1, 3, *SIZE)
    onnx.save(quantize_network(calibrate_ranges(read_float_network(floating), inputs[:16]), "cpu"), quantized)
    report = compare_networks(floating, quantized, inputs[16:])
    assert report.frames == 8
    assert report.rms_error < 0.35
    assert compare_networks(floating, floating, inputs[:2]).rms_error == 0.0
    assert compare_networks(floating, floating, inputs[:2]).background_agreement == 1.0
    assert quantized.stat().st_size < 0.4 * floating.stat().st_size
    operators = Counter(node.op_type for node in onnx.load(quantized).graph.node)
    assert operators["QuantizeLinear"] > 20
    assert operators["DequantizeLinear"] > 50


def test_quantizing_needs_frames() -> None:
    with pytest.raises(ModelError, match="calibrate"):
        calibrate_ranges(onnx.ModelProto(), [])


def test_percentiles_of_frames_held_a_few_at_a_time_are_those_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_onnx(network(), tmp_path / "float.onnx", SIZE)
    rng = np.random.default_rng(0)
    # Each frame reaches farther than those before it, so that one that is left out is missed.
    inputs = [(i + 1) * rng.standard_normal((1, 3, *SIZE)).astype(np.float32) for i in range(6)]
    few = calibrate_ranges(read_float_network(tmp_path / "float.onnx"), inputs, "percentile").ranges
    monkeypatch.setattr(quantize, "_HISTOGRAM_FRAMES", len(inputs))
    whole = calibrate_ranges(read_float_network(tmp_path / "float.onnx"), inputs, "percentile").ranges
    assert few.keys() == whole.keys()
    for name in whole.keys():  # noqa: SIM118
        span = float(np.ptp(whole[name].range_value))
        np.testing.assert_allclose(few[name].range_value, whole[name].range_value, atol=0.02 * span)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    config = TrainingConfig.model_validate(
        {
            "name": "small",
            "network": {"backbone": "efficientnet-lite0", "channels": 16, "lanes": 4},
            "input": {"width": SIZE[1], "height": SIZE[0]},
            "data": {"rendered_seeds": [0, 2], "rendered_size": [90, 160]},
            "epochs": 1,
            "samples_per_epoch": 4,
        }
    )
    save_weights(network(), folder / "model.safetensors", config)
    (folder / "command.txt").write_text("rtseg train small --out run\n")
    return folder


@pytest.mark.slow
def test_a_run_becomes_a_model_that_the_runtime_loads(
    tmp_path: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rtseg

    monkeypatch.setattr(package, "RENDERED_FRAMES", 4)
    real = tmp_path / "real"
    real.mkdir()
    for i, picture in enumerate(images(5)):
        cv2.imwrite(str(real / f"{i}.jpg"), picture)
    out = tmp_path / "lanes-small"
    card = ModelCard.load(package_model(run_folder, out, [real]))
    assert (card.name, card.model.precision, card.outputs[0].channels) == ("lanes-small", "int8", 5)
    assert (card.input.height, card.input.width) == SIZE
    assert card.training.command == "rtseg train small --out run"
    for entry in (card.model, *card.alternatives):
        verified_model_file(out, entry)
    lanes = rtseg.load(out)(images(1, seed=9)[0])
    assert lanes.mask.shape == (90, 160)


def test_packaging_says_what_is_missing(tmp_path: Path, run_folder: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        package_model(tmp_path / "nothing", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="pictures"):
        package_model(run_folder, tmp_path / "out", [tmp_path / "empty"])


@pytest.mark.parametrize("kind", ["pipe", "half", "link to itself"])
def test_pictures_to_calibrate_with_are_read_as_all_others(kind: str, tmp_path: Path, run_folder: Path) -> None:
    config = load_network(run_folder / "model.safetensors")[1]
    picture = tmp_path / "real" / "1.png"
    picture.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(picture)  # which OpenCV would wait for
    elif kind == "half":
        encoded = cv2.imencode(".png", images(1)[0])[1].tobytes()
        picture.write_bytes(encoded[: len(encoded) // 2])
    else:
        picture.symlink_to(picture)
    with pytest.raises(DatasetError, match=r"1\.png"):
        package.calibration_images([picture.parent], config)


def test_a_command_that_is_no_text_does_not_keep_a_run_from_being_exported(tmp_path: Path) -> None:
    (tmp_path / "command.txt").write_bytes(b"rtseg train \xff")
    assert package._told_command(tmp_path).startswith("rtseg train")
