"""Labels without a person, made in shards: training folders that equal those of one recording after the other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rtseg.cli import app
from rtseg.errors import ConfigError, MediaError
from rtseg.lab.data.instance_folders import read_instances
from rtseg.lab.data.lane_labels import read_lane_labels
from rtseg.lab.data.tusimple import LabelledImage, read_labels
from rtseg.lab.fleet.label import label_fleet
from rtseg.lab.fleet.label_worker import LabelSettings
from rtseg.lab.fleet.settings import model_hash
from rtseg.lab.weak.teacher import TeacherSettings, label_lanes
from rtseg.loading import load
from rtseg.media import open_frames
from rtseg.media.images import read_image
from rtseg.runtime import find_model
from tests.lab.fleet.drives import write_drive, write_fleet
from tests.lab.fleet.test_replay import replay


def settings(model: str, **fields: object) -> LabelSettings:
    known = {"model": model, "model_hash": model_hash(find_model(model).card), "lead_in": 0.0, "every": 5}
    return LabelSettings.model_validate({**known, **fields})


def test_a_teacher_gives_what_it_gives_for_each_recording_alone(tmp_path: Path) -> None:
    sources, model = write_fleet(tmp_path, 2, frames=60)
    made = label_fleet(sources, tmp_path / "out", settings(model), workers=0, progress=False)
    labels = read_lane_labels(tmp_path / "out")  # as training reads it: the whole folder
    alone = []
    for number, source in enumerate(sources):
        with open_frames(source) as frames:
            label_lanes(frames, load(model), tmp_path / f"{number}", TeacherSettings(every=5))
        alone += read_labels(tmp_path / f"{number}/labels.json")
    assert made.pictures == len(labels) == len(alone) > 8
    assert (made.recordings, made.faults) == (2, ())
    for one, other in zip(labels, alone, strict=True):
        assert one.image.name.endswith(other.image.name)
        assert isinstance(one, LabelledImage)
        np.testing.assert_array_equal(one.lanes, other.lanes)
        np.testing.assert_array_equal(read_image(one.image), read_image(other.image))
    assert made.labels == sum(len(one.polylines()) for one in labels)


def test_labels_are_made_once_and_go_with_their_recordings(tmp_path: Path) -> None:
    sources, model = write_fleet(tmp_path, 2, frames=60)
    out = tmp_path / "out"
    chosen = settings(model, shard_seconds=2.0)
    label_fleet(sources, out, chosen, workers=0, progress=False)
    first = {path.name: path.stat().st_mtime_ns for path in (out / "rows").iterdir()}
    assert len(first) == 6
    write_drive(Path(sources[1]), 70, seed=4)
    made = label_fleet(sources, out, chosen, workers=0, progress=False)
    second = {path.name: path.stat().st_mtime_ns for path in (out / "rows").iterdir()}
    kept = {name for name in first if second.get(name) == first[name]}
    assert {name.rsplit(".", 4)[0] for name in kept} == {name.rsplit(".", 4)[0] for name in first if "drive-0" in name}
    assert made.pictures == len(read_labels(out / "labels.json")) == len(list((out / "images").iterdir()))
    with pytest.raises(ConfigError, match="every 5"):
        label_fleet(sources, out, settings(model, shard_seconds=2.0, every=6), workers=0, progress=False)


def test_a_replay_and_labels_do_not_share_a_folder(tmp_path: Path) -> None:
    sources, model = write_fleet(tmp_path, 1, frames=30)
    label_fleet(sources, tmp_path / "labels", settings(model), workers=0, progress=False)
    with pytest.raises(ConfigError, match="folder of a fleet job"):
        replay(sources, tmp_path / "labels", model)


def test_sources_without_a_drive_are_told(tmp_path: Path) -> None:
    sources, model = write_fleet(tmp_path, 1, frames=40)
    stills = write_drive(tmp_path / "stills/x.mp4", 1).parent
    (stills / "x.mp4").unlink()
    (stills / "one.png").write_bytes(b"no picture")
    command = ["fleet", "label", *sources, str(stills), str(tmp_path / "gone.mp4"), "--model", model, "--workers", "0"]
    result = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out"), "--every", "5"])
    assert result.exit_code == 1
    assert " of 1 recording with " in result.output
    page = (tmp_path / "out/report.html").read_text()
    assert "gone.mp4" in page
    assert "stills" in page
    assert read_labels(tmp_path / "out/labels.json")
    with pytest.raises(MediaError, match="expected frames to label"):
        label_fleet([str(tmp_path / "gone.mp4")], tmp_path / "none", settings(model), workers=0, progress=False)


@pytest.mark.slow
def test_keywords_name_the_objects_of_all_recordings(tmp_path: Path) -> None:
    sources, _ = write_fleet(tmp_path, 2, frames=40)
    out = tmp_path / "out"
    command = ["fleet", "label", *sources, "--by", "keywords", "--every", "10", "--workers", "0", "--out", str(out)]
    fixed = [*command, "--proposals", "free", "--min-area", "20", "--small", "--shard-seconds", "2"]
    first = CliRunner().invoke(app, fixed)
    assert first.exit_code == 0, first.output
    pictures = sorted(path.name for path in (out / "images").iterdir())
    assert len(pictures) == 9
    template = (out / "keywords.csv").read_text().splitlines()
    assert template[1:] == [f"{name}," for name in pictures]
    words = tmp_path / "keywords.csv"
    words.write_text("image,keywords\n*drive-0*,line\n*drive-1*,line;road\n")
    second = CliRunner().invoke(app, [*fixed, "--keywords", str(words)])
    assert second.exit_code == 0, second.output
    frames = read_instances(out / "weak/08-labels")
    assert set(frames[0].classes) == {"line", "road"}
    assert json.loads((out / "weak/08-labels/instances.json").read_text())["annotations"]
