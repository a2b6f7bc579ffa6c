"""The lane networks alone, without pictures and lines: ``pytest bench/bench_lane_networks.py``.

The paper's network (ResNet-18, c = 32, 7 outputs) at 512x288 in fp32, for which the paper gives 55 frames a second on a
graphics card that it does not name; untrained, which takes as long. Beside it PyTorch, which it is trained in, and the
bundled lane models at their own sizes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from rtseg.lab.deploy.export import export_onnx
from rtseg.lab.training.configurations import load_config
from rtseg.lab.training.lanes.module import build_network
from rtseg.runtime.backends import create_backend
from rtseg.runtime.card import ModelCard, ModelFile, sha256_of
from rtseg.runtime.models import bundled_models, find_model

SIZE, PAPER = (288, 512), "paper's network, 512x288, fp32"
THREADS = 2
ROUNDS = {"rounds": 40, "warmup_rounds": 3}


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelCard, Path]:
    path = tmp_path_factory.mktemp("paper") / "model.onnx"
    torch.manual_seed(0)
    export_onnx(build_network(load_config("lanes-r18-paper"), pretrained=False), path, SIZE)
    card = find_model("lanes-lite").card
    file = ModelFile(
        file=path.name,
        sha256=sha256_of(path),
        precision="fp32",
        backends=("onnxruntime", "openvino", "torch"),
    )
    size = {"height": SIZE[0], "width": SIZE[1]}
    return card.model_copy(
        update={"model": file, "alternatives": (), "input": card.input.model_copy(update=size)}
    ), path


def image(card: ModelCard) -> np.ndarray:
    size = card.input.height, card.input.width
    return np.random.default_rng(0).normal(0, 1, (1, 3, *size)).astype(np.float32)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "torch"])
def test_paper_network(benchmark: BenchmarkFixture, paper: tuple[ModelCard, Path], backend: str) -> None:
    card, path = paper
    benchmark.group = PAPER
    benchmark.extra_info["paper_fps"] = 55
    network = create_backend(backend, path, card, THREADS)
    benchmark.pedantic(network.infer, (image(card),), **ROUNDS)


def test_paper_network_in_eager_pytorch(benchmark: BenchmarkFixture) -> None:
    torch.set_num_threads(THREADS)
    network = build_network(load_config("lanes-r18-paper"), pretrained=False).eval()
    benchmark.group = PAPER
    with torch.no_grad():
        benchmark.pedantic(network, (torch.randn(1, 3, *SIZE),), **ROUNDS)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("name", [name for name in bundled_models() if name.startswith("lanes")])
def test_bundled_network(benchmark: BenchmarkFixture, name: str, precision: str) -> None:
    card = find_model(name).card
    file = next(each for each in card.files if each.precision == precision and "onnxruntime" in each.backends)
    model = find_model(name, file.file)
    benchmark.group = "bundled models at their own size"
    network = create_backend("onnxruntime", model.path, model.card, THREADS)
    benchmark.pedantic(network.infer, (image(card),), **ROUNDS)
