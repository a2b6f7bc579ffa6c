"""Two jobs on the same recordings: what differs, and what a gate says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from rtseg.cli import app
from rtseg.errors import ConfigError, MediaError
from rtseg.lab.fleet.agreement import disagreement
from rtseg.lab.fleet.compare import GateRule, compare_jobs, read_gate
from tests.lab.fleet.drives import write_drive, write_fleet
from tests.lab.fleet.test_replay import replay
from tests.lab.replay.test_replay import Page
from tests.threshold_network import write_threshold_model


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Jobs ``a`` and ``same`` of one model cut differently, and ``strict`` of one that shows less."""
    folder = tmp_path_factory.mktemp("jobs")
    sources, model = write_fleet(folder, 4, frames=60)
    tracker = {"show": 0.9}
    strict = write_threshold_model(folder / "strict", grouping={"method": "lanes", "parameters": {"tracker": tracker}})
    replay(sources, folder / "a", model)
    replay(sources, folder / "same", model, shard_seconds=2.5)
    replay(sources, folder / "strict-job", str(strict))
    return folder


def by_metric(comparison: Any) -> dict[str, Any]:
    return {difference.metric: difference for difference in comparison.differences}


@pytest.mark.slow
def test_a_model_does_not_differ_from_itself_however_it_was_cut(jobs: Path, tmp_path: Path) -> None:
    result = compare_jobs(str(jobs / "a"), str(jobs / "same"), tmp_path, [GateRule(metric="certainty")])
    assert (result.frames, result.recordings, result.unpaired, result.disagreement) == (246, 4, 0, 0.0)
    for metric, found in by_metric(result).items():
        if metric != "ms":
            assert found.low == pytest.approx(0, abs=1e-7), metric
            assert found.high == pytest.approx(0, abs=1e-7), metric


def test_differences_have_their_sign_and_their_confidence(jobs: Path, tmp_path: Path) -> None:
    there = by_metric(compare_jobs(str(jobs / "a"), str(jobs / "strict-job"), tmp_path / "1"))["found"]
    back = by_metric(compare_jobs(str(jobs / "strict-job"), str(jobs / "a"), tmp_path / "2"))["found"]
    assert there.low <= there.difference <= there.high < 0
    assert there.difference == pytest.approx(-back.difference)
    assert there.low == pytest.approx(-back.high)


