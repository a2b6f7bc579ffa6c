"""Labels beside recordings: found, used, and worth what `rtseg evaluate` says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtseg.errors import DatasetError
from rtseg.frame import Frame
from rtseg.lab.fleet.sources import find_recordings
from rtseg.lab.fleet.truth import QUALITY, Truth
from rtseg.lab.replay.labels_out import LabelWriter
from rtseg.lab.scores.instances.evaluate import evaluate_instances
from rtseg.lab.scores.lanes.evaluate import evaluate_lanes
from rtseg.loading import find_model, load
from rtseg.media import open_frames
from rtseg.media.images import write_image
from rtseg.results import Lanes
from tests.instance_networks import write_instance_model
from tests.lab.fleet.drives import FPS, road, street, write_drive, write_drive_bag
from tests.lab.fleet.test_replay import replay, rows_of
from tests.lab.replay.test_replay import Page
from tests.threshold_network import write_threshold_model


def label(folder: Path, frames: dict[str, int], moved: float = 1.0) -> Path:
    """TuSimple labels of frames of a drive by name: what a model finds in them, moved aside."""
    pipeline = load(str(write_threshold_model(folder.parent / "labeller")), backend="onnxruntime")
    with LabelWriter(folder, "tusimple") as writer:
        for name, index in frames.items():
            found = pipeline(road(index))
            assert isinstance(found, Lanes)
            lines = tuple(line + np.float32([moved, 0]) for line in found.polylines)
            writer.write(Frame(road(index), name=name), Lanes(found.mask, found.ids, found.confidence, lines))
    return folder / "labels"


def scores(out: Path) -> dict[str, Any]:
    return json.loads((out / "summary.json").read_text())["all"]


def test_scores_of_labelled_pictures_are_those_of_evaluate(tmp_path: Path) -> None:
    folder = label(tmp_path / "drive", {f"{index:03d}.jpg": index for index in (3, 17, 40, 66)})
    model = write_threshold_model(tmp_path / "model")
    found = find_recordings([str(tmp_path / "drive")]).recordings
    assert [(recording.uri, recording.labels) for recording in found] == [(f"{folder}/images", str(folder))]
    replay([str(tmp_path / "drive")], tmp_path / "out", str(model))
    wanted = evaluate_lanes(load(str(model)), data=folder, progress=False).metrics()
    figures = scores(tmp_path / "out")
    assert figures["labelled"] == 4
    assert wanted["accuracy"] > 0.9
    for metric in ("accuracy", "false positive rate", "false negative rate", "culane F1"):
        assert figures["scores"][metric] == pytest.approx(wanted[metric], abs=1e-6), metric
    page = Page(tmp_path / "out/report.html")
    assert "Scores on 4 labelled frames" in page.text
    assert "are of no frame" not in page.text


@pytest.mark.parametrize("named", ["frame_{index:06d}.jpg", "{stamp}.jpg"])
def test_labels_of_a_video_name_frames_by_number_or_stamp(tmp_path: Path, named: str) -> None:
    video = write_drive(tmp_path / "fleet/drive.mp4", 60)
    stamps = {0: 0}
    with open_frames(video) as source:
        stamps = {index: frame.stamp or 0 for index, frame in enumerate(source)}
    names = {named.format(index=index, stamp=stamps[index]): index for index in (5, 30, 51)}
    names["frame_999999.jpg" if "frame" in named else "77.jpg"] = 7
    shutil.move(label(tmp_path / "made", names), tmp_path / "fleet/drive.labels")
    model = str(write_threshold_model(tmp_path / "model"))
    replay([str(tmp_path / "fleet")], tmp_path / "out", model, shard_seconds=2)
    rows = rows_of(tmp_path / "out")
    assert {row["recording"] for row in rows} == {str(video)}, "pictures of labels are no recording"
    assert [round(row["stamp"] * FPS / 1e9) for row in rows if row["scores"]] == [5, 30, 51]
    assert all(dict(row["scores"])["accuracy"] > 0.9 for row in rows if row["scores"])
    assert "1 of 4 are of no frame" in Page(tmp_path / "out/report.html").text
    assert len(list((tmp_path / "out/rows").iterdir())) == (1 if "frame" in named else 3)


@pytest.mark.parametrize("bag", [False, True])
@pytest.mark.parametrize("task", ["lanes", "instances"])
def test_labels_lie_beside_videos_and_bags_for_lanes_and_objects(tmp_path: Path, task: str, bag: bool) -> None:
    lanes = task == "lanes"
    model = write_threshold_model(tmp_path / "model") if lanes else write_instance_model(tmp_path / "model")
    draw = road if lanes else street
    folder = tmp_path / "fleet"
    folder.mkdir()
    recording = write_drive_bag(folder, 20, draw) if bag else write_drive(folder / "drive.mp4", 20, draw=draw)
    pipeline = load(str(model))
    with LabelWriter(tmp_path / "made", "tusimple" if lanes else "coco", pipeline.card.classes) as writer:
        for index in (4, 9, 13):
            image = draw(index, 0)
            writer.write(Frame(image, name=f"frame_{index:06d}.png"), pipeline(image))
    shutil.move(tmp_path / "made/labels", recording.with_suffix(".labels"))
    replay([str(folder)], tmp_path / "out", str(model))
    assert [row["frame"] for row in rows_of(tmp_path / "out") if row["scores"]] == [4, 9, 13]
    figures = scores(tmp_path / "out")
    assert figures["labelled"] == 3
    assert figures["scores"]["accuracy" if lanes else QUALITY] > 0.7
    assert ("culane F1" if lanes else "PQ") in " ".join(figures["scores"])
    page = Page(tmp_path / "out/report.html").text
    assert "Scores on 3 labelled frames" in page
    assert "labels beside" not in page, "all labels were of use"


def test_new_labels_make_a_recording_new(tmp_path: Path) -> None:
    write_drive(tmp_path / "fleet/drive.mp4", 20)
    before = find_recordings([str(tmp_path / "fleet")]).recordings[0]
    shutil.move(label(tmp_path / "made", {"frame_000002.jpg": 2}), tmp_path / "fleet/drive.labels")
    after = find_recordings([str(tmp_path / "fleet/drive.mp4")]).recordings[0]
    assert (before.uri, before.labels, after.labels) == (after.uri, "", str(tmp_path / "fleet/drive.labels"))
    assert before.version != after.version


def test_labels_that_cannot_be_read_are_told_and_cost_no_row(tmp_path: Path) -> None:
    video = write_drive(tmp_path / "drive.mp4", 20)
    (tmp_path / "drive.labels").mkdir()
    (tmp_path / "drive.labels/labels.json").write_text("{torn")
    replay([str(video)], tmp_path / "out", str(write_threshold_model(tmp_path / "model")))
    assert len(rows_of(tmp_path / "out")) == 20
    assert "expected JSON" in Page(tmp_path / "out/report.html").text
    assert scores(tmp_path / "out").get("labelled") is None


@pytest.mark.parametrize(("model", "other"), [("lanes-lite", "objects"), ("instances-lite", "lanes")])
def test_labels_of_the_other_task_are_told_as_such(tmp_path: Path, model: str, other: str) -> None:
    picture = {"id": 1, "file_name": "frame_000000.jpg", "width": 64, "height": 32}
    objects = {"images": [picture], "annotations": [], "categories": [{"id": 1, "name": "car"}]}
    lanes = {"raw_file": "frame_000000.jpg", "lanes": [[1, 2]], "h_samples": [10, 20]}
    name, content = ("instances.json", objects) if other == "objects" else ("label_data.json", lanes)
    (tmp_path / name).write_text(json.dumps(content) + "\n")
    with pytest.raises(DatasetError, match=f"got .*labels of {other}"):
        Truth(tmp_path, tmp_path / "drive.mp4", find_model(model).card)


@pytest.mark.slow
def test_scores_of_labelled_objects_are_those_of_evaluate(tmp_path: Path) -> None:
    model = "instances-lite"
    pipeline = load(model)
    rng = np.random.default_rng(3)
    folder = tmp_path / "street"
    pictures = [rng.integers(0, 255, (320, 640, 3), dtype=np.uint8) // 2 for _ in range(3)]
    masks = []
    for number, picture in enumerate(pictures):
        picture[150:250, 200:330] = (30, 30, 120 + 20 * number)
        write_image(folder / f"images/{number}.png", picture)
        polygon = [[200, 150, 330, 150, 330, 250, 200, 250]]
        masks.append(
            {"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "segmentation": polygon}
            | {"bbox": [200, 150, 130, 100], "area": 13000}
        )
    images = [{"id": i, "file_name": f"{i}.png", "height": 320, "width": 640} for i in range(3)]
    content = {"images": images, "annotations": masks, "categories": [{"id": 1, "name": "car"}]}
    (folder / "instances.json").write_text(json.dumps(content))
    replay([str(folder)], tmp_path / "out", model)
    wanted = evaluate_instances(pipeline, folder, progress=False).metrics()
    found = scores(tmp_path / "out")["scores"]
    assert wanted
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, nan_ok=True)
