"""Wheels of models: what pip checks of them holds."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from rtseg.errors import ModelError
from rtseg.lab.deploy.model_wheel import write_model_wheel
from rtseg.lab.deploy.smaller import store_in_half
from rtseg.runtime import find_model
from rtseg.runtime.models import float_network
from tests.threshold_network import write_threshold_model


def test_the_same_model_gives_the_same_wheel(tmp_path: Path) -> None:
    model = write_threshold_model(tmp_path / "thresholds")
    first, second = (write_model_wheel(model, tmp_path / name) for name in ("a", "b"))
    assert first.name == f"rtseg_models_thresholds-{version('rtseg')}-py3-none-any.whl"
    assert first.read_bytes() == second.read_bytes()


def test_a_model_that_does_not_match_its_card_gives_none(tmp_path: Path) -> None:
    model = write_threshold_model(tmp_path / "thresholds")
    (model / "model.onnx").write_bytes(b"")
    with pytest.raises(ModelError):
        write_model_wheel(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_pip_installs_it_and_twine_finds_no_fault(tmp_path: Path) -> None:
    wheel = write_model_wheel(write_threshold_model(tmp_path / "thresholds"), tmp_path / "out")
    for command in (
        ["twine", "check", "--strict"],
        ["pip", "install", "-q", "--no-deps", "--target", tmp_path / "site"],
    ):
        answer = subprocess.run([sys.executable, "-m", *map(str, command), wheel], capture_output=True, text=True)
        assert answer.returncode == 0, answer.stdout + answer.stderr
    assert (tmp_path / "site" / "rtseg_models" / "thresholds" / "card.yaml").is_file()


def test_a_small_network_is_stored_as_it_is(tmp_path: Path) -> None:
    model = write_threshold_model(tmp_path / "thresholds")
    before = float_network(find_model(model)).read_bytes()
    stored = store_in_half(model)
    assert stored.change == 0.0
    assert stored.before == stored.after == len(before)
    assert find_model(model).path.is_file(), "the card's hash fits"
