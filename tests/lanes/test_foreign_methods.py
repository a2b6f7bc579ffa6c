"""Lane networks of others' making: maps and row anchors become the same lines as colors do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rtseg.errors import GroupingError, ModelError
from rtseg.frame import Frame
from rtseg.lanes.interpreter import LaneInterpreter, lane_settings
from rtseg.results import Lanes
from rtseg.runtime.card import ModelCard
from rtseg.runtime.ignore import IgnoreMask
from rtseg.runtime.interpreter import HeadMaps, interpret
from rtseg.runtime.latency import StageClock

SIZE = (288, 512)  # of frames
HEIGHT, WIDTH = 128, 256
TOP = 0.25  # share of the frame from which on there are lines


def line_x(number: int, y: np.ndarray) -> np.ndarray:
    """Shares of the width at shares of the height: two lines that lean inwards."""
    ahead = (1 - y) / (1 - TOP)
    return np.array([0.2, 0.85])[number] + np.array([0.22, -0.27])[number] * ahead


def card(
    method: str, outputs: list[dict[str, Any]], needs: dict[str, Any] | None = None, **parameters: Any
) -> ModelCard:
    return ModelCard.model_validate(
        {
            "name": "foreign",
            "family": method,
            "task": "lanes",
            "summary": "",
            "licence": "",
            "model": {"file": "model.onnx", "sha256": "0" * 64, "precision": "fp32"},
            "input": {
                "width": WIDTH,
                "height": HEIGHT,
                "order": "rgb",
                "mean": [0] * 3,
                "std": [1] * 3,
                **(needs or {}),
            },
            "outputs": outputs,
            "grouping": {"method": method, "parameters": parameters},
            "classes": ["lane"],
            "training": {"command": "", "data": [], "seed": 0},
        }
    )


def read(made: ModelCard, maps: HeadMaps, size: tuple[int, int] = SIZE) -> Lanes:
    result = interpret(LaneInterpreter(made), maps, Frame(np.zeros((*size, 3), np.uint8)), StageClock())
    assert isinstance(result, Lanes)
    return result


def check(lanes: Lanes, pixels: float, size: tuple[int, int] = SIZE) -> None:
    """Two lines near the true ones, and a mask that says the same."""
    height, width = size
    assert len(lanes) == 2
    for i, line in enumerate(lanes.polylines):
        true = line_x(i, (line[:, 1] + 0.5) / height) * width - 0.5
        assert np.abs(line[:, 0] - true).max() < pixels
        assert len(line) > 0.6 * height
        assert np.array_equal(line[:, 1], np.arange(line[0, 1], line[-1, 1] + 1))
        rows, columns = np.nonzero(lanes.mask == lanes.ids[i])
        assert np.abs(np.interp(rows, line[:, 1], line[:, 0]) - columns).max() < 0.06 * width
    assert (lanes.confidence > 0.8).all()


# -- maps


def map_of(channels: int, first: int, shape: tuple[int, int] = (32, 64), top: float = 0.0) -> np.ndarray:
    """(channels, h, w) bool, line i in channel first + i, or both in the last; of the part of a frame below `top`."""
    h, w = shape
    values = np.zeros((channels, h, w), bool)
    y = top + (1 - top) * (np.arange(h) + 0.5) / h
    for i in (0, 1):
        x = line_x(i, y)[:, None] * w
        values[min(first + i, channels - 1)] |= (np.abs(np.arange(w) + 0.5 - x) < 1.2) & (y > TOP)[:, None]
    return values


def lane_map_card(channels: int, needs: dict[str, Any] | None = None, **parameters: Any) -> ModelCard:
    return card("lane_map", [{"name": "m", "kind": "lane_map", "shape": [1, channels, 32, 64]}], needs, **parameters)


@pytest.mark.parametrize("output", ["background", "sigmoid", "binary", "two", "ids", "one-id"])
def test_every_kind_of_map_gives_the_lines(output: str) -> None:
    if output == "background":
        values = 8.0 * map_of(5, 1)
        values[0] = 8.0 * ~values[1:].any(axis=0)
        made = lane_map_card(5)
    elif output == "sigmoid":
        values = np.where(map_of(4, 0), 0.98, 0.02)
        made = lane_map_card(4, background=False, scale="probabilities")
    elif output == "binary":
        values, made = np.where(map_of(1, 0), 6.0, -6.0), lane_map_card(1, background=False)
    elif output == "two":
        inside = map_of(1, 0)[0]
        values = np.stack([np.where(inside, 0.03, 0.97), np.where(inside, 0.97, 0.03)])
        made = lane_map_card(2, scale="probabilities")
    else:
        inside = map_of(2, 0)
        values = (inside[0] + (2 if output == "ids" else 1) * inside[1])[None]
        made = lane_map_card(1, scale="ids", background=False)
    check(read(made, {"m": values.astype(np.float32)[None]}), 9.0)


def test_a_network_that_sees_the_lower_part_gives_lines_of_the_whole_frame() -> None:
    values = np.where(map_of(2, 0, top=0.2), 6.0, -6.0).astype(np.float32)[None]
    check(read(lane_map_card(2, {"top": 0.2}, background=False), {"m": values}), 9.0)


def test_a_letterbox_is_cut_away() -> None:
    size = (256, 1024)
    values = np.full((1, 2, 32, 64), -6.0, np.float32)
    inside = map_of(2, 0, (16, 64))
    values[0, :, 8:24] = np.where(inside, 6.0, -6.0)
    check(read(lane_map_card(2, {"fit": "letterbox"}, background=False), {"m": values}, size), 18.0, size)


def test_maps_and_cards_that_do_not_fit_are_told() -> None:
    for parameters in ({}, {"scale": "probabilities"}, {"scale": "ids", "background": False}):
        channels = 1 if "background" in parameters else 2
        spoilt = np.full((1, channels, 32, 64), np.nan, np.float32)
        with pytest.raises(GroupingError, match="finite"):
            read(lane_map_card(channels, **parameters), {"m": spoilt})
    with pytest.raises(ModelError, match=r"shape \(1, 2 to 255, h, w\)"):
        LaneInterpreter(lane_map_card(1))
    with pytest.raises(ModelError, match="scale"):
        LaneInterpreter(lane_map_card(2, scale="decibels"))
    with pytest.raises(ModelError, match="expected lanes, lane_map, row_anchor"):
        LaneInterpreter(card("cascade_gaec", [{"name": "m", "kind": "lane_map", "shape": [1, 2, 4, 4]}]))
    with pytest.raises(ModelError, match="expected lanes"):
        lane_settings(lane_map_card(2))


# -- row anchors

CELLS, ROWS, LINES = 101, 24, 4
SPAN = (TOP + 0.02, 0.99)


def cells_of(position: np.ndarray, cells: int) -> np.ndarray:
    """(cells, anchors) logits whose expectation is at shares of the side, as training makes them."""
    at = position * (cells - 1) - 0.5
    number = np.arange(cells)[:, None]
    return 12.0 * -np.minimum(np.abs(number - at), 2.0)


def first_version(top: float = 0.0) -> dict[str, np.ndarray]:
    values = np.zeros((1, CELLS + 1, ROWS, LINES), np.float32)
    values[:, -1] = 4.0
    anchors = np.linspace(*SPAN, ROWS)
    for i, line in enumerate((1, 2)):
        values[0, :CELLS, :, line] = cells_of(line_x(i, anchors), CELLS)
        values[0, -1, :, line] = -20.0
    return {"a": values}


def second_version() -> dict[str, np.ndarray]:
    """Line 1 is the left one by rows, line 3 the right one by columns."""
    anchors, columns = np.linspace(*SPAN, ROWS), np.linspace(0, 1, 41)
    maps = {
        "rc": np.zeros((1, CELLS, ROWS, LINES), np.float32),
        "re": np.zeros((1, 2, ROWS, LINES), np.float32),
        "cc": np.zeros((1, CELLS, 41, LINES), np.float32),
        "ce": np.zeros((1, 2, 41, LINES), np.float32),
    }
    maps["re"][:, 0], maps["ce"][:, 0] = 5.0, 5.0
    maps["rc"][0, :, :, 1] = cells_of(line_x(0, anchors), CELLS)
    maps["re"][0, 1, :, 1] = 12.0
    y = 1 - (columns - 0.85) / -0.27 * (1 - TOP)
    maps["cc"][0, :, :, 3] = cells_of(y, CELLS)
    maps["ce"][0, 1, :, 3] = np.where((y > SPAN[0]) & (y < 0.99), 12.0, 0.0)
    return maps


def anchor_card(version: int = 1, needs: dict[str, Any] | None = None, **parameters: Any) -> ModelCard:
    shapes = first_version() if version == 1 else second_version()
    kinds = {"a": "row_anchors", "rc": "row_cells", "re": "row_exists", "cc": "column_cells", "ce": "column_exists"}
    outputs = [{"name": name, "kind": kinds[name], "shape": list(values.shape)} for name, values in shapes.items()]
    return card("row_anchor", outputs, needs, **{"rows": SPAN, **parameters})


@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_give_the_lines(version: int) -> None:
    check(read(anchor_card(version), first_version() if version == 1 else second_version()), 6.0)


def test_anchors_are_shares_of_the_whole_frame_whatever_the_network_sees() -> None:
    check(read(anchor_card(1, {"top": 0.2}), first_version()), 6.0)


def test_gaps_are_bridged_and_lines_that_hardly_exist_left_out() -> None:
    maps = first_version()
    maps["a"][0, -1, 5:9, 1] = 30.0
    check(read(anchor_card(), maps), 6.0)
    maps["a"][0, -1, 3:, 2] = 30.0
    assert len(read(anchor_card(min_anchors=0.2), maps)) == 1
    maps["a"][0, -1] = 30.0
    assert len(read(anchor_card(), maps)) == 0


def test_ids_last_through_a_stream_of_anchors() -> None:
    interpreter, seen = LaneInterpreter(anchor_card()), []
    for i in range(5):
        frame = Frame(np.zeros((*SIZE, 3), np.uint8), i * 40_000_000)
        seen.append(interpret(interpreter, first_version(), frame, StageClock()).ids.tolist())
    assert all(ids == seen[0] for ids in seen)


def test_anchors_that_do_not_fit_are_told() -> None:
    for version, maps in ((1, first_version()), (2, second_version())):
        for name in maps:
            spoilt = {**maps, name: maps[name] * np.float32(np.nan)}
            with pytest.raises(GroupingError, match="finite"):
                read(anchor_card(version), spoilt)
    with pytest.raises(ModelError, match="each line below 4"):
        LaneInterpreter(anchor_card(2, row_lines=[1, 7]))
    with pytest.raises(ModelError, match="rows"):
        LaneInterpreter(card("row_anchor", [{"name": "a", "kind": "row_anchors", "shape": [1, 9, 8, 4]}]))
    with pytest.raises(ModelError, match=r"parameters\.rows: expected the first before the last"):
        LaneInterpreter(anchor_card(1, rows=[1.0, 0.4]))
    with pytest.raises(ModelError, match="kind row_anchors"):
        LaneInterpreter(card("row_anchor", [{"name": "a", "kind": "row_cells", "shape": [1, 9, 8, 4]}], rows=SPAN))
    with pytest.raises(ModelError, match="stretched"):
        LaneInterpreter(anchor_card(1, {"fit": "letterbox"}))


def test_warm_up_finds_lines() -> None:
    for made in (anchor_card(1), anchor_card(2), lane_map_card(5), lane_map_card(1, background=False)):
        interpreter = LaneInterpreter(made)
        interpreter.warm_up(Frame(np.zeros((*SIZE, 3), np.uint8), 0))
        assert (
            len(
                interpret(
                    interpreter,
                    interpreter._reading.warm_up_maps(),
                    Frame(np.zeros((*SIZE, 3), np.uint8)),
                    StageClock(),
                )
            )
            >= 1
        )


@pytest.mark.parametrize("kind", ["map", "anchors", "columns"])
def test_ignored_pixels_end_lines_of_every_method(kind: str) -> None:
    mask = np.zeros(SIZE, bool)
    mask[220:] = True
    mask[:, : SIZE[1] // 2] |= kind != "columns"
    if kind == "map":
        made, maps = (
            lane_map_card(1, background=False),
            {"m": np.where(map_of(1, 0), 6.0, -6.0).astype(np.float32)[None]},
        )
    else:
        made, maps = (
            anchor_card(1 if kind == "anchors" else 2),
            first_version() if kind == "anchors" else second_version(),
        )
    frame = Frame(np.zeros((*SIZE, 3), np.uint8))
    found = interpret(LaneInterpreter(made, IgnoreMask(mask)), maps, frame, StageClock())
    assert len(found) == (2 if kind == "columns" else 1)
    assert all(line[:, 1].max() < 220 for line in found.polylines)
    assert not found.mask[mask].any()
