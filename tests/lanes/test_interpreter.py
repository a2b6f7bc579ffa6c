"""Lane lines from maps to results: which are shown, and that masks, ids and lines say the same."""

from __future__ import annotations

import numpy as np
import pytest

from rtseg.errors import ModelError
from rtseg.frame import Frame
from rtseg.lanes.interpreter import LaneInterpreter, lane_settings
from rtseg.runtime.card import ModelCard
from rtseg.runtime.interpreter import interpret as run_both_steps
from rtseg.runtime.latency import StageClock
from tests.lanes.lane_logits import SIZE, lane_logits, line
from tests.threshold_network import write_threshold_model

FRAME = 10**9 // 25


def card(tmp_path, **parameters) -> ModelCard:
    grouping = {"method": "lanes", "parameters": parameters}
    return ModelCard.load(write_threshold_model(tmp_path / "m", grouping=grouping) / "card.yaml")


def frame(i: int) -> Frame:
    return Frame(np.zeros((*SIZE, 3), np.uint8), i * FRAME)


def interpret(interpreter: LaneInterpreter, logits: np.ndarray, i: int):
    return run_both_steps(interpreter, {"logits": logits[None]}, frame(i), StageClock())


def test_doubtful_lines_are_in_neither_mask_nor_lines(tmp_path):
    interpreter = LaneInterpreter(card(tmp_path, tracker={"show": 1.2}))
    logits = lane_logits([line(-300, end=330), line(330), line(900)])
    lanes = interpret(interpreter, logits, 0)
    assert len(lanes) == 2
    assert set(np.unique(lanes.mask)) == {0, *lanes.ids.tolist()}
    for identity, polyline in zip(lanes.ids, lanes.polylines, strict=True):
        rows, columns = np.nonzero(lanes.mask == identity)
        assert np.abs(np.interp(rows, polyline[:, 1], polyline[:, 0]) - columns).max() < 40


def test_a_line_that_is_carried_has_no_pixel(tmp_path):
    interpreter = LaneInterpreter(card(tmp_path))
    both, one = lane_logits([line(330), line(900)]), lane_logits([line(900)])
    first = [interpret(interpreter, both, i) for i in range(5)][-1]
    carried = interpret(interpreter, one, 5)
    assert carried.ids.tolist() == first.ids.tolist()
    assert set(np.unique(carried.mask)) == {0, int(first.ids[1])}
    assert carried.confidence[0] < first.confidence[0]
    np.testing.assert_allclose(carried.polylines[0], first.polylines[0], atol=1.5)
    later = [interpret(interpreter, one, i) for i in range(6, 16)][-1]
    assert later.ids.tolist() == [first.ids[1]]


def test_a_calibration_on_the_card_is_used(tmp_path):
    calibration = [-8.0, 1.0, 3.0]
    settings, _ = lane_settings(card(tmp_path, decoder={"calibration": calibration}))
    assert list(settings.calibration) == calibration
    with pytest.raises(ModelError, match="calibration"):
        LaneInterpreter(card(tmp_path, decoder={"calibration": [1.0]}))
    with pytest.raises(ModelError, match="show"):
        LaneInterpreter(card(tmp_path, tracker={"show": -1.0}))
