"""What `rtseg data check` says of folders that are right, and of those that are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rtseg.cli import app
from rtseg.errors import DatasetError
from rtseg.lab.data.instance_folders import read_instances
from rtseg.lab.studies.data_check import check_data
from tests.lab.data.test_label_kinds import coco, labelme, pictures, tusimple
from tests.lab.replay.test_replay import Page

SQUARE = [[20.0, 30.0], [60.0, 30.0], [60.0, 70.0], [20.0, 70.0]]


def checked(folder: Path, *more: str) -> tuple[int, dict]:
    out = folder.parent / "out"
    result = CliRunner().invoke(app, ["data", "check", str(folder), "--out", str(out), "--json", *more])
    return result.exit_code, json.loads(result.stdout)


def test_lanes_with_every_fault_named(tmp_path: Path) -> None:
    folder = tmp_path / "lanes"
    pictures(folder, "1.jpg", "2.jpg", "more.jpg")
    (folder / "torn.jpg").write_bytes(b"no picture")
    tusimple(folder, "labels.json", "1.jpg", "gone.jpg", "torn.jpg")
    with (folder / "labels.json").open("a") as file:
        file.write('\n{"raw_file": "2.jpg", "h_samples": [1, 2], "lanes": [[1]]}\nno label\n')
    code, facts = checked(folder)
    assert code == 1
    assert (facts["task"], facts["kind"], facts["pictures"]) == ("lanes", "TuSimple", 1)
    told = " ".join(facts["faults"])
    assert len(facts["faults"]) == 4
    for words in ("gone.jpg", "torn.jpg", "line 4", "line 5"):
        assert words in told
    assert "more.jpg" in " ".join(facts["notes"])
    assert check_data(folder).table().title == "1 picture with labels of TuSimple"
    page = Page(tmp_path / "out/report.html")
    assert "What is wrong" in page.text
    assert sum(link.startswith("data:image/jpeg") for link in page.links) == 1


def test_classes_without_an_object_and_labels_without_a_lane_are_noted(tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    pictures(folder, "1.jpg")
    content = {
        "images": [{"id": 1, "file_name": "1.jpg", "height": 96, "width": 128}],
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "truck"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "segmentation": [[value for point in SQUARE for value in point]],
                "iscrowd": 0,
            }
        ],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    code, facts = checked(folder)
    assert code == 0
    assert "no object of truck: nothing is learned of that" in facts["notes"]
    roads = tmp_path / "roads"
    pictures(roads, "1.jpg", "2.jpg")
    (roads / "labels.json").write_text(
        "\n".join(json.dumps({"raw_file": name, "h_samples": [10, 20], "lanes": []}) for name in ("1.jpg", "2.jpg"))
    )
    code, facts = checked(roads)
    assert code == 0
    assert any("none of 2 pictures has a lane" in note for note in facts["notes"])


@pytest.mark.parametrize("task", ["lanes", "instances"])
def test_a_folder_of_pictures_that_is_not_there_is_told(task: str, tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    pictures(folder, "1.jpg")
    if task == "lanes":
        tusimple(folder, "labels.json", "1.jpg")
    else:
        (folder / "1.json").write_text(labelme("1.jpg", ("car", "polygon", SQUARE)))
    with pytest.raises(DatasetError, match="--images"):
        check_data(folder, images=tmp_path / "nowhere")


def test_pictures_that_are_links_to_themselves_are_faults(tmp_path: Path) -> None:
    folder = tmp_path / "lanes"
    pictures(folder, "1.jpg", "2.jpg")
    tusimple(folder, "labels.json", "1.jpg", "2.jpg")
    (folder / "2.jpg").unlink()
    (folder / "2.jpg").symlink_to("2.jpg")
    (folder / "around").symlink_to(".")
    code, facts = checked(folder)
    assert (code, facts["pictures"]) == (1, 1)
    assert "2.jpg" in " ".join(facts["faults"])


@pytest.mark.parametrize("kind", ["labelme", "COCO", "YOLO"])
def test_objects_of_several_kinds(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "objects"
    if kind == "labelme":
        pictures(folder, "1.jpg", "2.jpg")
        (folder / "1.json").write_text(labelme("1.jpg", ("car", "polygon", SQUARE)))
        (folder / "2.json").write_text(labelme("2.jpg", ("car", "circle", SQUARE)))
    elif kind == "COCO":
        pictures(folder, "1.jpg", "2.jpg")
        images = [{"id": i, "file_name": f"{i}.jpg", "height": 96, "width": 128} for i in (1, 2)]
        flat = [value for point in SQUARE for value in point]
        rows = [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [flat]},
            {"id": 2, "image_id": 2, "category_id": 1, "bbox": [1, 1, 5, 5]},
        ]
        (folder / "instances.json").write_text(coco(images, rows, "car"))
    else:
        pictures(folder / "train/images", "1.jpg", "2.jpg")
        (folder / "data.yaml").write_text("names: {0: car}")
        (folder / "train/labels").mkdir()
        line = " ".join(f"{x / 128} {y / 96}" for x, y in SQUARE)
        (folder / "train/labels/1.txt").write_text(f"0 {line}\n")
        (folder / "train/labels/2.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    code, facts = checked(folder)
    assert (code, facts["task"], facts["kind"]) == (1, "instances", kind)
    assert facts["labels"] == {"car": 1}
    assert len(facts["faults"]) == 1
    assert "2" in facts["faults"][0]
    with pytest.raises(DatasetError, match="2"):
        read_instances(folder)


def test_yolo_polygons_are_those_that_were_drawn(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "data.yaml").write_text("names: [car, bus]")
    line = " ".join(f"{x / 128} {y / 96}" for x, y in SQUARE)
    (tmp_path / "labels/a.txt").write_text(f"1 {line}\n")
    (frame,) = read_instances(tmp_path)
    truth = frame.truth()
    assert frame.classes == ("car", "bus")
    assert truth.class_ids.tolist() == [1]
    assert (truth.instances[30:70, 20:60] == 1).all()
    assert abs(int((truth.instances == 1).sum()) - 1600) < 100
    (tmp_path / "labels/a.txt").write_text(f"2 {line}\n")
    with pytest.raises(DatasetError, match=r"indices of 0\.\.1, got 2"):
        read_instances(tmp_path)


@pytest.mark.parametrize("name", ["1.jpg", "images/1.jpg"])
def test_pictures_of_a_coco_file_by_either_folder(tmp_path: Path, name: str) -> None:
    pictures(tmp_path / "images", "1.jpg")
    flat = [value for point in SQUARE for value in point]
    images = [{"id": 1, "file_name": name, "height": 96, "width": 128}]
    rows = [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [flat]}]
    (tmp_path / "instances.json").write_text(coco(images, rows, "car"))
    assert not check_data(tmp_path).faults


def test_a_right_folder_and_none_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "lanes"
    pictures(folder, "1.jpg")
    tusimple(folder, "labels.json", "1.jpg")
    assert checked(folder)[0] == 0
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        with pytest.raises(DatasetError, match="expected"):
            check_data(tmp_path / name)
