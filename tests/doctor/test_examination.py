"""The doctor in processes of its own, under conditions as they are met: things missing, hidden, broken or asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rtseg.doctor.examination import examine
from rtseg.doctor.findings import has_card, look_around
from rtseg.runtime import bundled_models
from rtseg.runtime.backends import preferred_backends
from rtseg.runtime.device import device_driver_present
from tests.threshold_network import write_threshold_model

ROOT = Path(__file__).resolve().parents[2]
PROFILE = ROOT / "ros" / "config" / "fastdds_large_frames.xml"
VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE", "RMW_IMPLEMENTATION")


@dataclass(frozen=True)
class Answer:
    code: int
    report: dict[str, Any]

    def found(self, what: str) -> dict[str, Any]:
        return next(finding for finding in self.report["findings"] if finding["what"] == what)


def doctor(model: Path, *arguments: str, hidden: Path | None = None, **environment: str) -> Answer:
    """Run it, with the packages in `hidden` for all there are."""
    variables = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    command = [sys.executable, "-m", "rtseg.cli"]
    if hidden is not None:
        variables["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "ros"), str(hidden)])
        command.insert(1, "-S")
    done = subprocess.run(
        [*command, "doctor", "--json", "--model", str(model), *arguments],
        env={**variables, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout, done.stderr
    return Answer(done.returncode, json.loads(done.stdout))


def packages_without(folder: Path, names: Collection[str]) -> Path:
    """A folder of links to every installed package but these."""
    folder.mkdir()
    for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(place).iterdir():
            name = entry.name.lower().replace("_", "-")
            if entry.stem in sys.stdlib_module_names:
                continue  # on PYTHONPATH a backport would come before the real one
            if not any(name == wanted or name.startswith(f"{wanted}-") for wanted in names):
                (folder / entry.name).symlink_to(entry)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_threshold_model(tmp_path_factory.mktemp("models") / "thresholds")


def looked(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, what: str) -> tuple[str, str | None]:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    (finding,) = look_around(what)
    return finding.found, finding.fault


@pytest.mark.slow
def test_every_bundled_model_runs_here() -> None:
    report = examine()
    assert [model.model for model in report.models] == bundled_models()
    for model in report.models:
        assert model.backend is not None, model.fault
        assert model.facts["backend"]
        assert all(way.reason for way in model.passed_over)


@pytest.mark.slow
def test_all_is_well_and_json_says_so(model: Path, tmp_path: Path) -> None:
    answer = doctor(model, RTSEG_ENGINE_CACHE=str(tmp_path / "cache"), FASTRTPS_DEFAULT_PROFILES_FILE=str(PROFILE))
    assert (answer.code, answer.report["healthy"], answer.report["faults"]) == (0, True, [])
    assert str(PROFILE) in answer.found("large frames")["found"]
    assert str(tmp_path / "cache") in answer.found("engine cache")["found"]
    assert "CPU" in answer.found("onnxruntime")["found"]
    (outlook,) = answer.report["models"]
    assert outlook["backend"]
    if not has_card():
        assert outlook["device"] == "cpu"
        assert [(way["backend"], way["device"]) for way in outlook["passed_over"] if way["device"] == "cuda"] == [
            ("tensorrt", "cuda"),
            ("torch", "cuda"),
            ("onnxruntime", "cuda"),
        ]
    if not device_driver_present():
        assert {way["reason"] for way in outlook["passed_over"] if way["device"] == "cuda"} == {
            "this machine has no NVIDIA driver"
        }


@pytest.mark.slow
def test_what_variables_ask_for_and_cannot_be_is_a_fault(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answer = doctor(
        model,
        RTSEG_ENGINE_CACHE=str(tmp_path / "file" / "engines"),
        FASTDDS_DEFAULT_PROFILES_FILE=str(tmp_path / "missing.xml"),
        RMW_IMPLEMENTATION="rmw_fastrtps_of_nobody",
    )
    assert answer.code == 1
    assert "cannot be written" in answer.found("engine cache")["fault"]
    assert "missing.xml" in answer.found("large frames")["fault"]
    if "not found" not in answer.found("ros")["found"]:
        assert "RMW_IMPLEMENTATION asks for rmw_fastrtps_of_nobody" in answer.found("ros")["fault"]
    # What is wrong elsewhere does not keep the model from running.
    assert answer.report["models"][0]["fault"] is None


@pytest.mark.slow
def test_a_backend_whose_package_is_hidden_is_passed_over(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed (the extra `openvino`)")
    best, next_best = preferred_backends("cpu")
    hidden = packages_without(tmp_path / "packages", [best, "cupy", "cupy-cuda13x", "rclpy"])
    answer = doctor(model, hidden=hidden)
    (outlook,) = answer.report["models"]
    assert (outlook["backend"], outlook["device"]) == (next_best, "cpu")
    reasons = {(way["backend"], way["device"]): way["reason"] for way in outlook["passed_over"]}
    cure = "'rtseg[openvino]'" if best == "openvino" else best
    assert reasons[best, "cpu"].endswith(f"pip install {cure}")
    assert "not installed" in answer.found("cupy")["found"]
    assert "not found" in answer.found("ros")["found"]


@pytest.mark.slow
def test_a_model_that_no_backend_can_run_is_a_fault(model: Path, tmp_path: Path) -> None:
    hidden = packages_without(tmp_path / "packages", ["onnxruntime", "openvino", "cupy", "rclpy"])
    answer = doctor(model, hidden=hidden)
    (outlook,) = answer.report["models"]
    assert answer.code == 1
    assert outlook["backend"] is None
    assert "openvino on cpu: backend openvino needs the package openvino" in outlook["fault"]


def test_a_card_that_is_asked_for_has_to_be_there(model: Path) -> None:
    if has_card():
        pytest.skip("this machine has a card")
    (outlook,) = examine([str(model)], device="cuda").models
    assert outlook.backend is None
    assert outlook.fault is not None
    assert "tensorrt on cuda" in outlook.fault
    (outlook,) = examine([str(model)], device="dla").models
    assert [(way.backend, way.device) for way in outlook.passed_over] == [("tensorrt", "dla")]
    assert examine([str(model)], device="cpu").models[0].fault is None


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda model: (model / "model.onnx").write_bytes(b"nothing"), "does not match its card"),
        (lambda model: (model / "card.yaml").write_text("name: ["), "expected a model card"),
        (lambda model: (model / "card.yaml").unlink(), "card.yaml"),
    ],
)
def test_a_broken_model_is_a_fault(tmp_path: Path, break_it: Callable[[Path], object], reason: str) -> None:
    model = write_threshold_model(tmp_path / "broken")
    break_it(model)
    report = examine([str(model), "lanes-lite"])
    assert not report.healthy
    assert reason in (report.models[0].fault or "")
    assert report.models[1].fault is None


def test_a_backend_that_nobody_knows_is_a_fault(model: Path) -> None:
    (outlook,) = examine([str(model)], backend="abacus").models
    assert "expected a backend of" in (outlook.fault or "")


def test_profiles_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found, fault = looked({}, monkeypatch, "large frames")
    assert fault is None
    assert "get lost" in found
    small = tmp_path / "small.xml"
    small.write_text(PROFILE.read_text().replace("33554432", "524288"))
    assert "no shared-memory segment" in (looked({VARIABLES[1]: str(small)}, monkeypatch, "large frames")[1] or "")
    small.write_text("<dds><unfinished>")
    assert "cannot read" in (looked({VARIABLES[0]: str(small)}, monkeypatch, "large frames")[1] or "")
    found, fault = looked({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}, monkeypatch, "large frames")
    assert (fault, "settings of its own" in found) == (None, True)


def test_broken_engines_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lanes-lite-cut.engine").write_bytes(b"cut off")
    found, fault = looked({"RTSEG_ENGINE_CACHE": str(tmp_path)}, monkeypatch, "engine cache")
    assert fault is None
    assert "lanes-lite-cut.engine" in found


def test_the_tables_hold_what_rich_would_take_for_markup(model: Path) -> None:
    from rich.console import Console

    report = examine([str(model), "no-such[red]-model"])
    console = Console(width=250, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    for table in report.tables():
        console.print(table)
    text = console.export_text()
    assert "no-such[red]-model" in text
    assert "thresholds" in text
