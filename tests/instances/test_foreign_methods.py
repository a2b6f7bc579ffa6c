"""Methods for networks of others' making: YOLO's tables and prototypes, and semantic maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rtseg.errors import GroupingError, ModelError
from rtseg.frame import Frame
from rtseg.instances.interpreter import InstanceInterpreter
from rtseg.instances.methods.yolo_seg import columns_first
from rtseg.results import Instances
from rtseg.runtime.card import ModelCard
from rtseg.runtime.interpreter import HeadMaps, interpret
from rtseg.runtime.latency import StageClock

WIDTH, HEIGHT = 128, 64


def card(method: str, outputs: list[dict[str, Any]], classes: tuple[str, ...], **parameters: Any) -> ModelCard:
    return ModelCard.model_validate(
        {
            "name": "foreign",
            "family": method,
            "task": "instances",
            "summary": "",
            "licence": "",
            "model": {"file": "model.onnx", "sha256": "0" * 64, "precision": "fp32"},
            "input": {"width": WIDTH, "height": HEIGHT, "order": "rgb", "mean": [0] * 3, "std": [1] * 3},
            "outputs": outputs,
            "grouping": {"method": method, "parameters": parameters},
            "classes": classes,
            "training": {"command": "", "data": [], "seed": 0},
        }
    )


def read(
    made: ModelCard, maps: HeadMaps, size: tuple[int, int] = (HEIGHT, WIDTH), stamp: int | None = None
) -> Instances:
    frame = Frame(np.zeros((*size, 3), np.uint8), stamp)
    result = interpret(InstanceInterpreter(made), maps, frame, StageClock())
    assert isinstance(result, Instances)
    return result


# -- YOLO


def yolo_card(layout: str = "classes", rows: int = 20, upright: bool = True, **parameters: Any) -> ModelCard:
    columns = {"classes": 4 + 3, "objectness": 5 + 3, "selected": 6}[layout] + 2
    shape = [1, columns, rows] if upright else [1, rows, columns]
    outputs = [
        {"name": "table", "kind": "detections", "shape": shape},
        {"name": "prototypes", "kind": "prototypes", "channels": 2, "stride": 4},
    ]
    return card("yolo_seg", outputs, ("a", "b", "c"), layout=layout, **parameters)


def table_of(
    objects: list[tuple[tuple[float, float, float, float], int, float]], layout: str, rows: int = 20
) -> np.ndarray:
    """(columns, rows) of (box, class, score); both coefficients are 1."""
    before = {"classes": 4, "objectness": 5, "selected": 6}[layout]
    table = np.zeros((before + 3 * (layout != "selected") + 2, rows), np.float32)
    for i, ((x0, y0, x1, y1), kind, score) in enumerate(objects):
        if layout == "selected":
            table[:6, i] = x0, y0, x1, y1, score, kind
        else:
            table[:4, i] = (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
            table[before + kind, i] = score
            if layout == "objectness":
                table[4, i], table[before + kind, i] = 0.99, score / 0.99
        table[-2:, i] = 1.0
    return table


def everywhere() -> np.ndarray:
    return np.ones((1, 2, HEIGHT // 4, WIDTH // 4), np.float32)


BOXES = [((8.0, 8.0, 40.0, 40.0), 2, 0.8), ((60.0, 16.0, 100.0, 48.0), 0, 0.9), ((20.0, 20.0, 60.0, 60.0), 1, 0.6)]


@pytest.mark.parametrize("layout", ["classes", "objectness", "selected"])
@pytest.mark.parametrize("upright", [True, False])
def test_every_layout_reads_the_same(layout: str, upright: bool) -> None:
    table = table_of([*BOXES, ((0, 0, 100, 60), 0, 0.2)], layout)
    table = np.ascontiguousarray(table if upright else table.T)
    found = read(yolo_card(layout, upright=upright), {"table": table[None], "prototypes": everywhere()})
    assert found.class_ids.tolist() == [0, 2, 1]
    np.testing.assert_allclose(found.scores, [0.9, 0.8, 0.6], atol=1e-6)
    np.testing.assert_array_equal(found.boxes, [(60, 16, 100, 48), (8, 8, 40, 40), (20, 20, 60, 60)])
    assert found.labels[30, 30] == 2, "the surer lies in front"
    assert found.labels[50, 50] == 3


def test_a_surer_box_of_the_same_class_suppresses_and_one_of_another_does_not() -> None:
    near = [((8.0, 8.0, 40.0, 40.0), 1, 0.9), ((9.0, 8.0, 41.0, 40.0), 1, 0.8), ((10.0, 8.0, 48.0, 40.0), 2, 0.7)]
    table = table_of(near, "classes")[None]
    found = read(yolo_card(), {"table": table, "prototypes": everywhere()})
    assert found.class_ids.tolist() == [1, 2]
    assert len(read(yolo_card(overlap=1.0, min_area=1), {"table": table, "prototypes": everywhere()})) == 3
    assert len(read(yolo_card(max_objects=1), {"table": table, "prototypes": everywhere()})) == 1
    selected = table_of(near, "selected")[None]
    assert len(read(yolo_card("selected", min_area=1), {"table": selected, "prototypes": everywhere()})) == 3


def test_small_masks_and_hidden_objects_are_left_out() -> None:
    objects = [((8.0, 8.0, 40.0, 40.0), 1, 0.9), ((10.0, 10.0, 30.0, 30.0), 2, 0.8), ((80.0, 8.0, 84.0, 12.0), 0, 0.7)]
    found = read(yolo_card(min_area=32), {"table": table_of(objects, "classes")[None], "prototypes": everywhere()})
    assert found.class_ids.tolist() == [1]
    nothing = {"table": table_of([], "classes")[None], "prototypes": everywhere()}
    assert len(read(yolo_card(), nothing)) == 0


@pytest.mark.parametrize("layout", ["classes", "objectness", "selected"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_told(layout: str, value: float) -> None:
    rows = {"classes": 7, "objectness": 8, "selected": 6}[layout]
    for at in (0, 4, rows - 1, rows):
        table = table_of(BOXES, layout)
        table[at, :] = value
        for each in (table, table.T):
            made = yolo_card(layout, upright=each is table)
            with pytest.raises(GroupingError, match="finite"):
                read(made, {"table": np.ascontiguousarray(each)[None], "prototypes": everywhere()})
    good = table_of(BOXES, layout)[None]
    with pytest.raises(GroupingError, match="finite"):
        read(yolo_card(layout), {"table": good, "prototypes": everywhere() * np.float32(np.nan)})


def test_classes_beyond_the_card_are_told() -> None:
    table = table_of([((8.0, 8.0, 40.0, 40.0), 7, 0.9)], "selected")
    with pytest.raises(GroupingError, match="expected classes 0 to 2, got 7"):
        read(yolo_card("selected"), {"table": table[None], "prototypes": everywhere()})


def test_cards_that_do_not_fit_are_told() -> None:
    table = {"name": "t", "kind": "detections", "shape": [1, 9, 20]}
    prototypes = {"name": "p", "kind": "prototypes", "channels": 2, "stride": 4}
    for outputs, message in (
        ([table], "kind prototypes"),
        ([table, {**prototypes, "channels": 3}], "table of 10 columns"),
        ([{**table, "shape": [1, 8, 20]}, prototypes], "table of 9 columns"),
        ([table, table | {"name": "u"}, prototypes], "kind detections"),
    ):
        with pytest.raises(ModelError, match=message):
            InstanceInterpreter(card("yolo_seg", outputs, ("a", "b", "c")))
    assert columns_first((1, 9, 9), "classes", 3, 2)
    assert columns_first((1, 9, 9), "objectness", 2, 2) is False
    assert columns_first((1, 8, 7), "classes", 3, 2) is None


# -- semantic maps


CLASSES = ("road", "person", "car")


def semantic_card(kind: str = "class_scores", classes: tuple[str, ...] = CLASSES, stride: int = 4, **parameters: Any):
    sides = [1, len(classes) if kind == "class_scores" else 1, HEIGHT // stride, WIDTH // stride]
    return card("semantic", [{"name": "map", "kind": kind, "shape": sides}], classes, **parameters)


def street(stride: int = 4) -> np.ndarray:
    """Class numbers (h, w): road with two people and a car on it."""
    kinds = np.zeros((HEIGHT, WIDTH), np.int64)
    kinds[8:40, 8:24] = 1
    kinds[16:48, 40:56] = 1
    kinds[16:48, 72:112] = 2
    return kinds[stride // 2 :: stride, stride // 2 :: stride]


def scores_of(kinds: np.ndarray, margin: float = 6.0) -> np.ndarray:
    return margin * (kinds[None] == np.arange(3)[:, None, None]).astype(np.float32)[None]


def test_every_class_is_one_segment_and_things_are_their_components() -> None:
    kinds = street()
    stuff = read(semantic_card(), {"map": scores_of(kinds)})
    assert sorted(stuff.class_ids.tolist()) == [0, 1, 2]
    found = read(semantic_card(things=["person", "car"]), {"map": scores_of(kinds)})
    assert found.class_ids.tolist() == [0, 1, 1, 2]
    named = np.concatenate([[-1], found.class_ids])[found.labels]
    np.testing.assert_array_equal(named[2::4, 2::4], kinds)
    expected = 1 / (1 + 2 * np.exp(-6.0))
    np.testing.assert_allclose(found.scores, expected, rtol=1e-4)


def test_all_kinds_of_output_give_the_same_segments() -> None:
    kinds = street()
    logits = read(semantic_card(things=["person"]), {"map": scores_of(kinds)})
    powers = np.exp(scores_of(kinds))
    soft = powers / powers.sum(axis=1, keepdims=True)
    probable = read(semantic_card(things=["person"], scale="probabilities"), {"map": soft})
    ids = read(semantic_card("class_ids", things=["person"]), {"map": kinds.astype(np.float32)[None, None]})
    np.testing.assert_allclose(probable.scores, logits.scores, rtol=1e-5)
    for other in (probable, ids):
        np.testing.assert_array_equal(other.class_ids, logits.class_ids)
        inside = (other.labels == logits.labels).mean()
        assert inside > 0.97
    assert (ids.scores == 1).all()


def test_ignored_classes_and_unknown_numbers_are_nothing() -> None:
    kinds = street()
    found = read(semantic_card(ignored=["road"]), {"map": scores_of(kinds)})
    assert found.class_ids.tolist() == [1, 2]
    assert not found.labels[0].any()
    numbers = kinds.astype(np.float32)[None, None]
    numbers[numbers == 2] = 255
    assert read(semantic_card("class_ids"), {"map": numbers}).class_ids.tolist() == [0, 1]


def test_drivable_area_is_the_pixels_of_its_classes() -> None:
    found = read(semantic_card(drivable=["road"]), {"map": scores_of(street())}, (2 * HEIGHT, 2 * WIDTH))
    assert found.drivable is not None
    np.testing.assert_array_equal(found.drivable, np.isin(found.labels, 1 + np.flatnonzero(found.class_ids == 0)))
    assert 0.5 < found.drivable.mean() < 0.9
    assert read(semantic_card(), {"map": scores_of(street())}).drivable is None
    with pytest.raises(ModelError, match="drivable: expected classes out of road, person, car, got 'lake'"):
        InstanceInterpreter(semantic_card(drivable=["lake"]))


def test_one_channel_is_a_class_against_the_rest() -> None:
    logits = np.where(street() == 0, 4.0, -4.0).astype(np.float32)[None, None]
    for values, scale in ((logits, "logits"), ((1 / (1 + np.exp(-logits))).astype(np.float32), "probabilities")):
        found = read(semantic_card(classes=("road",), scale=scale), {"map": values})
        assert found.class_ids.tolist() == [0]
        np.testing.assert_allclose(found.scores, 1 / (1 + np.exp(-4.0)), rtol=1e-5)
        assert abs((found.labels > 0).mean() - (street() == 0).mean()) < 0.02


@pytest.mark.parametrize("stride", [1, 4])
def test_small_segments_are_left_out(stride: int) -> None:
    kinds = street(stride).copy()
    kinds[0, 0] = 2
    found = read(semantic_card(stride=stride, things=["car"], min_area=32), {"map": scores_of(kinds)})
    assert (found.class_ids == 2).sum() == 1


def test_things_keep_their_ids_in_a_stream() -> None:
    interpreter = InstanceInterpreter(semantic_card(things=["person", "car"], ignored=["road"]))
    seen = []
    for i in range(4):
        frame = Frame(np.zeros((HEIGHT, WIDTH, 3), np.uint8), i * 40_000_000)
        kinds = np.roll(street(), i, axis=1)
        found = interpret(interpreter, {"map": scores_of(kinds)}, frame, StageClock())
        seen.append(dict(zip(found.ids.tolist(), found.class_ids.tolist(), strict=True)))
    assert all(each == seen[0] for each in seen)


def test_maps_that_do_not_fit_are_told() -> None:
    for kind in ("class_scores", "class_ids"):
        channels = 3 if kind == "class_scores" else 1
        spoilt = np.full((1, channels, HEIGHT // 4, WIDTH // 4), np.nan, np.float32)
        with pytest.raises(GroupingError, match="finite"):
            read(semantic_card(kind), {"map": spoilt})
    with pytest.raises(ModelError, match="class_scores with a channel for each"):
        InstanceInterpreter(card("semantic", [{"name": "m", "kind": "class_scores", "shape": [1, 2, 4, 4]}], CLASSES))


def test_warm_up_reaches_the_tracker() -> None:
    for made in (yolo_card(), yolo_card("selected", upright=False), yolo_card("objectness"), semantic_card()):
        InstanceInterpreter(made).warm_up(Frame(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 0))