def test_the_gate_gives_the_exit_code(jobs: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate.yaml"

    def code(rules: str) -> int:
        gate.write_text(rules)
        jobs_named = [str(jobs / "a"), str(jobs / "strict-job")]
        command = ["fleet", "compare", *jobs_named, "--out", str(tmp_path / "out"), "--gate", str(gate)]
        ended = CliRunner().invoke(app, command)
        assert ("failed" if ended.exit_code else "passed") in ended.stdout
        assert "[" not in ended.stdout
        return ended.exit_code

    assert code("- {metric: found, margin: 3}") == 0
    assert code("- {metric: found, margin: 3}\n- {metric: found, margin: 0.01}") == 1
    assert code("- {metric: found, margin: 0, better: lower}") == 0
    verdicts = json.loads((tmp_path / "out/comparison.json").read_text())["verdicts"]
    assert [verdict["passed"] for verdict in verdicts] == [True]
    page = Page(tmp_path / "out/report.html")
    assert "Where they disagree most" in page.text
    assert sum(link.startswith("data:image/jpeg") for link in page.links) >= 3


@pytest.mark.slow
def test_models_are_replayed_over_the_recordings_and_compared(jobs: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate.yaml"
    gate.write_text("- {metric: found, margin: 3}")
    sources = [str(jobs / f"drive_{seed}.mp4") for seed in range(2)]

    def code(*more: str) -> int:
        models = [str(jobs / "model"), str(jobs / "strict")]
        fixed = ["--workers", "0", "--shard-seconds", "2", "--out", str(tmp_path / "out"), "--gate", str(gate)]
        return CliRunner().invoke(app, ["fleet", "compare", *models, *sources, *more, *fixed]).exit_code

    assert code() == 0
    facts = json.loads((tmp_path / "out/comparison.json").read_text())
    assert (facts["frames"], facts["recordings"], facts["unpaired"]) == (121, 2, 0)
    rows = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("[AB]/rows/*")}
    assert len({path.name for path in rows}) == len(rows) == 12, "the same shards, by two models"
    (tmp_path / "torn.mp4").write_bytes(b"torn")
    assert code(str(tmp_path / "torn.mp4")) == 1
    assert code(str(tmp_path / "torn.mp4"), "--fail-on", "never") == 0
    assert all(path.stat().st_mtime_ns == time for path, time in rows.items()), "what is done is not done again"
    next(path for path in rows if path.parent.parent.name == "B").unlink()
    assert not compare_jobs(
        str(tmp_path / "out/A"), str(tmp_path / "out/B"), tmp_path / "less", [GateRule(metric="found", margin=9)]
    ).passed, "what B was not tried on may be worse"


def test_recordings_that_are_gone_cost_pictures_and_no_verdict(jobs: Path, tmp_path: Path) -> None:
    sources, model = write_fleet(tmp_path, 2, frames=30)
    replay(sources, tmp_path / "a", model)
    replay(sources, tmp_path / "b", str(jobs / "strict"))
    for source in sources:
        Path(source).unlink()
    gate = [GateRule(metric="found", margin=3)]
    assert compare_jobs(str(tmp_path / "a"), str(tmp_path / "b"), tmp_path / "out", gate).passed
    assert "cannot be read any longer" in Page(tmp_path / "out/report.html").text


@pytest.mark.parametrize("rules", ["", "[]", "metric: found", "- {metric: found, margin: -1}", "- {margin: 1}", "- ["])
def test_gates_that_do_not_parse(tmp_path: Path, rules: str) -> None:
    (tmp_path / "gate.yaml").write_text(rules)
    with pytest.raises(ConfigError, match="gate") as told:
        read_gate(tmp_path / "gate.yaml")
    assert "\n" not in str(told.value)
    assert "pydantic" not in str(told.value)


def test_an_unknown_metric_lists_those_that_are_there(jobs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="certainty, found"):
        compare_jobs(str(jobs / "a"), str(jobs / "same"), tmp_path, [GateRule(metric="beauty")])


def test_one_recording_alone_passes_no_gate(jobs: Path, tmp_path: Path) -> None:
    sources, model = [str(jobs / "drive_0.mp4")], str(jobs / "model")
    replay(sources, tmp_path / "one", model)
    result = compare_jobs(
        str(tmp_path / "one"), str(jobs / "a"), tmp_path / "out", [GateRule(metric="found", margin=9)]
    )
    assert not result.passed
    assert result.recordings == 1


def test_jobs_without_a_common_frame(jobs: Path, tmp_path: Path) -> None:
    replay([str(write_drive(tmp_path / "other.mp4"))], tmp_path / "other", str(jobs / "model"))
    with pytest.raises(MediaError, match="both have"):
        compare_jobs(str(jobs / "a"), str(tmp_path / "other"), tmp_path / "out")
    with pytest.raises(ConfigError, match="folder of a fleet job"):
        compare_jobs(str(tmp_path / "none"), str(tmp_path / "none"), tmp_path / "out")


def lanes(*columns: float) -> dict[str, Any]:
    y = list(np.arange(40.0, 72.0, 4))
    found = [{"id": 1, "confidence": 1.0, "x": [x] * len(y), "y": y} for x in columns]
    return {"lanes": found, "objects": None, "width": 128, "height": 72}


def objects(*boxes: tuple[str, float]) -> dict[str, Any]:
    found = [{"class": kind, "x0": x, "y0": 0.0, "x1": x + 10, "y1": 10.0} for kind, x in boxes]
    return {"lanes": None, "objects": found, "width": 128, "height": 72}


@pytest.mark.parametrize(
    ("a", "b", "share"),
    [
        (lanes(), lanes(), 0),
        (lanes(10, 60), lanes(60, 10), 0),
        (lanes(10, 60), lanes(11), 1 / 3),
        (lanes(10), lanes(30), 1),
        (lanes(10), lanes(), 1),
        (objects(("car", 0), ("car", 50)), objects(("car", 51), ("car", 1)), 0),
        (objects(("car", 0)), objects(("bus", 0)), 1),
        (objects(("car", 0)), objects(("car", 6)), 1),
    ],
)
def test_disagreement_is_the_share_that_only_one_shows(a: dict[str, Any], b: dict[str, Any], share: float) -> None:
    assert disagreement(a, b) == pytest.approx(share)
    assert disagreement(b, a) == pytest.approx(share)


def test_lanes_are_not_compared_with_objects() -> None:
    with pytest.raises(ConfigError, match="one task"):
        disagreement(lanes(10), objects(("car", 0)))
