"""Labels as tools and data sets write them: found as they are, refused with file, line and mend, never obeyed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtseg.errors import DatasetError
from rtseg.lab.data.instance_folders import read_instances
from rtseg.lab.data.lane_labels import check_pictures, read_lane_labels
from rtseg.media.images import write_image

ROWS = list(range(40, 96, 8))
LINE = [[30.0, 95.0], [40.0, 60.0], [44.0, 40.0]]
SQUARE = [10, 10, 30, 10, 30, 40, 10, 40]


def pictures(folder: Path, *names: str, size: tuple[int, int] = (96, 128)) -> Path:
    for name in names:
        write_image(folder / name, np.full((*size, 3), 90, np.uint8))
    return folder


def tusimple(folder: Path, file: str, *names: str, lanes: list[list[int]] | None = None) -> Path:
    rows = [{"raw_file": name, "h_samples": ROWS, "lanes": [[30] * 7] if lanes is None else lanes} for name in names]
    (folder / file).write_text("\n".join(map(json.dumps, rows)))
    return folder


def coco(images: list[dict[str, Any]], annotations: list[dict[str, Any]], *names: str) -> str:
    categories = [{"id": i, "name": name, "supercategory": "none"} for i, name in enumerate(names, 1)]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories})


IMAGE = {"id": 1, "file_name": "a.jpg", "height": 96, "width": 128}
MASK = {"id": 7, "image_id": 1, "category_id": 1, "segmentation": [SQUARE], "iscrowd": 0}


def labelme(name: str, *shapes: tuple[str, str, list[list[float]]], height: int = 96, width: int = 128) -> str:
    rows = [
        {"label": label, "shape_type": kind, "points": points, "group_id": None, "flags": {}}
        for label, kind, points in shapes
    ]
    head = {"version": "5.4.1", "flags": {}, "shapes": rows, "imagePath": name, "imageData": None}
    return json.dumps({**head, "imageHeight": height, "imageWidth": width}, indent=2)


# --- TuSimple


def test_a_published_folder_is_its_test_set_or_its_training_set(tmp_path: Path) -> None:
    pictures(tmp_path, *(f"clips/{name}.jpg" for name in "abcd"))
    tusimple(tmp_path, "label_data_0313.json", "clips/a.jpg", "clips/b.jpg")
    tusimple(tmp_path, "test_label.json", "clips/c.jpg", "clips/d.jpg")
    tusimple(tmp_path, "test_tasks_0627.json", "clips/c.jpg", "clips/d.jpg", lanes=[])
    tusimple(tmp_path, "predictions.json", "clips/c.jpg", lanes=[])
    assert [label.name for label in read_lane_labels(tmp_path)] == ["clips/c.jpg", "clips/d.jpg"]
    assert [label.name for label in read_lane_labels(tmp_path, "train")] == ["clips/a.jpg", "clips/b.jpg"]
    (tmp_path / "test_label.json").unlink()
    assert [label.name for label in read_lane_labels(tmp_path)] == ["clips/a.jpg", "clips/b.jpg"]


def test_a_picture_with_two_labels_is_refused_with_both_places(tmp_path: Path) -> None:
    pictures(tmp_path, "a.jpg", "b.jpg")
    tusimple(tmp_path, "one.json", "b.jpg", "a.jpg")
    tusimple(tmp_path, "two.json", "/a.jpg")
    with pytest.raises(DatasetError, match=r"one\.json line 2 and .*two\.json line 1"):
        read_lane_labels(tmp_path)


SPELLED = ["/images/a.jpg", "images\\a.jpg", "\\images\\a.jpg", "./images/a.jpg", "//images/a.jpg"]
OUTSIDE = ["../secret.jpg", "/etc/hostname", "images/../../secret.jpg", "../data2/a.jpg", "", "\0"]


@pytest.mark.parametrize("name", SPELLED)
def test_names_from_another_root_or_system_are_found(tmp_path: Path, name: str) -> None:
    pictures(tmp_path, "images/a.jpg")
    (label,) = read_lane_labels(tusimple(tmp_path, "labels.json", name))
    check_pictures([label])
    assert label.image.samefile(tmp_path / "images" / "a.jpg")


@pytest.mark.parametrize("form", ["bom", "list", "pretty", "crlf"])
def test_forms_of_a_label_file(tmp_path: Path, form: str) -> None:
    pictures(tmp_path, "a.jpg")
    row = {"raw_file": "a.jpg", "h_samples": ROWS, "lanes": [[30] * 7]}
    text = {
        "bom": "\ufeff" + json.dumps(row),
        "list": json.dumps([row]),
        "pretty": json.dumps(row, indent=2),
        "crlf": json.dumps(row) + "\r\n\r\n",
    }[form]
    (tmp_path / "labels.json").write_text(text, encoding="utf-8", newline="")
    (label,) = read_lane_labels(tmp_path)
    assert len(label.polylines()) == 1


@pytest.mark.parametrize("name", OUTSIDE)
def test_pictures_outside_are_refused_unless_asked_for(tmp_path: Path, name: str) -> None:
    pictures(tmp_path, "secret.jpg", "data/a.jpg", "data2/a.jpg")
    with pytest.raises(DatasetError, match=r"labels\.json line 1"):
        read_lane_labels(tusimple(tmp_path / "data", "labels.json", name))
    if "data2" in name:
        (label,) = read_lane_labels(tmp_path / "data", images=tmp_path / "data2")
        check_pictures([label])
    (tmp_path / "data" / "instances.json").write_text(coco([{**IMAGE, "file_name": name}], [MASK], "car"))
    with pytest.raises(DatasetError, match=r"instances\.json"):
        read_instances(tmp_path / "data" / "instances.json")
    if "data2" in name:
        (frame,) = read_instances(tmp_path / "data" / "instances.json", images=tmp_path / "data2")
        assert frame.image().shape == (96, 128, 3)


HOSTILE: dict[str, Callable[[], str]] = {
    "deep": lambda: "[" * 200_000,
    "deep objects": lambda: '{"a":' * 100_000,
    "digits": lambda: '{"raw_file": "a.jpg", "h_samples": [' + "9" * 5000 + '], "lanes": []}',
    "power": lambda: '{"raw_file": "a.jpg", "h_samples": [1' + "0" * 400 + '], "lanes": []}',
    "infinite": lambda: '{"raw_file": "a.jpg", "h_samples": [1e999], "lanes": []}',
    "markup": lambda: '{"raw_file": "[/red]\\u001b[31m", "h_samples": 1, "lanes": []}',
    "twice": lambda: '{"raw_file": "a.jpg", "h_samples": [1, 2], "lanes": [], "images": [], "images": [], "lanes": []}',
    "far": lambda: '{"raw_file": "a.jpg", "h_samples": [1, 2], "lanes": [[3, 1e9]]}',
    "a row twice": lambda: '{"raw_file": "a.jpg", "h_samples": [1, 1], "lanes": [[3, 4]]}',
    "no row": lambda: '{"raw_file": "a.jpg", "h_samples": [], "lanes": [[]]}',
    "types": lambda: '{"raw_file": 1, "h_samples": {}, "lanes": "x"}',
    "bytes": lambda: "\x00\x01\x02",
    "half": lambda: '{"raw_file": "a.jpg", "h_sam',
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("file", ["labels.json", "instances.json", "_annotations.coco.json"])
def test_hostile_labels_are_one_error_that_names_the_file(tmp_path: Path, kind: str, file: str) -> None:
    (tmp_path / file).write_text(HOSTILE[kind]())
    read = read_lane_labels if file == "labels.json" else read_instances
    with pytest.raises(DatasetError, match=file):
        read(tmp_path)


def warned(folder: Path, caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        read_lane_labels(folder)
    return caplog.text


def test_labels_of_another_size_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = pictures(tmp_path, "a.jpg", "b.jpg")
    columns = [[60] * 7, [90] * 7]
    tusimple(folder, "labels.json", "a.jpg", "b.jpg", lanes=columns)
    assert warned(folder, caplog) == ""
    pictures(tmp_path, "a.jpg", "b.jpg", size=(48, 64))
    assert "made smaller" in warned(folder, caplog)
    pictures(tmp_path, "a.jpg", "b.jpg", size=(192, 256))
    assert "made larger" in warned(folder, caplog)
    (folder / "labels.json").write_text('{"raw_file": "a.jpg", "h_samples": [0.5, 0.9], "lanes": [[0.2, 0.3]]}')
    assert "not in pixels" in warned(folder, caplog)


# --- CULane


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".JPG", ".jpeg", ".PNG", ".webp"])
def test_culane_labels_beside_any_picture(tmp_path: Path, suffix: str) -> None:
    pictures(tmp_path, "x.jpg")
    (tmp_path / "x.jpg").rename(tmp_path / f"0.1{suffix}")
    (tmp_path / "0.1.lines.txt").write_text("\ufeff30 95 40 60 44 40\r\n\r\n", encoding="utf-8", newline="")
    (label,) = read_lane_labels(tmp_path)
    check_pictures([label])
    assert [len(line) for line in label.polylines()] == [3]
    (tmp_path / "list.txt").write_text("\ufeff/0.1.jpg\n", encoding="utf-8")
    if suffix == ".jpg":
        assert len(read_lane_labels(tmp_path / "list.txt")) == 1


# --- labelme and CVAT


def cvat(*shapes: str) -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta/>'
        f'<image id="0" name="a.jpg" width="128" height="96">{"".join(shapes)}</image></annotations>'
    )


def points(line: list[list[float]]) -> str:
    return ";".join(f"{x},{y}" for x, y in line)


@pytest.mark.parametrize("tool", ["labelme", "cvat"])
def test_lanes_drawn_by_hand(tmp_path: Path, tool: str) -> None:
    pictures(tmp_path, "images/a.jpg" if tool == "cvat" else "a.jpg")
    if tool == "cvat":
        drawn = f'<polyline label="lane" source="manual" points="{points(LINE)}"/>'
        (tmp_path / "annotations.xml").write_text(cvat(drawn))
    else:
        shape = ("lane", "linestrip", LINE)
        (tmp_path / "a.json").write_text(labelme("..\\elsewhere\\a.jpg", shape))
    (label,) = read_lane_labels(tmp_path)
    check_pictures([label])
    (line,) = label.polylines()
    np.testing.assert_allclose(line, sorted(LINE, key=lambda point: point[1]))


@pytest.mark.parametrize("tool", ["labelme", "cvat"])
def test_objects_drawn_by_hand(tmp_path: Path, tool: str) -> None:
    pictures(tmp_path, "images/a.jpg" if tool == "cvat" else "a.jpg")
    corners = np.reshape(SQUARE, (-1, 2)).astype(float).tolist()
    if tool == "cvat":
        polygon = f'<polygon label="pallet" points="{points(corners)}"/>'
        box = '<box label="forklift" xtl="50" ytl="50" xbr="70.5" ybr="80"/>'
        (tmp_path / "annotations.xml").write_text(cvat(polygon, box))
    else:
        shapes = [("pallet", "polygon", corners), ("forklift", "rectangle", [[50, 50], [70.5, 80]])]
        (tmp_path / "a.json").write_text(labelme("a.jpg", *shapes))
    (frame,) = read_instances(tmp_path)
    assert frame.classes == ("forklift", "pallet")
    truth = frame.truth()
    assert sorted(truth.class_ids.tolist()) == [0, 1]
    assert abs(np.count_nonzero(truth.instances) - 20 * 30 - 20 * 30) < 80
    (chosen,) = read_instances(tmp_path, ["pallet"])
    assert chosen.truth().class_ids.tolist() == [0]
    with pytest.raises(DatasetError, match="classes"):
        read_instances(tmp_path, ["car"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (labelme("a.jpg", ("lane", "polygon", LINE)), "draw it as a line"),
        (labelme("a.jpg", ("lane", "circle", LINE)), "shape 1"),
        (labelme("a.jpg", ("lane", "linestrip", [[1, float("inf")]])), "points"),
        (labelme("a.jpg", ("lane", "linestrip", [[1, 2, 3]])), "points"),
        (labelme("a.jpg", ("lane", "linestrip", LINE), height=0), "height"),
        ('{"shapes": 3, "imagePath": "a.jpg"}', "shapes"),
        ('{"shapes": [3], "imagePath": "a.jpg", "imageHeight": 9, "imageWidth": 9}', "shape 1"),
    ],
)
def test_drawings_that_are_no_lanes_are_named(tmp_path: Path, content: str, told: str) -> None:
    pictures(tmp_path, "a.jpg")
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DatasetError, match=told) as caught:
        read_lane_labels(tmp_path)
    assert "a.json" in str(caught.value)


def test_xml_that_grows_is_refused(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY a{i + 1} "&a{i};&a{i};&a{i};&a{i};&a{i};&a{i};&a{i};&a{i};">' for i in range(12))
    (tmp_path / "annotations.xml").write_text(f'<!DOCTYPE x [<!ENTITY a0 "x">{entities}]><x>&a12;</x>')
    with pytest.raises(DatasetError, match="document type"):
        read_lane_labels(tmp_path)


# --- COCO


@pytest.mark.parametrize(
    ("file", "place"),
    [
        ("instances.json", "images"),
        ("instances_train.json", "."),
        ("_annotations.coco.json", "."),
        ("train/_annotations.coco.json", "train"),
        ("annotations/instances_default.json", "images/default"),
        ("annotations/instances_default.json", "images"),
        ("annotations/instances_val2017.json", "val2017"),
    ],
)
def test_exports_are_found_as_they_are(tmp_path: Path, file: str, place: str) -> None:
    pictures(tmp_path / place, "a.jpg")
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("\ufeff" + coco([IMAGE], [MASK], "car"), encoding="utf-8")
    (frame,) = read_instances(tmp_path)
    assert frame.image().shape == (96, 128, 3)
    assert len(frame.truth()) == 1


def test_roboflows_category_above_the_others_is_no_class(tmp_path: Path) -> None:
    pictures(tmp_path, "a.jpg")
    content = json.loads(coco([IMAGE], [{**MASK, "category_id": 1}], "pallet", "forklift"))
    for row in content["categories"]:
        row["supercategory"] = "things"
    content["categories"].insert(0, {"id": 0, "name": "things", "supercategory": "none"})
    (tmp_path / "_annotations.coco.json").write_text(json.dumps(content))
    (frame,) = read_instances(tmp_path)
    assert frame.classes == ("pallet", "forklift")


def test_several_files_are_asked_about(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "_annotations.coco.json").write_text(coco([IMAGE], [MASK], "car"))
    with pytest.raises(DatasetError, match=r"train/_annotations\.coco\.json, valid/.*name one"):
        read_instances(tmp_path)


@pytest.mark.parametrize(
    ("image", "mask", "told"),
    [
        ({}, {"segmentation": None}, "annotation 7"),
        ({}, {"segmentation": []}, "annotation 7"),
        ({"width": 100_000, "height": 100_000}, {}, "a.jpg"),
        ({"width": 2**31, "height": 2**31}, {}, "a.jpg"),
        ({"width": 10**400, "height": 10**400}, {}, "a.jpg"),
        ({"width": -1}, {}, "a.jpg"),
        ({"width": 1e400}, {}, "instances.json"),
        ({}, {"category_id": 10**400}, "instances.json"),
    ],
)
def test_hostile_coco_files_name_the_picture(
    tmp_path: Path, image: dict[str, Any], mask: dict[str, Any], told: str
) -> None:
    pictures(tmp_path, "a.jpg")
    (tmp_path / "instances.json").write_text(coco([{**IMAGE, **image}], [{**MASK, **mask}], "car"))
    with pytest.raises(DatasetError, match=told) as caught:
        read_instances(tmp_path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("number", [10**400, "x", None, [1]])
def test_hostile_polygons_are_one_error(tmp_path: Path, number: object) -> None:
    pictures(tmp_path, "a.jpg")
    (tmp_path / "instances.json").write_text(coco([IMAGE], [{**MASK, "segmentation": [[*SQUARE, 1, number]]}], "car"))
    with pytest.raises(DatasetError):
        read_instances(tmp_path)[0].truth()


@pytest.mark.parametrize("name", ["a" * 5000 + ".jpg", "b/" * 3000 + "a.jpg"])
def test_names_that_no_file_can_have_are_those_of_missing_pictures(tmp_path: Path, name: str) -> None:
    pictures(tmp_path, "a.jpg")
    shape = f'<polyline label="lane" points="{points(LINE)}"/>'
    for file, content in (
        ("annotations.xml", cvat(shape).replace("a.jpg", name)),
        ("a.json", labelme(name, ("lane", "linestrip", LINE))),
        ("labels.json", json.dumps({"raw_file": name, "h_samples": ROWS, "lanes": [[30] * 7]})),
        ("list.txt", name),
    ):
        (tmp_path / file).write_text(content)
        labels = tmp_path / file if file in ("labels.json", "list.txt") else tmp_path
        with suppress(DatasetError):  # the picture may be found by its last name
            check_pictures(read_lane_labels(labels))
        (tmp_path / file).unlink()


def test_polygons_out_of_bounds_are_clipped(tmp_path: Path) -> None:
    pictures(tmp_path, "a.jpg")
    beyond = {**MASK, "segmentation": [[-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9]]}
    (tmp_path / "instances.json").write_text(coco([IMAGE], [beyond], "car"))
    (frame,) = read_instances(tmp_path)
    assert (frame.truth().instances == 1).all()


@pytest.mark.parametrize("kind", ["mask", "ellipse", "cuboid", "skeleton", "points"])
def test_shapes_of_cvat_that_are_not_read_are_refused_rather_than_lost(tmp_path: Path, kind: str) -> None:
    pictures(tmp_path, "a.jpg")
    (tmp_path / "annotations.xml").write_text(cvat('<tag label="sunny"/>', f'<{kind} label="car" rle="1, 2"/>'))
    for read in (read_lane_labels, read_instances):
        with pytest.raises(DatasetError, match=rf"a\.jpg.*shape 2 \('car'\).*got a '{kind}'"):
            read(tmp_path)


def test_an_export_of_cvat_for_video_says_what_to_export(tmp_path: Path) -> None:
    (tmp_path / "annotations.xml").write_text(
        '<annotations><version>1.1</version><track id="0" label="lane"><polyline frame="0" points="1,2;3,4"/></track>'
        "</annotations>"
    )
    with pytest.raises(DatasetError, match="export it for images"):
        read_lane_labels(tmp_path)
