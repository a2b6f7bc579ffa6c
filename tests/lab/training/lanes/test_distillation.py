"""Distillation: the loss against a reference of a few lines, the teacher against its own file, and a short run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import ModelError
from rtseg.lab.deploy.export import run_maps
from rtseg.lab.training.lanes.distillation import LaneTeacher, distillation_loss
from rtseg.runtime.models import find_model, float_network

IMAGENET = ((123.7, 116.3, 103.5), (58.4, 57.1, 57.4))


def teacher(model: str = "lanes-lite", lanes: int = 6, line_bias: float = 1.0) -> LaneTeacher:
    return LaneTeacher(model, lanes, *IMAGENET, line_bias, torch.device("cpu"))


def reference_loss(student: np.ndarray, taught: np.ndarray) -> float:
    """Pixel by pixel, in probabilities."""
    total, weights = 0.0, 0.0
    for s, t in zip(student.reshape(len(student), -1).T, taught.reshape(len(taught), -1).T, strict=True):
        p, q = np.exp(t) / np.exp(t).sum(), np.exp(s) / np.exp(s).sum()
        weight = 0.1 + p[1:].sum()
        total += weight * float((p * np.log(p / q)).sum())
        weights += weight
    return total / weights


@given(st.integers(0, 2**31), st.integers(2, 7), st.integers(1, 5), st.integers(1, 5))
def test_loss_equals_the_divergences_one_by_one(seed: int, outputs: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    student, taught = rng.normal(0, 2, (2, outputs, height, width))
    found = distillation_loss(torch.tensor(student)[None], torch.tensor(taught)[None])
    assert float(found) == pytest.approx(reference_loss(student, taught), rel=1e-4, abs=1e-6)


def test_loss_is_least_where_the_student_says_the_same_and_pulls_there() -> None:
    taught = torch.randn(2, 7, 6, 10, generator=torch.Generator().manual_seed(1))
    student = torch.zeros_like(taught).requires_grad_()
    assert float(distillation_loss(taught + 3.0, taught)) == pytest.approx(0.0, abs=1e-6)
    before = distillation_loss(student, taught)
    (slope,) = torch.autograd.grad(before, student)
    assert distillation_loss(student - 10.0 * slope, taught) < before


def test_maps_of_another_size_are_resized_to_the_students() -> None:
    taught = torch.randn(1, 3, 1, 1).expand(1, 3, 4, 6)
    assert float(distillation_loss(taught[:, :, :2, :3], taught)) == pytest.approx(0.0, abs=1e-6)


def test_the_teacher_says_what_its_file_says_but_for_the_bias() -> None:
    model = find_model("lanes-lite")
    size = (model.card.input.height, model.card.input.width)
    rng = np.random.default_rng(2)
    plain = rng.uniform(0, 255, (2, 3, *size)).astype(np.float32)

    def normalized(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
        return (plain - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))

    expected = np.concatenate(
        [
            run_maps(float_network(model), picture[None])["logits"]
            for picture in normalized(model.card.input.mean, model.card.input.std).astype(np.float32)
        ]
    )
    expected[:, 0] += 1.5
    found = teacher(line_bias=1.5)(torch.tensor(normalized(*IMAGENET), dtype=torch.float32))
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-3)


def test_the_teacher_sees_pictures_of_any_size() -> None:
    gray = torch.zeros(1, 3, 64, 96)
    large = torch.zeros(1, 3, 320, 512)
    ask = teacher()
    torch.testing.assert_close(ask(gray), ask(large), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("model", "lanes", "message"),
    [("lanes-lite", 4, "lane model of 5 outputs"), ("instances-lite", 6, "lane model"), ("none", 6, "bundled model")],
)
def test_models_that_cannot_teach_are_refused(model: str, lanes: int, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        teacher(model, lanes)


def test_a_teacher_that_takes_bgr_is_refused(tmp_path: Path) -> None:
    model = find_model("lanes-lite")
    turned = model.card.model_copy(update={"input": model.card.input.model_copy(update={"order": "bgr"})})
    for file in model.card.files:
        (tmp_path / file.file).write_bytes((model.path.parent / file.file).read_bytes())
    turned.dump(tmp_path / "card.yaml")
    with pytest.raises(ModelError, match="takes BGR"):
        teacher(str(tmp_path))
