"""Scores onto cards: of which network, in whose place."""

from __future__ import annotations

import shutil
import sys

import pytest

from rtseg.cli import main
from rtseg.errors import ModelError
from rtseg.lab.scores.card import write_scores
from rtseg.runtime.card import ModelCard, ModelFile
from tests.threshold_network import write_threshold_model


@pytest.fixture
def model(tmp_path):
    """A model with a second network of its precision and one of another."""
    folder = write_threshold_model(tmp_path / "m")
    card = ModelCard.load(folder / "card.yaml")
    others = []
    for file, precision in (("second.onnx", "fp32"), ("small.onnx", "int8")):
        shutil.copy(folder / "model.onnx", folder / file)
        others.append(ModelFile(file=file, sha256=card.model.sha256, precision=precision))
    card.model_copy(update={"alternatives": tuple(others)}).dump(folder / "card.yaml")
    return folder


def scores(model):
    return [(s.dataset, s.metric, s.value, s.precision, s.file) for s in ModelCard.load(model / "card.yaml").scores]


def test_scores_are_entered_and_replaced_in_place(model):
    path = write_scores(model, "road", {"accuracy": 0.91239, "culane F1": 0.8}, "rtseg evaluate")
    assert path == model / "card.yaml"
    write_scores(model, "street", {"accuracy": 0.5}, "rtseg evaluate")
    write_scores(model, "road", {"culane F1": 0.85, "accuracy": 0.92}, "rtseg evaluate again")
    assert scores(model) == [
        ("road", "accuracy", 0.92, "fp32", None),
        ("road", "culane F1", 0.85, "fp32", None),
        ("street", "accuracy", 0.5, "fp32", None),
    ]
    assert ModelCard.load(path).scores[0].command == "rtseg evaluate again"


def test_networks_are_told_apart(model):
    for network in (None, "second.onnx", "small.onnx"):
        write_scores(model, "road", {"accuracy": 0.9}, "rtseg evaluate", network)
    assert scores(model) == [
        ("road", "accuracy", 0.9, "fp32", None),
        ("road", "accuracy", 0.9, "fp32", "second.onnx"),
        ("road", "accuracy", 0.9, "int8", None),
    ]
    with pytest.raises(ModelError, match=r"third\.onnx"):
        write_scores(model, "road", {"accuracy": 0.9}, "rtseg evaluate", "third.onnx")


def test_command_enters_lane_scores(model, tmp_path, monkeypatch, capfd):
    arguments = ["--dataset", "rendered", "--frames", "2", "--out", str(tmp_path / "out"), "--write-card"]
    monkeypatch.setattr(sys, "argv", ["rtseg", "evaluate", "--model", str(model), *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert "card.yaml" in capfd.readouterr().out.replace("\n", "")
    scores = ModelCard.load(model / "card.yaml").scores
    assert {score.dataset for score in scores} == {"rendered, 2 frames"}
    assert {score.command for score in scores} == {f"rtseg evaluate --model {model} --dataset rendered --frames 2"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Reliability of the confidence" in page
    assert "Best frames" in page
