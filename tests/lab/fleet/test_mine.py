"""Frames to label: doubtful ones, far from each other, with what was found as labels to begin with."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import ConfigError, MediaError
from rtseg.lab.data.tusimple import read_labels
from rtseg.lab.fleet.compare import compare_jobs
from rtseg.lab.fleet.mine import choose_spread, mine_frames
from rtseg.media.images import read_image
from tests.lab.fleet.drives import road, write_fleet
from tests.lab.fleet.test_replay import replay, rows_of


def test_mined_frames_are_pictures_with_labels_that_training_reads(tmp_path: Path) -> None:
    sources, model = write_fleet(tmp_path, 3, frames=80)
    replay(sources, tmp_path / "job", model, shard_seconds=3)
    chosen = mine_frames(str(tmp_path / "job"), 7, tmp_path / "out")
    assert len(chosen) == 7
    labels = read_labels(tmp_path / "out/labels/labels.json")
    rows = {(row["recording"], row["stamp"]): row for row in rows_of(tmp_path / "job")}
    with (tmp_path / "out/frames.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert len(labels) == len(listed) == 7
    assert [entry["picture"] for entry in listed] == [f"{number:05d}.jpg" for number in range(7)]
    for label in labels:
        entry = listed[int(label.image.stem)]
        row = rows[entry["recording"], int(entry["stamp"])]
        assert len(label.lanes) == row["found"]
        index, seed = round(row["stamp"] / 1e8), sources.index(entry["recording"])
        assert np.abs(read_image(label.image).astype(int) - road(index, seed)).mean() < 12, "it is that very frame"
    seconds = {(entry["recording"], int(entry["stamp"]) // 10**9) for entry in listed}
    assert len(seconds) == 7
    assert (tmp_path / "out/report.html").exists()


def test_another_model_draws_frames_on_which_it_disagrees(tmp_path: Path) -> None:
    from tests.threshold_network import write_threshold_model

    sources, model = write_fleet(tmp_path, 2, frames=60)
    tracker = {"show": 0.9}
    strict = write_threshold_model(
        tmp_path / "strict", grouping={"method": "lanes", "parameters": {"tracker": tracker}}
    )
    replay(sources, tmp_path / "job", model)
    replay(sources, tmp_path / "other", str(strict))
    chosen = mine_frames(str(tmp_path / "job"), 3, tmp_path / "out", str(tmp_path / "other"))
    assert chosen[0].disputed > 0
    assert mine_frames(str(tmp_path / "job"), 3, tmp_path / "again", str(tmp_path / "job"))[0].disputed == 0


def test_frames_of_recordings_that_are_gone_are_left_out(tmp_path: Path) -> None:
    sources, model = write_fleet(tmp_path, 2, frames=40)
    replay(sources, tmp_path / "job", model)
    Path(sources[0]).unlink()
    mine_frames(str(tmp_path / "job"), 6, tmp_path / "out")
    with (tmp_path / "out/frames.csv").open() as file:
        listed = [entry["recording"] for entry in csv.DictReader(file)]
    assert set(listed) == {sources[1]}
    assert len(read_labels(tmp_path / "out/labels/labels.json")) == len(listed) < 6
    assert "Not found again: " in (tmp_path / "out/report.html").read_text()
    Path(sources[1]).unlink()
    with pytest.raises(MediaError, match="put them back"):
        mine_frames(str(tmp_path / "job"), 6, tmp_path / "none")
    assert not list(tmp_path.glob("none/*"))


def test_recordings_that_have_changed_since_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sources, model = write_fleet(tmp_path, 2, frames=40)
    replay(sources, tmp_path / "job", model)
    mine_frames(str(tmp_path / "job"), 6, tmp_path / "before")
    assert "changed" not in caplog.text
    Path(sources[0]).write_bytes(Path(sources[1]).read_bytes())
    mine_frames(str(tmp_path / "job"), 6, tmp_path / "after")
    assert f"{sources[0]}, or its labels, have changed" in caplog.text
    assert sources[1] not in caplog.text


def test_a_job_keeps_its_own_page(tmp_path: Path) -> None:
    sources, model = write_fleet(tmp_path, 1, frames=20)
    replay(sources, tmp_path / "job", model)
    page = (tmp_path / "job/report.html").read_text()
    (tmp_path / "link").symlink_to("job")
    for out in (tmp_path / "job", tmp_path / "link", tmp_path / "job/../job"):
        with pytest.raises(ConfigError, match="another folder than the job's own"):
            mine_frames(str(tmp_path / "job"), 3, out)
        with pytest.raises(ConfigError, match="another folder than the job's own"):
            compare_jobs(str(tmp_path / "job"), str(tmp_path / "job"), out)
    assert (tmp_path / "job/report.html").read_text() == page


def test_a_job_without_frames(tmp_path: Path) -> None:
    replay([str(tmp_path / "gone.mp4")], tmp_path / "job", write_fleet(tmp_path, 0)[1])
    with pytest.raises(MediaError, match="replay recordings into it"):
        mine_frames(str(tmp_path / "job"), 3, tmp_path / "out")
    with pytest.raises(MediaError, match="got s3://bucket/frames;"):
        mine_frames(str(tmp_path / "job"), 3, Path("s3://bucket/frames"))


@given(st.integers(1, 40), st.integers(1, 10), st.integers(0, 1000))
def test_the_choice_is_of_different_frames_and_begins_with_the_best(n: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.random(n)
    chosen = choose_spread(rng.random((n, 5)), scores, count)
    assert len(chosen) == len(set(chosen)) == min(n, count)
    assert chosen[0] == scores.argmax()


def test_a_crowd_does_not_push_out_a_lone_kind() -> None:
    rng = np.random.default_rng(0)
    crowd, lone = rng.normal(0, 0.1, (500, 4)), np.full((1, 4), 50.0)
    chosen = choose_spread(np.concatenate([crowd, lone]), np.r_[np.full(500, 1.0), 0.4], 3)
    assert 500 in chosen
