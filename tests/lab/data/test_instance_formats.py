"""Readers of instance labels against Cityscapes' and COCO's own tools, and what they do with broken files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtseg.errors import DatasetError
from rtseg.lab.data.cityscapes import LABEL_IDS, THINGS, GtFineFrame, ids_from_truth, truth_from_ids
from rtseg.lab.data.cityscapes640 import paint_polygons, read_cityscapes640, read_polygons
from rtseg.lab.data.coco import decode_segmentation, read_coco, unpack_counts, write_coco
from rtseg.lab.data.instance_folders import HOLDOUT_CITIES, instance_frames, read_instances
from rtseg.lab.data.instance_labels import InstanceTruth

NAMES = ("road", "car", "cargroup", "person", "license plate", "caravan", "rider", "polegroup", "ego vehicle")


def _polygons(seed: int, count: int = 25) -> list[tuple[int, np.ndarray]]:
    rng = np.random.default_rng(seed)
    polygons = []
    for _ in range(count):
        middle, reach = rng.uniform(0.05, 0.95, 2), rng.uniform(0.01, 0.2)
        turn = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 12)))
        points = middle + reach * np.stack([np.cos(turn), np.sin(turn)], 1)
        grid = np.array([2048, 1024])
        polygons.append((int(rng.integers(len(NAMES))), np.rint(points.clip(0, 0.999) * grid) / grid))
    return polygons


def _write_squares(folder: Path, labels: dict[str, str], names: tuple[str, ...] = NAMES) -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    (folder / "classes.json").write_text(json.dumps({"names": names}))
    for i, (name, text) in enumerate(labels.items()):
        cv2.imwrite(str(folder / "images" / f"{name}.jpg"), np.full((64, 64, 3), 20 * i, np.uint8))
        (folder / "labels" / f"{name}.txt").write_text(text)
    return folder


def test_label_ids_are_those_of_cityscapesscripts() -> None:
    labels = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    assert {label.name: label.id for label in labels} == LABEL_IDS
    things = [label.name for label in labels if label.hasInstances and not label.ignoreInEval]
    assert tuple(things) == THINGS


@pytest.mark.parametrize("seed", range(3))
def test_painted_polygons_equal_cityscapesscripts(seed: int) -> None:
    annotation_module = pytest.importorskip("cityscapesscripts.helpers.annotation")
    instance_images = pytest.importorskip("cityscapesscripts.preparation.json2instanceImg")
    polygons = _polygons(seed)
    annotation = annotation_module.Annotation()
    objects = [
        {"label": NAMES[k], "polygon": np.rint(points * [2048, 1024]).tolist(), "deleted": 0} for k, points in polygons
    ]
    annotation.fromJsonText(json.dumps({"imgHeight": 1024, "imgWidth": 2048, "objects": objects}))
    expected = np.asarray(instance_images.createInstanceImage(annotation, "ids"), np.int64)
    painted = paint_polygons(polygons, NAMES, (1024, 2048))
    # The two painters round the pixels of slanted edges differently, and nothing else.
    differ = painted != expected
    assert differ.mean() < 0.01
    assert cv2.erode(differ.astype(np.uint8), np.ones((3, 3), np.uint8)).sum() < 20
    assert set(np.unique(painted)) <= set(np.unique(expected)) | {0}


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25)
def test_truth_of_ids_pixel_by_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.array([0, 1, 5, 7, 24, 26, 29, 24000, 24001, 26000, 26017, 29000, 30002, 33999])
    ids = rng.choice(values, (9, 11)).astype(np.int32)
    truth = truth_from_ids(ids)
    singles = sorted({int(v) for v in ids.ravel() if v >= 1000 and v // 1000 not in (29, 30)})
    by_id = {24: 1, 26: 3, 29: 255, 30: 255, 5: 255, 33: 8}
    for value, instance, semantic in zip(
        ids.ravel().tolist(), truth.instances.ravel(), truth.semantic.ravel(), strict=True
    ):
        label = value // 1000 or value
        assert semantic == by_id.get(label, 0)
        if value in singles:
            assert instance == 1 + singles.index(value)
        else:
            assert instance == (-1 if label in by_id else 0)
    assert [1 + c for c in truth.class_ids] == [by_id[value // 1000] for value in singles]


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20)
def test_a_truth_survives_the_encoding_of_instance_ids(seed: int) -> None:
    rng = np.random.default_rng(seed)
    class_ids = np.sort(rng.integers(0, 8, 6)).astype(np.int32)
    instances = np.concatenate([rng.integers(-1, 7, 44), np.arange(1, 7)]).reshape(5, 10).astype(np.int32)
    semantic = np.concatenate([[0], class_ids + 1])[np.maximum(instances, 0)].astype(np.uint8)
    semantic[instances < 0] = rng.choice([1, 8, 255], (instances < 0).sum())
    back = truth_from_ids(ids_from_truth(InstanceTruth(instances, semantic, class_ids)))
    assert np.array_equal(back.semantic, semantic)
    assert np.array_equal(back.class_ids, class_ids)
    assert np.array_equal(back.instances, instances)


def test_truths_that_instance_ids_cannot_hold() -> None:
    many = InstanceTruth(np.zeros((2, 2), np.int32), np.zeros((2, 2), np.uint8), np.zeros(1001, np.int32))
    other = InstanceTruth(np.ones((2, 2), np.int32), np.full((2, 2), 9, np.uint8), np.array([8], np.int32))
    for truth in (many, other):
        with pytest.raises(DatasetError, match="at most 1000"):
            ids_from_truth(truth)


@pytest.mark.parametrize("value", [34, 7001, 40000, -3, 70000])
def test_ids_that_cityscapes_has_not(value: int) -> None:
    with pytest.raises(DatasetError, match="Cityscapes"):
        truth_from_ids(np.full((3, 3), value, np.int32))


def test_squares_come_back_in_proportion_and_order(tmp_path: Path) -> None:
    text = (
        "1 0 0 0.5 0 0.5 1 0 1\n0 0 0 1 0 1 0.25 0 0.25\n\n1 0.25 0.5 0.75 0.5 0.75 1 0.25 1\n2 0.9 0.9 1 0.9 1 1 0.9 1"
    )
    folder = _write_squares(tmp_path / "squares", {"bonn_1_2": text})
    (frame,) = read_cityscapes640(folder)
    assert (frame.name, frame.place, frame.classes) == ("bonn_1_2", "bonn", THINGS)
    truth = frame.truth()
    assert frame.image().shape == (640, 1280, 3)
    assert truth.instances.shape == truth.semantic.shape == (640, 1280)
    assert truth.class_ids.tolist() == [2, 2]
    assert truth.instances[10, 10] == 0  # the road lies over the car
    assert (truth.instances[300, 100], truth.instances[600, 700], truth.instances[600, 400]) == (1, 2, 2)
    assert (truth.instances[620, 1250], truth.semantic[620, 1250]) == (-1, 3)  # a group: class without instance
    assert set(np.unique(frame.instance_ids())) == {0, 7, 26, 26000, 26001}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 0.5", "line 2"),
        ("car 0 0 1 1 0 1", "line 2"),
        ("1 0 0 nan 1 0 1", "line 2"),
        ("1 0 0 inf 1 0 1", "line 2"),
        ("77 0 0 1 1 0 1", "class indices"),
        ("-1 0 0 1 1 0 1", "class indices"),
    ],
)
def test_broken_polygon_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    folder = _write_squares(tmp_path / "squares", {"bonn_1_2": f"1 0 0 1 1 0 1\n{line}\n"})
    with pytest.raises(DatasetError, match=message) as raised:
        read_cityscapes640(folder)[0].truth()
    assert "bonn_1_2.txt" in str(raised.value)


@pytest.mark.parametrize("text", ["", "\n\n", "1\n", "1 0.5 0.5\n", "1 -9 -9 1e12 -9 1e12 -8\n", "1 0.1 0.1 0.2 0.2\n"])
def test_empty_tiny_and_outside_polygons_are_clipped(tmp_path: Path, text: str) -> None:
    folder = _write_squares(tmp_path / "squares", {"bonn_1_2": text})
    truth = read_cityscapes640(folder)[0].truth()
    assert np.count_nonzero(truth.instances) < 1000
    assert truth.instances.max() == len(truth)


def test_folders_that_are_not_whole(tmp_path: Path) -> None:
    folder = _write_squares(tmp_path / "a", {"bonn_1_2": ""})
    (folder / "labels" / "bonn_1_2.txt").unlink()
    with pytest.raises(DatasetError, match=r"bonn_1_2\.txt"):
        read_instances(folder)
    with pytest.raises(DatasetError, match="warship"):
        read_instances(_write_squares(tmp_path / "b", {"bonn_1_2": ""}, ("car", "warship")))
    with pytest.raises(DatasetError, match=r"classes\.json"):
        read_instances(tmp_path)
    broken = _write_squares(tmp_path / "c", {"bonn_1_2": ""})
    (broken / "images" / "bonn_1_2.jpg").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="picture"):
        read_instances(broken)[0].image()
    (broken / "labels" / "bonn_1_2.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="text file"):
        read_polygons(broken / "labels" / "bonn_1_2.txt")


def _write_gtfine(root: Path, split: str, city: str, ids: np.ndarray) -> None:
    name = f"{city}_000000_000019"
    picture = root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png"
    labels = root / "gtFine" / split / city / f"{name}_gtFine_instanceIds.png"
    for path, array in ((picture, np.zeros((*ids.shape, 3), np.uint8)), (labels, ids.astype(np.uint16))):
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), array)


def test_gtfine_layout_and_held_out_cities(tmp_path: Path) -> None:
    ids = np.zeros((32, 64), np.int32)
    ids[4:9, 4:9], ids[10:20, 30:40], ids[25:, :9] = 24000, 26003, 33
    for split, city in (("train", "bremen"), ("train", "aachen"), ("val", "munster")):
        _write_gtfine(tmp_path, split, city, ids)
    frames = instance_frames([tmp_path])
    assert [frame.place for frame in frames] == ["aachen", "bremen", "munster"]
    held, rest = instance_frames([tmp_path], "holdout"), instance_frames([tmp_path], "train")
    assert [frame.place for frame in held] == ["aachen", "munster"]
    assert {frame.name for frame in rest} == {frame.name for frame in frames} - {frame.name for frame in held}
    assert len(instance_frames([tmp_path], "holdout", ("munster",))) == 1
    truth = frames[0].truth()
    assert truth.class_ids.tolist() == [0, 2]
    assert np.array_equal(
        truth.instances, np.where(ids == 24000, 1, np.where(ids == 26003, 2, np.where(ids == 33, -1, 0)))
    )
    assert isinstance(frames[0], GtFineFrame)
    assert np.array_equal(frames[0].instance_ids(), ids)
    frames[0].labels.write_bytes(b"")
    with pytest.raises(DatasetError, match="instance ids at"):
        frames[0].truth()
    assert isinstance(frames[1], GtFineFrame)
    frames[1].path.unlink()
    with pytest.raises(DatasetError, match="picture"):
        read_instances(tmp_path)
    with pytest.raises(DatasetError, match="holdout"):
        instance_frames([_write_squares(tmp_path / "s", {"bonn_1": ""})], "holdout")


@st.composite
def truths(draw: st.DrawFn) -> InstanceTruth:
    height, width = draw(st.integers(2, 14)), draw(st.integers(2, 17))
    rng = np.random.default_rng(draw(st.integers(0, 100_000)))
    count = draw(st.integers(0, 5))
    class_ids = rng.integers(0, 3, count).astype(np.int32)
    raw = rng.integers(-1, count + 1, (height, width))
    for number in range(1, count + 1):  # every instance has a pixel
        raw.flat[rng.integers(raw.size)] = number
    present = [number for number in range(1, count + 1) if (raw == number).any()]
    instances = np.where(raw < 0, -1, 0)
    for new, number in enumerate(present, 1):
        instances[raw == number] = new
    class_ids = class_ids[[number - 1 for number in present]]
    semantic = np.concatenate([[0], class_ids + 1])[np.maximum(instances, 0)]
    semantic[instances < 0] = rng.integers(1, 4)
    return InstanceTruth(instances.astype(np.int32), semantic.astype(np.uint8), class_ids)


@given(first=truths(), second=truths())
@settings(max_examples=25)
def test_coco_round_trip(tmp_path_factory: pytest.TempPathFactory, first: InstanceTruth, second: InstanceTruth) -> None:
    from pycocotools.coco import COCO

    folder = tmp_path_factory.mktemp("coco")
    classes = ("person", "car", "bicycle")
    count = write_coco(folder / "instances.json", [("a.png", first), ("b/c.png", second)], classes)
    frames = read_coco(folder / "instances.json")
    assert [frame.name for frame in frames] == ["a.png", "b/c.png"]
    assert frames[0].classes == classes
    for frame, truth in zip(frames, (first, second), strict=True):
        back = frame.truth()
        assert np.array_equal(back.instances, truth.instances)
        assert np.array_equal(back.semantic, truth.semantic)
        assert np.array_equal(back.class_ids, truth.class_ids)
    # COCO's own reader sees the same masks.
    theirs = COCO(str(folder / "instances.json"))
    assert len(theirs.anns) == count
    for number, annotation in enumerate(theirs.loadAnns(theirs.getAnnIds(imgIds=1, iscrowd=False)), 1):
        assert np.array_equal(theirs.annToMask(annotation), first.instances == number)
        assert annotation["area"] == np.count_nonzero(first.instances == number)


def test_unknown_pixels_become_background_in_coco(tmp_path: Path) -> None:
    unknown = InstanceTruth(np.full((4, 4), -1, np.int32), np.full((4, 4), 255, np.uint8), np.zeros(0, np.int32))
    assert write_coco(tmp_path / "i.json", [("a.png", unknown)], ("car",)) == 0
    assert not read_coco(tmp_path / "i.json")[0].truth().instances.any()


def test_coco_forms_of_a_mask_agree() -> None:
    from pycocotools import mask as coco

    square = [[2.0, 3.0, 8.0, 3.0, 8.0, 7.0, 2.0, 7.0]]
    expected = np.zeros((10, 12), bool)
    expected[3:7, 2:8] = True
    packed = coco.encode(np.asfortranarray(expected, np.uint8))
    runs = unpack_counts(packed["counts"], "")
    for form in (
        square,
        {"size": [10, 12], "counts": packed["counts"].decode()},
        {"size": [10, 12], "counts": runs},
        [*square, [1.0, 1.0], [4.0, 4.0, 9.0, 9.0]],  # a dot and a line have no area, and are no boxes
    ):
        assert np.array_equal(decode_segmentation(form, (10, 12), "a"), expected)
    beyond = decode_segmentation([[-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9]], (10, 12), "a")
    assert beyond.all()
    for empty in ([], [[]], [[3, 3]], [[-50, -50, -40, -50, -40, -40]]):
        assert not decode_segmentation(empty, (10, 12), "a").any()


@pytest.mark.parametrize(
    "form",
    [
        None,
        "text",
        [["a", "b", 1, 2, 3, 4]],
        [[0, 0, 1, 1, 2]],
        [[0, 0, float("nan"), 1, 2, 5]],
        [[[0, 0], [1, 1], [1, 2]]],
        {"size": [10, 12]},
        {"size": [10, 13], "counts": [130]},
        {"size": [10, 12], "counts": [60, 61]},
        {"size": [10, 12], "counts": [-5, 125]},
        {"size": [10, 12], "counts": [1.5, 118.5]},
        {"size": [10, 12], "counts": "~~~~"},
        {"size": [10, 12], "counts": "h"},
        {"size": [10, 12], "counts": "1234"},
        {"size": [10, 12], "counts": "ÿ"},
    ],
)
def test_broken_masks_are_refused(form: Any) -> None:
    with pytest.raises(DatasetError, match=r"frame\.png"):
        decode_segmentation(form, (10, 12), "frame.png")


@given(counts=st.text(alphabet=[chr(48 + i) for i in range(64)], max_size=20))
@settings(max_examples=60)
def test_any_run_length_text_is_decoded_or_refused(counts: str) -> None:
    try:
        mask = decode_segmentation({"size": [10, 12], "counts": counts}, (10, 12), "a")
    except DatasetError:
        return
    assert mask.shape == (10, 12)


@pytest.mark.parametrize(
    "change",
    [
        {"images": []},
        {"images": 5},
        {"categories": []},
        {"categories": [{"id": 1}]},
        {"annotations": [{"image_id": 9, "category_id": 1, "segmentation": []}]},
        {"annotations": [{"image_id": 1, "category_id": 9, "segmentation": []}]},
        {"annotations": [3]},
        {"images": [{"id": 1, "file_name": "a.png", "height": 0, "width": 4}]},
        {"images": [{"id": 1, "file_name": f"{name}.png", "height": 4, "width": 4} for name in "ab"]},
        {"categories": [{"id": 1, "name": "car"}, {"id": 1, "name": "bus"}]},
    ],
)
def test_broken_coco_files_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 4, "width": 4}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    assert len(read_coco(path)[0].truth()) == 0
    path.write_text(json.dumps(content | change))
    with pytest.raises(DatasetError, match=r"instances\.json"):
        read_coco(path)
    path.write_text("[")
    with pytest.raises(DatasetError, match=r"instances\.json"):
        read_instances(path)


def test_coco_classes_are_chosen_by_name_and_overlaps_show_the_smaller(tmp_path: Path) -> None:
    def box(x0: int, y0: int, x1: int, y1: int) -> list[list[int]]:
        return [[x0, y0, x1, y0, x1, y1, x0, y1]]

    rows = [(5, box(2, 2, 6, 6), 0), (9, box(0, 0, 10, 10), 0), (7, box(0, 0, 3, 3), 0), (5, box(0, 0, 20, 20), 1)]
    content = {
        "images": [{"id": 4, "file_name": "a.png", "height": 20, "width": 20}],
        "categories": [{"id": 5, "name": "person"}, {"id": 7, "name": "cat"}, {"id": 9, "name": "car"}],
        "annotations": [
            {"image_id": 4, "category_id": category, "segmentation": form, "iscrowd": crowd}
            for category, form, crowd in rows
        ],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "street").mkdir()
    path = tmp_path / "annotations" / "instances_street.json"
    path.write_text(json.dumps(content))
    cv2.imwrite(str(tmp_path / "street" / "a.png"), np.zeros((20, 20, 3), np.uint8))
    (frame,) = instance_frames([path], "train", classes=("car", "person"))
    assert len(instance_frames([path], "holdout")) == 1  # no place: the caller knows what the file is for
    assert frame.image().shape == (20, 20, 3)
    truth = frame.truth()
    assert truth.class_ids.tolist() == [1, 0]
    assert (truth.instances[4, 4], truth.instances[1, 1], truth.instances[15, 15]) == (1, 2, -1)
    assert (truth.semantic[4, 4], truth.semantic[1, 1], truth.semantic[15, 15]) == (2, 1, 2)
    with pytest.raises(DatasetError, match="tram"):
        read_coco(path, ("tram",))
    cv2.imwrite(str(tmp_path / "street" / "a.png"), np.zeros((9, 20, 3), np.uint8))
    with pytest.raises(DatasetError, match="20x20"):
        frame.image()


def test_real_frames(driving_data: Path) -> None:
    folder = driving_data / "instances" / "cityscapes640"
    frames = instance_frames([folder])
    held = instance_frames([folder], "holdout")
    assert {frame.place for frame in held} == {"aachen", "darmstadt", "tubingen"} < set(HOLDOUT_CITIES)
    assert 0.15 < len(held) / len(frames) < 0.2
    truth = frames[3].truth()
    assert truth.instances.shape == (640, 1280)
    assert len(truth) == truth.instances.max() > 2
    areas = np.bincount(truth.instances[truth.instances > 0])[1:]
    assert len(areas) == len(truth)
    assert areas.min() > 0
    for number, class_id in enumerate(truth.class_ids.tolist(), 1):
        assert set(truth.semantic[truth.instances == number]) == {1 + class_id}
