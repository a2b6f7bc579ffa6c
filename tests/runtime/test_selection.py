"""Which ways a model's frames may take, by what was asked for and what the machine has."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rtseg.runtime.device as gpu_device
import rtseg.runtime.selection as selection
from rtseg.errors import ArgumentError, BackendError, ModelError
from rtseg.lanes.interpreter import LaneInterpreter
from rtseg.loading import load
from rtseg.runtime import bundled_models
from rtseg.runtime.backends import available_backends, check_backend, preferred_backends, registry
from rtseg.runtime.backends.registry import BACKENDS, Entry
from rtseg.runtime.device import parse_device
from rtseg.runtime.models import Model, find_model
from rtseg.runtime.selection import network_for, open_ahead, select
from tests.conftest import _gpu_missing

without_card = pytest.mark.skipif(_gpu_missing() is None, reason="a CUDA device is here")


class Place:
    """Stands for a device that is there; nothing is opened on it."""

    def __init__(self, number: int, dla: bool = False) -> None:
        self.name, self.dla = f"cuda:{number}", dla


@pytest.fixture
def model(model_folder: Callable[..., Path]) -> Model:
    return find_model(model_folder())


@pytest.fixture
def with_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "CudaDevice", Place)
    monkeypatch.setattr(selection, "device_driver_present", lambda: True)


def _select(model: Model, device: str = "auto", backend: str = "auto") -> Any:
    return select(model, LaneInterpreter(model.card), device, backend, 1, None)


@pytest.mark.parametrize(
    ("device", "number"), [("auto", None), ("cpu", None), ("cuda", 0), ("cuda:0", 0), ("cuda:12", 12), ("dla", 0)]
)
def test_devices_are_read(device: str, number: int | None) -> None:
    assert parse_device(device) == number


@pytest.mark.parametrize(
    "device", ["", "graphics", "dla:1", "cuda:", "cuda:-1", "cuda:x", "cuda:²", "CUDA", "cuda:1.0"]
)
def test_other_devices_are_refused(device: str) -> None:
    with pytest.raises(BackendError, match="expected device auto, cpu, cuda, cuda:N or dla"):
        parse_device(device)


@without_card
def test_a_machine_without_a_card_uses_its_cpu_and_says_nothing(model: Model) -> None:
    chosen = _select(model)
    assert sorted(str(candidate) for candidate in chosen.wanted) == ["onnxruntime on cpu", "openvino on cpu"]
    assert (chosen.reserve, chosen.reason) == ((), None)
    assert load(model.path.parent).fallbacks == []


@pytest.mark.parametrize(("has_vnni", "first"), [(True, "openvino"), (False, "onnxruntime")])
def test_openvino_comes_first_where_the_cpu_multiplies_bytes(
    has_vnni: bool, first: str, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_has_vnni", lambda: has_vnni)
    assert preferred_backends()[0] == first
    assert [candidate.backend for candidate in _select(model, "cpu").wanted] == list(preferred_backends())
    assert preferred_backends("cuda") == ("tensorrt", "torch", "onnxruntime")


@without_card
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_network_is_opened_once_ahead_of_what_follows_it(
    device: str, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, bool]] = []
    create = selection.create_backend

    def note(name: str, *rest: Any) -> Any:
        opened.append((name, threading.current_thread() is threading.main_thread()))
        return create(name, *rest)

    monkeypatch.setattr(selection, "create_backend", note)
    load(model.path.parent, device)
    assert opened == [(available_backends()[0], False)]


def test_on_a_device_nothing_is_opened_ahead(model: Model, with_card: None) -> None:
    assert [open_ahead(model, device, "auto", 1, None) for device in ("auto", "cuda", "cuda:1", "dla")] == [None] * 4


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_network_that_does_not_open_ahead_is_the_same_error(backend: str, model_folder: Callable[..., Path]) -> None:
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    model = find_model(model_folder())
    model.path.write_bytes(b"no network")
    selected = select(model, LaneInterpreter(model.card), "cpu", backend, 1, None)
    with pytest.raises(ModelError) as plain:
        selected.wanted[0].open()
    ahead = open_ahead(model, "cpu", backend, 1, None)
    selected = select(model, LaneInterpreter(model.card), "cpu", backend, 1, None, ahead)
    with pytest.raises(ModelError, match=re.escape(str(plain.value))):
        selected.wanted[0].open()


@without_card
def test_without_a_driver_no_device_is_looked_for(model: Model, monkeypatch: Any) -> None:
    monkeypatch.setattr(selection, "CudaDevice", lambda _: pytest.fail("it takes importing CuPy"))
    assert all(candidate.device == "cpu" for candidate in _select(model).wanted)


@without_card
def test_a_driver_without_a_device_is_a_fault_that_is_told(
    model: Model, tmp_path: Path, monkeypatch: Any, road: Any
) -> None:
    pytest.importorskip("cupy", reason="without CuPy no device is looked for")
    monkeypatch.setattr(gpu_device, "_DEVICE_FILES", (str(tmp_path),))
    pipeline = load(model.path.parent)
    assert len(pipeline(road)) == 2
    assert len(pipeline.fallbacks) == 1
    assert "looking for a CUDA device" in pipeline.fallbacks[0]


@without_card
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "dla"])
def test_a_device_that_was_asked_for_and_is_not_there_is_an_error(model: Model, device: str) -> None:
    with pytest.raises(BackendError, match=r"looking for a CUDA device|expected CuPy|needs the package"):
        load(model.path.parent, device=device)


def test_a_card_comes_before_the_cpu(model: Model, with_card: None) -> None:
    chosen = _select(model)
    devices = [candidate.backend for candidate in chosen.wanted if candidate.device == "cuda:0"]
    assert devices == available_backends("cuda")
    assert [candidate.backend for candidate in chosen.wanted[len(devices) :]] == available_backends()


def test_with_an_explicit_device_the_cpu_is_only_the_reserve(model: Model, with_card: None) -> None:
    chosen = _select(model, "cuda:1")
    assert {candidate.device for candidate in chosen.wanted} == {"cuda:1"}
    assert {candidate.device for candidate in chosen.reserve} == {"cpu"}


def test_a_jetsons_accelerator_comes_first_and_the_card_without_it_after_a_fault(
    model: Model, with_card: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, bool]] = []
    monkeypatch.setattr(selection, "check_backend", lambda name, device: None)
    monkeypatch.setattr(selection, "open_device_path", lambda name, _, __, place, ___: opened.append((name, place.dla)))
    chosen, usual = _select(model, "dla"), _select(model, "cuda")
    assert [str(candidate) for candidate in chosen.wanted] == ["tensorrt on cuda:0"]
    rest = [(candidate.backend, candidate.device) for candidate in (*usual.wanted, *usual.reserve)]
    assert [(candidate.backend, candidate.device) for candidate in chosen.reserve] == rest
    for candidate in (*chosen.wanted, *chosen.reserve[: len(usual.wanted)]):
        candidate.open()
    assert opened == [("tensorrt", True), *((candidate.backend, False) for candidate in usual.wanted)]


def test_an_explicit_backend_is_tried_wherever_it_runs(model: Model, with_card: None) -> None:
    assert [str(c) for c in _select(model, backend="onnxruntime").wanted] == [
        "onnxruntime on cuda:0",
        "onnxruntime on cpu",
    ]
    assert [str(c) for c in _select(model, backend="openvino").wanted] == ["openvino on cpu"]
    assert [str(c) for c in _select(model, "cpu", "onnxruntime").wanted] == ["onnxruntime on cpu"]


@pytest.mark.parametrize(
    ("device", "backend", "words"),
    [
        ("cuda", "openvino", "runs on cuda"),
        ("cpu", "tensorrt", "runs on cpu"),
        ("auto", "abacus", "expected a backend of"),
        ("cuda", "abacus", "expected a backend of"),
        ("dla", "torch", "expected backend auto or tensorrt for device dla"),
    ],
)
def test_backends_that_do_not_run_there_are_refused(model: Model, device: str, backend: str, words: str) -> None:
    with pytest.raises(BackendError, match=words):
        _select(model, device, backend)


def test_a_backend_without_its_library_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "openvino", Entry("nowhere", ("no_such_library",), ("cpu",)))
    with pytest.raises(BackendError, match="pip install no_such_library"):
        check_backend("openvino", "cpu")
    assert "openvino" not in available_backends()


@pytest.mark.parametrize("name", bundled_models())
def test_bundled_models_have_a_network_for_every_backend(name: str) -> None:
    model = find_model(name)
    for backend in ("onnxruntime", "torch"):
        path = network_for(model, backend, on_device=True)
        assert next(file.precision for file in model.card.files if file.file == path.name) != "int8"
    assert network_for(model, "onnxruntime", on_device=False) == model.path
    assert network_for(model, "tensorrt", on_device=True).is_file()


def test_the_network_that_was_asked_for_is_taken(model: Model) -> None:
    assert network_for(model, "tensorrt", on_device=True, network="model.onnx") == model.path


def test_a_card_without_a_network_for_a_backend_says_so(model_folder: Callable[..., Path], card_content: Any) -> None:
    folder = model_folder()
    from rtseg.runtime.card import ModelCard, sha256_of

    card_content["model"] |= {"sha256": sha256_of(folder / "model.onnx"), "backends": ["onnxruntime"]}
    ModelCard.model_validate(card_content).dump(folder / "card.yaml")
    with pytest.raises(BackendError, match="names no network for torch"):
        network_for(find_model(folder), "torch", on_device=True)


def test_a_network_that_was_removed_after_loading_the_card_is_told(model: Model) -> None:
    (model.path.parent / "model.onnx").unlink()
    with pytest.raises(ModelError, match="not there"):
        network_for(model, "torch", on_device=True)


@pytest.mark.parametrize("threads", [-1, 1025, 10**12])
def test_threads_that_no_machine_has_are_refused(threads: int) -> None:
    with pytest.raises(ArgumentError, match=f"expected 1 to 1024 threads, or 0 for all cores, got {threads}"):
        load("lanes-lite", threads=threads)
