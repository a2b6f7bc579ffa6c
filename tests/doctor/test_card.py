"""The test of a card, over kernels built for the CPU; without a card, what is said."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import rtseg.runtime.selection as selection
from rtseg.doctor.card import CardReport, CardTest
from rtseg.doctor.card_kernels import TWINS, compare_kernels
from rtseg.doctor.findings import has_card
from rtseg.loading import interpreter_for, load
from rtseg.ops.cuda.components import ComponentsPlan
from rtseg.runtime.card import ModelCard
from rtseg.runtime.models import find_model
from rtseg.runtime.pipeline import Pipeline
from rtseg.runtime.selection import Candidate, Selection
from tests.runtime.gpu.shim_device import BoundBackend, ShimDevice
from tests.threshold_network import write_threshold_model

STEPS = 11


@pytest.fixture
def tested(tmp_path: Path, shim_library: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CardReport]:
    """Runs the test with a shim for a card, after something was done to that."""
    folder, device = write_threshold_model(tmp_path / "thresholds"), ShimDevice(shim_library)
    model = find_model(folder)
    backends: list[BoundBackend] = []

    def create(name: str, path: Path, card: ModelCard, place: ShimDevice) -> BoundBackend:
        backends.append(BoundBackend(path, card, device.faults, name))
        return backends[-1]

    monkeypatch.setattr(selection, "create_device_backend", create)

    def on_card() -> Pipeline:
        interpreter = interpreter_for(model.card)
        way = partial(selection.open_device_path, "first", model, interpreter, device, model.path.name)
        host = partial(selection._open_host, "onnxruntime", model, interpreter, 1, None)
        return Pipeline(
            model.card,
            interpreter,
            Selection((Candidate("first", "cuda:0", way), Candidate("onnxruntime", "cpu", host))),
        )

    def run(harm: Callable[[ShimDevice, list[BoundBackend]], None] = lambda device, backends: None) -> CardReport:
        harm(device, backends)
        return CardTest(device, on_card, lambda: load(folder, device="cpu"), repeats=2, size=(32, 56)).run()

    return run


@pytest.mark.slow
def test_a_sound_card_passes_every_step(tested: Callable[..., CardReport]) -> None:
    report = tested()
    assert report.faults == []
    assert len(report.steps) == STEPS
    content = json.loads(report.json())
    assert content["healthy"] is True
    found = {step["name"]: step["found"] for step in content["steps"]}
    assert found["a pipeline"]["grouping"].endswith(" on cuda:0")
    assert {"host to host, ms", "group, ms", "download, ms"} <= set(found["time by stage"])
    page = report.html()
    assert "all went well" in page
    assert page.count("<td>well</td>") == STEPS


@pytest.mark.slow
def test_a_fault_stops_no_other_step(tested: Callable[..., CardReport]) -> None:
    report = tested(lambda device, backends: device.faults.plan("capture", lambda: ValueError("<no> graphs")))
    assert len(report.steps) == STEPS
    assert [fault.split(":")[0] for fault in report.faults] == ["events in a graph", "a pipeline"]
    assert "frames run without a graph" in report.faults[1]
    assert "&lt;no&gt; graphs" in report.html()
    assert "2 of 11 steps did not go well" in report.html()


@pytest.mark.slow
def test_a_card_that_is_left_is_told(tested: Callable[..., CardReport]) -> None:
    report = tested(lambda device, backends: device.faults.plan("group", lambda: RuntimeError("broken"), after=400))
    assert any("the card was left" in fault and "broken" in fault for fault in report.faults)


def test_without_a_model_on_the_card_the_card_is_tested(tested: Callable[..., CardReport]) -> None:
    def harm(device: ShimDevice, backends: list[BoundBackend]) -> None:
        device.faults.plan("wait", lambda: RuntimeError("does not wait"))

    report = tested(harm)
    assert len(report.steps) == STEPS
    assert not json.loads(report.json())["healthy"]


def test_kernels_that_give_other_values_are_named(shim_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = ShimDevice(shim_library)
    assert compare_kernels(device) == dict.fromkeys(TWINS, 0)
    run = ComponentsPlan.run

    def spoil(self: ComponentsPlan, labels: np.ndarray, out: np.ndarray) -> None:
        run(self, labels, out)
        out[3, 4] += 1

    monkeypatch.setattr(ComponentsPlan, "run", spoil)
    assert compare_kernels(device, 1)["components, runs, statistics"] > 0


@pytest.mark.skipif(has_card(), reason="there is a card here")
@pytest.mark.parametrize("device", ["auto", "cuda:3", "cpu"])
def test_without_a_card_one_sentence_says_so(tmp_path: Path, device: str) -> None:
    command = [
        sys.executable,
        "-m",
        "rtseg.cli",
        "doctor",
        "--card",
        "--device",
        device,
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 2
    assert done.stderr.startswith("rtseg: ")
    assert done.stderr.count("\n") <= 3
    assert "expected a card" in done.stderr or "CUDA device" in done.stderr
    assert not (tmp_path / "out").exists()
