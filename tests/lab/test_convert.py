"""Results in other tools' forms, and back, by those tools themselves."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
import supervision

from rtseg.errors import ConfigError, DatasetError
from rtseg.lab.convert import (
    from_coco,
    instances_from_supervision,
    lanes_from_supervision,
    polygons,
    to_coco,
    to_supervision,
    to_table,
)
from rtseg.results import Instances, Lanes

SIZE = (48, 64)
CLASSES = ("car", "person")


def some_instances(seed: int, count: int = 4) -> Instances:
    """Rectangles of random places, the later over the earlier."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, *SIZE), bool)
    for mask in masks:
        y, x = rng.integers(0, 30, 2)
        mask[y : y + rng.integers(3, 18), x : x + rng.integers(3, 30)] = True
    ids = rng.permutation(20)[:count] + 1
    found = supervision.Detections(
        np.zeros((count, 4)), masks, rng.random(count), rng.integers(0, 2, count), tracker_id=ids
    )
    return instances_from_supervision(found, SIZE)


def some_lanes() -> Lanes:
    y = np.arange(10, 40, dtype=np.float32)
    lines = tuple(np.stack([x + 0 * y, y], axis=1) for x in (12.0, 40.0))
    mask = np.zeros(SIZE, np.uint8)
    mask[10:40, 11:14], mask[10:40, 39:42] = 3, 7
    return Lanes(mask, np.int32([3, 7]), np.float32([0.5, 0.75]), lines)


def assert_same(a: Instances, b: Instances, ids: bool = True) -> None:
    for name in ("labels", "class_ids", "boxes", "areas", *(["ids"] if ids else [])):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_allclose(a.scores, b.scores)
    np.testing.assert_allclose(a.centers, b.centers, rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_instances_go_there_and_back(seed: int) -> None:
    found = some_instances(seed)
    detections = to_supervision(found, CLASSES)
    np.testing.assert_array_equal(supervision.mask_to_xyxy(detections.mask)[:, :2], found.boxes[:, :2])
    assert list(detections["class_name"]) == [CLASSES[i] for i in found.class_ids]
    assert_same(instances_from_supervision(detections, SIZE), found)
    assert_same(from_coco(to_coco(found, 1), SIZE), found, ids=False)
    assert not len(instances_from_supervision(supervision.Detections.empty(), SIZE))


def test_what_is_drawn_over_it_hides_less_sure_masks() -> None:
    masks = np.zeros((2, *SIZE), bool)
    masks[0, 5:10, 5:10] = masks[1, 4:12, 4:12] = True
    boxes = np.zeros((2, 4))
    assert instances_from_supervision(
        supervision.Detections(boxes, masks, np.array([0.4, 0.9])), SIZE
    ).ids.tolist() == [2]
    both = instances_from_supervision(supervision.Detections(boxes, masks, np.array([0.9, 0.4])), SIZE)
    assert both.areas.tolist() == [25, 64 - 25]
    with pytest.raises(DatasetError, match="with masks"):
        instances_from_supervision(supervision.Detections(boxes), SIZE)
    with pytest.raises(DatasetError, match="48x60"):
        instances_from_supervision(supervision.Detections(boxes, masks), (48, 60))


def test_lanes_go_there_and_back() -> None:
    lanes = some_lanes()
    back = lanes_from_supervision(to_supervision(lanes)[np.array([1, 0])], SIZE)
    np.testing.assert_array_equal(back.mask, lanes.mask)
    assert back.ids.tolist() == [7, 3]
    np.testing.assert_array_equal(back.polylines[1], lanes.polylines[0])
    assert back.confidence.tolist() == [0.75, 0.5]
    with pytest.raises(DatasetError, match="polyline"):
        lanes_from_supervision(supervision.Detections(np.zeros((1, 4))), SIZE)


def test_polygons_are_those_of_every_part() -> None:
    mask = np.zeros(SIZE, bool)
    mask[2:6, 3:9] = mask[20:30, 40:44] = True
    found = polygons(mask)
    assert len(found) == 2
    drawn = sum(supervision.polygon_to_mask(np.rint(outline - 0.5).astype(int), SIZE[::-1]) for outline in found)
    np.testing.assert_array_equal(drawn > 0, mask)
    assert polygons(np.zeros(SIZE, bool)) == []


def test_a_replay_as_a_table() -> None:
    table = to_table([some_lanes(), some_lanes()])
    assert table.groupby("frame").id.apply(list).tolist() == [[3, 7], [3, 7]]
    assert table.loc[0, ["x0", "y0", "x1", "y1"]].tolist() == [12, 10, 12, 39]
    objects = to_table([some_instances(1)], CLASSES)
    assert set(objects["class"]) <= set(CLASSES)


@pytest.mark.parametrize(
    ("package", "convert"),
    [
        ("supervision", lambda: to_supervision(some_lanes())),
        ("pandas", lambda: to_table([some_lanes()])),
        ("pycocotools", lambda: from_coco(to_coco(some_instances(2), 1), SIZE)),
    ],
)
def test_a_package_that_is_missing_is_told_with_what_installs_it(
    package: str, convert: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=f"pip install {package}$"):
        convert()
