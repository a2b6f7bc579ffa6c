"""Engines are compiled here for real, on the CPU, with TensorRT for RTX."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace

import pytest

import rtseg.runtime.tensorrt.compile as compiling
import rtseg.runtime.tensorrt.library as library
from rtseg.errors import BackendError, ModelError
from rtseg.runtime.models import find_model
from rtseg.runtime.tensorrt import compile_model, find_tensorrt, list_engines, prune_engines
from rtseg.runtime.tensorrt.build import build_engine
from rtseg.runtime.tensorrt.engine_cache import cache_folder, check_engine, sidecar_of

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed (the extra `tensorrt`)")

# Turing, Ampere, Ada, Blackwell
TARGETS = ["sm75", "sm86", "sm89", "sm120"]


@pytest.fixture
def model(model_folder):
    return find_model(model_folder())


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("target", TARGETS)
def test_an_engine_is_compiled_without_a_card(model, folder, target, precision):
    engine, record = compile_model(model, precision, target, folder=folder)
    sha8 = model.card.model.sha256[:8]
    assert engine.name == f"thresholds-{sha8}-{target}-trt{find_tensorrt().tag}-{precision}-1x3x32x64.engine"
    assert check_engine(engine, record.key) == record
    tensors = {tensor.name: tensor for tensor in record.tensors}
    assert tensors["image"].mode == "input"
    assert tensors["image"].shape == (1, 3, 32, 64)
    assert tensors["logits"].mode == "output"
    assert tensors["logits"].shape == (1, 7, 8, 16)
    assert {tensor.dtype for tensor in record.tensors} == {"float"}
    assert list(folder.glob("*.part")) == []
    assert "REQUIRE_USER_ALLOCATION" in record.builder_flags  # no graph captures an allocation


def test_a_second_call_takes_the_engine_from_the_cache(model, folder, caplog):
    with caplog.at_level(logging.WARNING, logger="rtseg"):
        _, first = compile_model(model, "fp32", "sm89", folder=folder)
    assert "there is no engine" in caplog.text
    caplog.clear()
    _, second = compile_model(model, "fp32", "sm89", folder=folder)
    assert caplog.text == ""
    assert second == first


def test_progress_rises_to_one(model, folder):
    fractions = []
    compile_model(model, "fp32", "sm89", folder=folder, progress=fractions.append)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(fractions) > 5


def _truncate(engine):
    engine.write_bytes(engine.read_bytes()[:-100])


def _tamper(engine):
    content = bytearray(engine.read_bytes())
    content[len(content) // 2] ^= 1
    engine.write_bytes(content)


def _link(engine):
    elsewhere = engine.with_suffix(".elsewhere")
    engine.rename(elsewhere)
    engine.symlink_to(elsewhere)


def _lose_the_sidecar(engine):
    sidecar_of(engine).unlink()


def _break_the_sidecar(engine):
    sidecar_of(engine).write_text("{")


def _edit(field, value):
    def edit(engine):
        content = json.loads(sidecar_of(engine).read_text())
        content[field] = value
        sidecar_of(engine).write_text(json.dumps(content))

    return edit


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_truncate, "its sidecar says"),
        (_tamper, "changed after it was built"),
        (_lose_the_sidecar, "no sidecar"),
        (_break_the_sidecar, "does not validate"),
        (_link, "is a link to another file"),
        (lambda engine: engine.chmod(0o666), "may have been written by others"),
        (lambda engine: sidecar_of(engine).chmod(0o666), "may have been written by others"),
        (_edit("library", "rtx0.0.1"), "was built as"),
        (_edit("target", "sm75"), "was built as"),
        (_edit("onnx_sha256", "f" * 64), "was built as"),
    ],
)
def test_an_engine_that_does_not_match_is_rebuilt_and_the_log_says_why(model, folder, caplog, damage, reason):
    engine, record = compile_model(model, "fp32", "sm89", folder=folder)
    damage(engine)
    assert [state.fault is not None for state in list_engines(folder)] == [True]
    with caplog.at_level(logging.WARNING, logger="rtseg"):
        again, rebuilt = compile_model(model, "fp32", "sm89", folder=folder)
    assert reason in caplog.text
    assert again == engine
    assert check_engine(engine, record.key) == rebuilt


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_an_engine_of_another_user_is_rebuilt_unless_the_folder_is_that_users(model, folder, caplog):
    engine, record = compile_model(model, "fp32", "sm89", folder=folder)
    for path in (engine, sidecar_of(engine)):
        os.chown(path, 12345, -1)
    with pytest.raises(ModelError, match="may have been written by others"):
        check_engine(engine, record.key)
    os.chown(folder, 12345, -1)
    assert check_engine(engine, record.key) == record


def test_a_hash_that_only_begins_alike_is_noticed(model, folder):
    engine, record = compile_model(model, "fp32", "sm89", folder=folder)
    forged = record.onnx_sha256[:8] + "0" * 56
    _edit("onnx_sha256", forged)(engine)
    with pytest.raises(ModelError, match="was built as"):
        check_engine(engine, record.key)


def test_pruning_keeps_what_a_known_model_needs(model, folder):
    kept, _ = compile_model(model, "fp32", "sm89", folder=folder)
    broken, _ = compile_model(model, "fp32", "sm75", folder=folder)
    _tamper(broken)
    assert prune_engines({model.card.model.sha256}, folder) == [broken]
    assert [state.path for state in list_engines(folder)] == [kept]
    assert prune_engines(set(), folder) == [kept]
    assert list(folder.iterdir()) == []


def test_the_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("RTSEG_ENGINE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


@pytest.mark.parametrize("target", ["sm87", "sm90", "sm8", "ada", ""])
def test_a_target_that_cannot_be_built_for_is_refused(model, folder, target):
    with pytest.raises(BackendError, match=r"target|builds for"):
        compile_model(model, "fp32", target, folder=folder)


def test_a_card_without_a_target_is_told_and_not_crashed_on(model, folder, monkeypatch):
    monkeypatch.setattr(library, "current_target", lambda: "sm90")
    with pytest.raises(BackendError, match="not for sm90, which the full TensorRT does"):
        compile_model(model, "fp32", folder=folder)


def test_a_full_tensorrt_takes_no_engine_of_another_card(model, folder, monkeypatch):
    """The full library stands for itself by that for RTX, and cards by what CUDA says of them."""
    cards = [
        {"name": b"NVIDIA L4", "multiProcessorCount": 58, "major": 8, "minor": 9},
        {"name": b"NVIDIA GeForce RTX 4090", "multiProcessorCount": 128, "major": 8, "minor": 9},
        {"name": b"Orin", "multiProcessorCount": 16, "major": 8, "minor": 9},
        {"name": b"Orin", "multiProcessorCount": 8, "major": 8, "minor": 9},
    ]
    full, built = replace(find_tensorrt(), for_rtx=False), []
    monkeypatch.setattr(compiling, "find_tensorrt", lambda: full)
    at_hand = {}
    monkeypatch.setattr(library, "_device_properties", lambda: at_hand)

    def build(_, onnx, target, *, timing_cache, **options):
        built.append(timing_cache.name)
        return build_engine(find_tensorrt(), onnx, target, **options)

    monkeypatch.setattr(compiling, "build_engine", build)
    engines = []
    for card in [*cards, *cards]:
        at_hand.update(card)
        engines.append(compile_model(model, "fp32", folder=folder))
    assert engines[4:] == engines[:4]
    assert len(set(built)) == len(built) == len({engine for engine, _ in engines}) == 4
    assert "-sm89-nvidia-l4-58sm-trt" in engines[0][0].name
    with pytest.raises(ModelError, match="was built as"):
        check_engine(engines[0][0], replace(engines[0][1].key, card="orin-16sm"))


def test_an_engine_for_an_accelerator_that_takes_no_layer_is_not_used(model, folder):
    engine, _ = compile_model(model, "fp32", "sm89", folder=folder)
    dla = engine.with_name(engine.name.replace("sm89", "sm89dla"))
    engine.rename(dla)
    sidecar_of(engine).rename(sidecar_of(dla))
    _edit("dla", True)(dla)
    with pytest.raises(ModelError, match="counts no layer"):
        check_engine(dla)
    _edit("dla_layers", 3)(dla)
    assert check_engine(dla).dla_layers == 3


def test_a_precision_without_a_network_is_refused(model, folder):
    with pytest.raises(ModelError, match="names no int8 network"):
        compile_model(model, "int8", "sm89", folder=folder)


def test_a_file_that_is_no_network_is_refused(model, folder, model_folder, card_content):
    from rtseg.runtime.card import ModelCard, sha256_of

    path = model.path
    path.write_bytes(b"no network at all")
    card_content["model"]["sha256"] = sha256_of(path)
    ModelCard.model_validate(card_content).dump(path.parent / "card.yaml")
    with pytest.raises(ModelError, match="expected an ONNX network"):
        compile_model(find_model(path.parent), "fp32", "sm89", folder=folder)
    assert list_engines(folder) == []
