"""The pipeline's side of SOLO decoding: what a card must say, and what comes out of maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rtseg.errors import ModelError
from rtseg.frame import Frame
from rtseg.instances.interpreter import InstanceInterpreter
from rtseg.instances.methods.solo import METHOD
from rtseg.instances.methods.warm_up import warm_up_maps
from rtseg.runtime.card import ModelCard
from rtseg.runtime.interpreter import interpret
from rtseg.runtime.latency import StageClock

OUTPUTS = [("cate_s8", 1, 8), ("cate_s16", 1, 16), ("kernel_s8", 8, 8), ("kernel_s16", 8, 16), ("mask_features", 3, 4)]


def make_card(outputs: list[tuple[str, int, int]] = OUTPUTS, **parameters: Any) -> ModelCard:
    return ModelCard.model_validate(
        {
            "name": "solo",
            "family": "exemplar_solo",
            "task": "instances",
            "summary": "test",
            "licence": "Apache-2.0",
            "model": {"file": "model.onnx", "sha256": "0" * 64, "precision": "fp32"},
            "input": {"width": 128, "height": 64, "order": "rgb", "mean": (0, 0, 0), "std": (1, 1, 1)},
            "outputs": [{"name": name, "channels": count, "stride": stride} for name, count, stride in outputs],
            "grouping": {"method": "solo", "parameters": parameters},
            "classes": ("object",),
            "training": {"command": "test", "data": (), "seed": 0},
        }
    )


def test_discs_become_instances_of_the_image() -> None:
    card = make_card(track=False)
    interpreter = InstanceInterpreter(card)
    frame = Frame(np.zeros((128, 256, 3), np.uint8), stamp=5)
    interpreter.warm_up(frame)
    maps = {o.name: np.zeros((1, o.channels, 64 // o.stride, 128 // o.stride), np.float32) for o in card.outputs}
    for stride, (y, x) in ((8, (3, 4)), (16, (1, 6))):
        maps[f"cate_s{stride}"][:] = -9
        maps[f"cate_s{stride}"][0, 0, y, x] = 3
        maps[f"kernel_s{stride}"][0, :5, y, x] = 0.5, 0, 0, -2, -2
    found = interpret(interpreter, maps, frame, StageClock())
    assert len(found) == 2
    assert found.stamp == 5
    expected = sorted([((4 + 0.5) * 16 - 0.5, (3 + 0.5) * 16 - 0.5), ((6 + 0.5) * 32 - 0.5, (1 + 0.5) * 32 - 0.5)])
    np.testing.assert_allclose(sorted(map(tuple, found.centers)), expected, atol=1)


def test_warm_up_finds_something() -> None:
    card = make_card()
    interpreter = InstanceInterpreter(card)
    frame = Frame(np.zeros((64, 128, 3), np.uint8))
    for maps in warm_up_maps(card, METHOD.outputs):
        assert len(interpret(interpreter, maps, frame, StageClock())) > 0


@pytest.mark.parametrize(
    "outputs",
    [
        OUTPUTS[:-1],
        OUTPUTS[2:],
        [*OUTPUTS[:3], *OUTPUTS[4:]],
        [*OUTPUTS[:-1], ("mask_features", 4, 4)],
        [*OUTPUTS[:-1], ("mask_features", 3, 8)],
        [("cate_s8", 2, 8), *OUTPUTS[1:]],
        [("cate_s8", 1, 16), *OUTPUTS[1:]],
    ],
)
def test_outputs_that_do_not_fit(outputs: list[tuple[str, int, int]]) -> None:
    with pytest.raises(ModelError, match="asks for solo"):
        InstanceInterpreter(make_card(outputs))


def test_parameters_that_do_not_fit() -> None:
    for name, value in (("candidates", 0), ("nms", "soft"), ("score_threshold", 1.5), ("radius", 3)):
        with pytest.raises(ModelError, match=rf"grouping\.parameters\.{name}"):
            InstanceInterpreter(make_card(**{name: value}))
