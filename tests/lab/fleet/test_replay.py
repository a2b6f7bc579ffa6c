"""Replays of a fleet: shards equal the whole, nothing is done twice, what is bad is told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec
import pyarrow as pa
import pytest
from rich.console import Console
from typer.testing import CliRunner

from rtseg.cli import app
from rtseg.errors import ConfigError, MediaError
from rtseg.lab.fleet.page import FleetReport
from rtseg.lab.fleet.replay import replay_fleet
from rtseg.lab.fleet.rows import MEASURED, SCHEMA, SCHEMA_VERSION, read_rows
from rtseg.lab.fleet.settings import read_settings
from rtseg.lab.fleet.stores import common_folder
from rtseg.lab.fleet.tracks import stitch
from rtseg.media.images import write_image
from tests.instance_networks import write_instance_model
from tests.lab.fleet.drives import road, street, write_drive, write_drive_bag, write_fleet
from tests.lab.fleet.failing_store import failing_store
from tests.lab.replay.test_replay import Page


def replay(sources: list[str], out: Path | str, model: str, **settings: Any):
    return replay_fleet(sources, str(out), model, **{"workers": 0, "bags": 0, "progress": False} | settings)


def rows_of(out: Path | str) -> list[dict[str, Any]]:
    return [row for _, table in read_rows(f"{out}/rows") for row in table.to_pylist()]


def result_table(out: Path | str) -> pa.Table:
    """All that is not measured, which no other run may change."""
    return pa.concat_tables(table for _, table in read_rows(f"{out}/rows")).drop_columns(list(MEASURED))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "seconds"),
    [("lanes of a video", 3.0), ("lanes of a video", 7.0), ("lanes of a bag", 3.0), ("instances of a video", 3.0)],
)
def test_shards_give_what_the_whole_gives_but_for_the_numbers_of_ids(tmp_path: Path, kind: str, seconds: float) -> None:
    if kind.startswith("lanes"):
        model = write_fleet(tmp_path, 0)[1]
        bag = kind.endswith("bag")
        source = str(write_drive_bag(tmp_path, 200) if bag else write_drive(tmp_path / "long.mp4", 200))
    else:
        model = str(write_instance_model(tmp_path / "model"))
        source = str(write_drive(tmp_path / "long.mp4", 200, draw=street))
    replay([source], tmp_path / "whole", model, shard_seconds=1e6)
    replay([source], tmp_path / "parts", model, shard_seconds=seconds)
    shards = [table for _, table in read_rows(str(tmp_path / "parts/rows"))]
    assert len(shards) == round(20 / seconds)
    tracks = [track for table, track in zip(shards, stitch(shards), strict=True) for _ in range(len(table))]
    whole, parts = rows_of(tmp_path / "whole"), rows_of(tmp_path / "parts")
    assert len(whole) == len(parts) == 200
    pairs = set()
    for one, other, numbers in zip(whole, parts, tracks, strict=True):
        for column in ("stamp", "found", "switches", "flickers", "restart", "fault"):
            assert one[column] == other[column]
        assert (one["residuals"] or []) == pytest.approx(other["residuals"] or [])
        found = zip(one["lanes"] or one["objects"] or (), other["lanes"] or other["objects"] or (), strict=True)
        for ours, theirs in found:
            for name in ours.keys() - {"id"}:
                assert ours[name] == pytest.approx(theirs[name], abs=1e-6), name
            pairs.add((ours["id"], numbers[theirs["id"]]))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) >= 3, "ids and tracks are one to one"


@pytest.mark.slow
def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    sources, model = write_fleet(tmp_path, 3, frames=90)
    out = tmp_path / "out"
    replay(sources, out, model, shard_seconds=3)
    first = {path.name: path.stat().st_mtime_ns for path in (out / "rows").iterdir()}
    assert len(first) == 9
    whole = result_table(out)
    lost = sorted(first)[4]
    (out / "rows" / lost).unlink()
    write_drive(Path(sources[2]), 95, seed=9)
    replay(sources, out, model, shard_seconds=3)
    second = {path.name: path.stat().st_mtime_ns for path in (out / "rows").iterdir()}
    changed = {name for name in second if first.get(name) != second[name]}
    assert lost in changed
    assert all(name.startswith("drive-2-mp4") for name in changed - {lost})
    assert len(changed) == 4
    kept = [row for row in rows_of(out) if row["recording"] != sources[2]]
    before = [row for row in whole.to_pylist() if row["recording"] != sources[2]]
    assert [{k: v for k, v in row.items() if k not in MEASURED} for row in kept] == before


def test_a_folder_holds_the_results_of_one_model_and_its_settings(tmp_path: Path) -> None:
    sources, model = write_fleet(tmp_path, 1)
    replay(sources, tmp_path / "out", model)
    with pytest.raises(ConfigError, match="shard_seconds 120"):
        replay(sources, tmp_path / "out", model, shard_seconds=2)
    replay(sources, tmp_path / "out", model, shard_seconds=2, resume=False)
    assert len(list((tmp_path / "out/rows").iterdir())) == 3


@pytest.mark.slow
def test_bad_sources_are_told_on_the_page_and_by_the_exit_code(tmp_path: Path) -> None:
    sources, model = write_fleet(tmp_path, 1)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "torn.mp4").write_bytes(Path(sources[0]).read_bytes()[:3000])
    (tmp_path / "twin.mp4").write_bytes(Path(sources[0]).read_bytes())
    bad = [str(tmp_path / name) for name in ("gone.mp4", "empty.mp4", "torn.mp4", "twin.mp4")]

    def code(*arguments: str) -> int:
        fixed = ["fleet", "replay", *sources, "--model", model, "--workers", "0", "--bags", "1"]
        return CliRunner().invoke(app, [*fixed, "--out", str(tmp_path / "out"), *arguments]).exit_code

    assert code() == 0
    assert code(bad[3]) == 0, "a duplicate costs nothing"
    assert code(*bad) == 1
    assert code(*bad, "--fail-on", "all") == 0
    assert code(*bad, "--fail-on", "never") == 0
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert {Path(fault["recording"]).name for fault in summary["faults"]} == {"gone.mp4", "empty.mp4", "torn.mp4"}
    assert [Path(fault["recording"]).name for fault in summary["duplicates"]] == ["twin.mp4"]
    page = Page(tmp_path / "out/report.html")
    for words in ("gone.mp4", "does not exist", "has no bytes", "torn.mp4", "same bytes", "1 of 4"):
        assert words in page.text
    bags = [link for link in page.links if link.endswith("result.mcap")]
    assert len(bags) == 1
    assert (tmp_path / "out" / bags[0]).stat().st_size > 1000
    (tmp_path / "torn.mp4").write_bytes(Path(sources[0]).read_bytes() + b"more")
    assert code(str(tmp_path / "torn.mp4")) == 0
    assert list((tmp_path / "out/faults").iterdir()) == []


def test_damaged_recordings_are_read_as_far_as_they_go_and_told(tmp_path: Path) -> None:
    model = write_fleet(tmp_path, 0)[1]
    bag = write_drive_bag(tmp_path, 30)
    storage = next(bag.glob("*.mcap"))
    storage.write_bytes(storage.read_bytes()[: storage.stat().st_size // 2])
    command = ["fleet", "replay", str(bag), "--model", model, "--workers", "0", "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, command).exit_code == 1
    assert CliRunner().invoke(app, [*command, "--fail-on", "all"]).exit_code == 0
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert 5 < summary["all"]["processed"] < 30
    assert {fault["recording"] for fault in summary["damaged"]} == {str(bag)}
    assert "has no usable index" in Page(tmp_path / "out/report.html").text


def test_a_video_that_is_cut_off_is_told_once_however_many_shards_it_has(tmp_path: Path) -> None:
    model = write_fleet(tmp_path, 0)[1]
    video = write_drive(tmp_path / "drive.mkv", 120)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    report = replay([str(video)], tmp_path / "out", model, shard_seconds=3)
    assert 40 < report.all.processed < 80
    assert report.bad == 1
    reasons = [reason for _, reason in report.damaged]
    assert len(reasons) == len(set(reasons))
    assert any("is cut off" in reason for reason in reasons)


def test_a_recording_without_a_frame_is_told(tmp_path: Path) -> None:
    model = write_fleet(tmp_path, 0)[1]
    write_image(tmp_path / "stills/1.png", road(3)[:1, :1])
    report = replay([str(tmp_path / "stills")], tmp_path / "out", model)
    assert report.faults == ((str(tmp_path / "stills"), "no frame of 1 gave a result"),)
    assert report.good == 0

    def refuse(text: str) -> None:
        raise AssertionError(text)

    summary = json.loads((tmp_path / "out/summary.json").read_text(), parse_constant=refuse)
    assert summary["all"]["latency"]["total"]["p99"] is None


def test_recordings_of_one_name_are_told_apart(tmp_path: Path) -> None:
    model = write_fleet(tmp_path, 0)[1]
    named = [write_drive(tmp_path / f"fleet/car{car}/{day}/drive.mp4", 3, car) for car in (1, 2) for day in "ab"]
    report = replay([str(tmp_path / "fleet")], tmp_path / "out", model)
    assert report.folder == f"{tmp_path}/fleet/"
    cells = Page(tmp_path / "out/report.html").text
    for path in named:
        assert str(path.relative_to(tmp_path / "fleet")) in cells
    console = Console(width=200)
    with console.capture() as capture:
        console.print(FleetReport({"s3://b/x.mp4": report.all}, report.all, (("s3://b/y", "y is torn"),), ()).table())
    assert " y " in capture.get()


@pytest.mark.parametrize(
    ("addresses", "folder"),
    [
        ([], ""),
        (["/a/b/c.mp4"], "/a/b/"),
        (["/a/b/c.mp4", "/a/bc/d.mp4", "/a/e"], "/a/"),
        (["/a/b.mp4", "/c/d.mp4"], ""),
        (["s3://a/b.mp4", "s3://c/d.mp4"], ""),
        (["s3://a/b/c.mp4", "s3://a/d.mp4"], "s3://a/"),
        (["/a/b.mp4", "s3://a/b.mp4"], ""),
    ],
)
def test_the_folder_that_all_lie_in(addresses: list[str], folder: str) -> None:
    assert common_folder(addresses) == folder


def test_results_that_cannot_be_written_end_the_job_and_blame_no_recording(tmp_path: Path) -> None:
    sources, model = write_fleet(tmp_path, 2, frames=5)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/rows").write_text("no folder")
    with pytest.raises(MediaError, match="expected to write"):
        replay(sources, tmp_path / "out", model)
    assert not (tmp_path / "out/faults").exists()


def test_names_hold_wherever_workers_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources, model = write_fleet(tmp_path, 1, frames=5)
    monkeypatch.chdir(tmp_path)
    replay([Path(sources[0]).name], "out", Path(model).name)
    assert read_settings("out").model == model
    monkeypatch.chdir(tmp_path / "out")
    replay([f"../{Path(sources[0]).name}"], tmp_path / "out", "../model")


def test_a_recording_that_becomes_a_duplicate_is_counted_once(tmp_path: Path) -> None:
    sources, model = write_fleet(tmp_path, 1, frames=5)
    replay(sources, tmp_path / "out", model)
    copy = tmp_path / "a_copy.mp4"
    copy.write_bytes(Path(sources[0]).read_bytes())
    report = replay([str(copy), *sources], tmp_path / "out", model)
    assert (list(report.recordings), report.all.frames) == ([str(copy)], 5)


def test_a_folder_of_everything_gives_what_can_be_had(tmp_path: Path) -> None:
    model = write_fleet(tmp_path / "there", 0)[1]
    folder = tmp_path / "mixed"
    write_drive(folder / "drive.mp4", 20)
    (folder / "torn.mcap").write_bytes(b"\x89MCAP0\r\n")
    write_image(folder / "1.png", road(3))
    write_image(folder / "2.png", road(3)[:1, :1])
    (folder / "3.png").write_bytes(b"no picture")
    report = replay([str(folder)], tmp_path / "out", model, topic="/front/image")
    assert {Path(uri).name: (one.frames, one.processed) for uri, one in report.recordings.items()} == {
        "mixed": (3, 1),
        "drive.mp4": (20, 20),
    }
    assert [Path(uri).name for uri, _ in report.faults] == ["torn.mcap"]
    reasons = " ".join(report.recordings[str(folder)].faults)
    assert "at least 2x2 pixels" in reasons
    assert "a picture that OpenCV reads" in reasons


def test_the_page_adds_up_what_the_rows_say(tmp_path: Path) -> None:
    sources, model = write_fleet(tmp_path, 3, frames=40)
    report = replay(sources, tmp_path / "out", model)
    rows = rows_of(tmp_path / "out")
    assert [row["frame"] for row in rows if row["recording"] == sources[1]] == list(range(41))
    assert report.all.processed == len(rows) == 40 + 41 + 42
    assert report.all.found == sum(len(row["lanes"]) for row in rows)
    assert report.all.flickers == sum(row["flickers"] for row in rows) > 0
    assert report.all.milliseconds == pytest.approx(sum(row["ms"] for row in rows), rel=1e-5)
    assert report.all.seconds == pytest.approx((39 + 40 + 41) / 10)
    assert sum(row["picture"] is not None for row in rows) == 3
    for _, table in read_rows(str(tmp_path / "out/rows")):
        assert table.schema.equals(SCHEMA)
        assert table.schema.metadata[b"rtseg.schema"] == str(SCHEMA_VERSION).encode()


def test_what_is_wrong_with_a_cameras_pictures_is_counted(tmp_path: Path) -> None:
    sources, model = write_fleet(tmp_path, 1, frames=20)
    dark = write_drive(tmp_path / "dark.mp4", 20, draw=lambda index, seed: road(index, seed) // 40)
    report = replay([*sources, str(dark)], tmp_path / "out", model)
    told = [row["degraded"] for row in rows_of(tmp_path / "out") if row["degraded"]]
    assert report.all.degraded_frames == report.recordings[str(dark)].degraded_frames == len(told) > 0
    assert report.all.degraded["dark"] == sum("dark" in each for each in told) > 0
    assert "What was wrong with the cameras' pictures" in Page(tmp_path / "out/report.html").text


@pytest.mark.slow
def test_remote_recordings_and_remote_results(tmp_path: Path, bucket: str) -> None:
    sources, model = write_fleet(tmp_path, 2, frames=60)
    fs, path = fsspec.core.url_to_fs(bucket)
    for source in sources:
        fs.put_file(source, f"{path}/fleet/{Path(source).name}")
    replay(sources, tmp_path / "here", model, shard_seconds=3)
    replay([f"{bucket}/fleet"], f"{bucket}/out", model, shard_seconds=3, bags=1)
    ours, theirs = result_table(tmp_path / "here"), result_table(f"{bucket}/out")
    assert ours.num_rows == 121
    columns = [name for name in ours.column_names if name != "recording"]
    order = [("frame", "ascending"), ("shard", "ascending"), ("stamp", "ascending"), ("certainty", "ascending")]
    assert ours.select(columns).sort_by(order).equals(theirs.select(columns).sort_by(order))
    assert fs.exists(f"{path}/out/report.html")
    before = fs.ls(f"{path}/out/rows", detail=True, refresh=True)
    replay([f"{bucket}/fleet"], f"{bucket}/out", model, shard_seconds=3, bags=1)
    assert fs.ls(f"{path}/out/rows", detail=True, refresh=True) == before


@pytest.mark.slow
def test_what_a_store_refuses_or_breaks_off_is_told_and_the_others_go_on(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_fleet(tmp_path, 0)[1]
    fs, path = fsspec.core.url_to_fs(bucket)
    for seed, name in enumerate(("sound", "denied", "torn", "flaky")):
        fs.put_file(str(write_drive(tmp_path / f"{name}.mp4", 20 + seed, seed)), f"{path}/{name}.mp4")
    store = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    with failing_store(str(store.hostname), int(store.port or 0)) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        fsspec.filesystem("s3").clear_instance_cache()
        named = [f"{bucket}/{name}.mp4" for name in ("sound", "denied", "torn", "flaky")]
        report = replay([*named, "s3://nosuch/a.mp4", f"{bucket}/gone.mp4"], tmp_path / "out", model)
    assert {uri.rpartition("/")[2]: one.processed for uri, one in report.recordings.items()} == {
        "sound.mp4": 20,
        "flaky.mp4": 23,
    }
    told = dict(report.faults)
    assert sorted(told) == sorted([named[1], named[2], "s3://nosuch/a.mp4", f"{bucket}/gone.mp4"])
    assert "who may use it" in told[named[1]]
    assert "expected to reach" in told[named[2]]
    assert told[named[2]].endswith("(tried 3 times)")
    assert "does not exist" in told["s3://nosuch/a.mp4"]
    assert report.damaged == ()
