"""The converter of npm's ResNet-50, on a narrow network in the package's layout against Keras' arithmetic."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rtseg.errors import ModelError
from rtseg.lab.nets.imagenet_resnet50 import read_imagenet_resnet50
from rtseg.lab.nets.resnet import ResNet

WIDTHS = (8, 16, 32, 64)
BLOCKS = ("abc", "abcd", "abcdef", "abc")


def keras_tensors() -> dict[str, np.ndarray]:
    """Random tensors under the package's names, an eighth as wide."""
    rng = np.random.default_rng(0)
    tensors: dict[str, np.ndarray] = {}

    def layer(conv: str, norm: str, size: int, inputs: int, outputs: int) -> None:
        for part in ("gamma", "beta", "moving_mean", "moving_variance"):
            tensors[f"{norm}/{part}"] = rng.uniform(0.3, 1.0, outputs)
        tensors[f"{conv}/kernel"] = rng.normal(0, (2 / (size * size * inputs)) ** 0.5, (size, size, inputs, outputs))
        tensors[f"{conv}/bias"] = rng.normal(0, 0.3, outputs)

    layer("conv1", "bn_conv1", 7, 3, WIDTHS[0])
    tensors["conv1/kernel"] /= 60.0
    inputs = WIDTHS[0]
    for stage, (width, letters) in enumerate(zip(WIDTHS, BLOCKS, strict=True), start=2):
        for letter in letters:
            name = f"{stage}{letter}_branch"
            layer(f"res{name}2a", f"bn{name}2a", 1, inputs, width)
            layer(f"res{name}2b", f"bn{name}2b", 3, width, width)
            layer(f"res{name}2c", f"bn{name}2c", 1, width, 4 * width)
            if letter == "a":
                layer(f"res{name}1", f"bn{name}1", 1, inputs, 4 * width)
            inputs = 4 * width
    tensors["fc1000/kernel"] = rng.normal(size=(inputs, 5))
    tensors["fc1000/bias"] = rng.normal(size=5)
    return {name: value.astype(np.float32) for name, value in tensors.items()}


def write_package(folder: Path, tensors: dict[str, np.ndarray]) -> Path:
    """model.json and two shards whose border lies inside a tensor."""
    data = b"".join(value.astype("<f4").tobytes() for value in tensors.values())
    cut = len(data) // 2 + 1
    (folder / "group1-shard1of2.bin").write_bytes(data[:cut])
    (folder / "group1-shard2of2.bin").write_bytes(data[cut:])
    weights = [{"name": name, "shape": list(value.shape), "dtype": "float32"} for name, value in tensors.items()]
    group = {"paths": ["group1-shard1of2.bin", "group1-shard2of2.bin"], "weights": weights}
    (folder / "model.json").write_text(json.dumps({"format": "layers-model", "weightsManifest": [group]}))
    return folder


def keras_features(tensors: dict[str, np.ndarray], rgb: torch.Tensor) -> torch.Tensor:
    """Keras' ResNet50 to its last stage: BGR minus its mean, biases, epsilon 1e-3, stride on a block's first layer."""

    def conv(x: torch.Tensor, name: str, norm: str, stride: int = 1, padding: int = 0) -> torch.Tensor:
        kernel = torch.from_numpy(tensors[f"{name}/kernel"]).permute(3, 2, 0, 1)
        x = F.conv2d(x, kernel, torch.from_numpy(tensors[f"{name}/bias"]), stride, padding)
        gamma, beta, mean, variance = (
            torch.from_numpy(tensors[f"{norm}/{part}"]) for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return F.batch_norm(x, mean, variance, gamma, beta, eps=1e-3)

    mean = torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
    # The border is filled with torchvision's mean, where the two networks are said to differ.
    border = torch.tensor(ResNet.mean).flip(0).view(3, 1, 1)
    padded = F.pad(rgb.flip(1) - border, (3, 3, 3, 3)) + border - mean
    x = F.max_pool2d(F.relu(conv(padded, "conv1", "bn_conv1", 2)), 3, 2, 1)
    for stage, letters in enumerate(BLOCKS, start=2):
        for letter in letters:
            name = f"{stage}{letter}_branch"
            stride = 2 if letter == "a" and stage > 2 else 1
            y = F.relu(conv(x, f"res{name}2a", f"bn{name}2a", stride))
            y = F.relu(conv(y, f"res{name}2b", f"bn{name}2b", padding=1))
            y = conv(y, f"res{name}2c", f"bn{name}2c")
            x = F.relu(y + (conv(x, f"res{name}1", f"bn{name}1", stride) if letter == "a" else x))
    return x


def test_the_converted_network_computes_what_keras_does(tmp_path: Path) -> None:
    tensors = keras_tensors()
    state = read_imagenet_resnet50(write_package(tmp_path, tensors))
    net = ResNet(50, 0.125, stride_first=True).eval()
    net.load_imagenet(state)
    rgb = torch.randint(0, 256, (2, 3, 64, 96), generator=torch.Generator().manual_seed(0)).float()
    normalized = (rgb - torch.tensor(net.mean).view(3, 1, 1)) / torch.tensor(net.std).view(3, 1, 1)
    with torch.no_grad():
        found, expected = net(normalized)[-1], keras_features(tensors, rgb)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    assert float(expected.std()) > 0.01
    assert state["fc.weight"].shape == (5, 256)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "model.json").unlink(), "model.json"),
        (lambda folder: (folder / "model.json").write_text("{}"), "weightsManifest"),
        (lambda folder: (folder / "group1-shard2of2.bin").unlink(), "shard2"),
        (lambda folder: (folder / "group1-shard2of2.bin").write_bytes(b"short"), "end before"),
    ],
)
def test_broken_packages_are_named(tmp_path: Path, change: object, message: str) -> None:
    write_package(tmp_path, keras_tensors())
    change(tmp_path)  # type: ignore[operator]
    with pytest.raises(ModelError, match=message):
        read_imagenet_resnet50(tmp_path)


def test_tensors_of_another_network_are_refused(tmp_path: Path) -> None:
    tensors = keras_tensors()
    del tensors["bn3a_branch2b/gamma"]
    with pytest.raises(ModelError, match="bn3a_branch2b"):
        read_imagenet_resnet50(write_package(tmp_path, tensors))
