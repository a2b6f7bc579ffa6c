"""Every bundled model compiles, without a card, for every generation of cards in every precision it offers."""

from __future__ import annotations

import pytest

from rtseg.runtime import bundled_models, find_model
from rtseg.runtime.tensorrt import compile_model
from rtseg.runtime.tensorrt.engine_cache import check_engine, sidecar_of

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed (the extra `tensorrt`)")

pytestmark = pytest.mark.slow

TARGETS = ["sm75", "sm86", "sm89", "sm120"]  # Turing, Ampere, Ada, Blackwell


def _offered() -> list[tuple[str, str]]:
    """(model, precision): fp16 is cast from fp32."""
    offered: list[tuple[str, str]] = []
    for name in bundled_models():
        precisions = {file.precision for file in find_model(name).card.files if "tensorrt" in file.backends}
        offered += [(name, precision) for precision in ("fp32", "fp16", "int8") if precision in precisions]
        offered += [(name, "fp16")] if "fp32" in precisions and "fp16" not in precisions else []
    return offered


def test_each_bundled_model_offers_tensorrt_something():
    assert bundled_models()
    assert {name for name, _ in _offered()} == set(bundled_models())


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("name", "precision"), _offered())
def test_a_bundled_model_compiles(tmp_path, name, precision, target):
    model = find_model(name)
    engine, record = compile_model(model, precision, target, folder=tmp_path)
    assert engine.name.startswith(f"{name}-{record.onnx_sha256[:8]}-{target}-trt")
    assert sidecar_of(engine).is_file()
    assert check_engine(engine, record.key) == record
    assert (record.model, record.target, record.precision) == (name, target, precision)
    assert record.onnx_sha256 in {file.sha256 for file in model.card.files}
    assert record.engine_bytes == engine.stat().st_size > 0
    needs = model.card.input
    tensors = {tensor.name: tensor for tensor in record.tensors}
    assert tensors[needs.name].mode == "input"
    assert tensors[needs.name].shape == (1, 3, needs.height, needs.width)
    assert {tensor.dtype for tensor in record.tensors} == {"float"}
    for output in model.card.outputs:
        assert tensors[output.name].mode == "output"
        assert tensors[output.name].shape[1] == output.channels
