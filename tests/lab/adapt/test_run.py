"""`rtseg adapt` as a user runs it: stopped, gone on with, refused; and what is kept when it is better."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rtseg.errors import ConfigError, DatasetError, MediaError, ModelError
from rtseg.lab.adapt import run
from rtseg.lab.adapt.judgment import Verdict
from rtseg.lab.adapt.run import Settings, adapt
from rtseg.lab.deploy import package
from rtseg.lab.render import Drive
from rtseg.lab.replay.video_writer import VideoWriter
from rtseg.lab.training.train import read_weights
from rtseg.loading import load
from rtseg.runtime import find_model

SIZE = (180, 320)


def quiet(*_: object) -> None: ...


@pytest.mark.slow
def test_stopped_gone_on_with_refused_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(package, "REAL_FRAMES", 8)
    monkeypatch.setattr(package, "RENDERED_FRAMES", 4)
    monkeypatch.setattr(run, "ROADS", 16)
    video = tmp_path / "drive.mp4"
    drive = Drive(4, seconds=42.0, fps=4, size=SIZE)
    with VideoWriter(video, 4.0, SIZE) as writer:
        for road in drive:
            writer.write(road.image)
    settings, out = Settings((video,), minutes=0.05), tmp_path / "my-camera"

    def stop(step: str) -> None:
        if step.startswith("making"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adapt(settings, out, stop, quiet)
    weights = out / "adapt" / "training" / "model.safetensors"
    trained = weights.read_bytes()
    with pytest.raises(ConfigError, match=r"that .*my-camera was begun with"):
        adapt(Settings((video,), minutes=1.0), out, quiet, quiet)

    # So short a training makes nothing better, and chance is not taken for a gain.
    verdict = adapt(settings, out, quiet, quiet)
    assert weights.read_bytes() == trained
    assert not verdict.better
    assert not (out / "card.yaml").exists()
    result = json.loads((out / "adapt" / "result.json").read_text())
    assert [one["on"] for one in result["compared"]] == ["frames kept back", "rendered roads"]
    assert result["compared"][0]["lines"] >= 4
    assert verdict.reason in (out / "adapt" / "report.html").read_text()
    assert adapt(settings, out, quiet, quiet) == verdict

    # What gains at home and loses elsewhere has a second chance, half the way back.
    result_file = out / "adapt" / "result.json"
    for second in (Verdict(False, "worse"), Verdict(True, "as if")):
        result_file.unlink()
        verdicts = [Verdict(False, "lost elsewhere", gains=True), second]
        monkeypatch.setattr(run, "conclude", lambda *_, left=verdicts: left.pop(0))
        verdict = adapt(settings, out, quiet, quiet)
        assert not verdicts
        assert verdict.better == second.better
        assert (out / "card.yaml").exists() == second.better
        assert second.better or verdict.reason == "lost elsewhere; half the way back, worse"
    assert find_model(out).card.model.sha256 == find_model(out / "adapt" / "halfway" / "my-camera").card.model.sha256
    ends = [read_weights(out / "adapt" / "training" / name) for name in ("start.safetensors", "model.safetensors")]
    between = read_weights(out / "adapt" / "halfway" / "training" / "model.safetensors")
    for name, value in between.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (ends[0][name] + ends[1][name]) / 2, msg=name)
    card, start = find_model(out).card, find_model("lanes-lite").card
    assert card.name == "my-camera"
    assert [file.precision for file in card.files] == ["int8", "fp32", "int8"]
    assert card.grouping.parameters["decoder"].keys() == start.grouping.parameters["decoder"].keys()
    assert "drive.mp4, labelled by lanes-lite" in card.training.data[-1]
    assert "frames kept back" in card.scores[0].dataset
    pipeline = load(str(out), threads=1)
    assert len(pipeline(next(iter(drive)).image)) >= 2
    pipeline.close()


def test_what_could_not_be_read_leaves_no_claim_on_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "my-camera"
    for name in ("dirve.mp4", "drive.mp4"):  # a slip, which whoever made it mends
        with pytest.raises(MediaError, match=name):
            adapt(Settings((tmp_path / name,)), out, quiet, quiet)
        assert not out.exists()
    video = tmp_path / "short.mp4"
    with VideoWriter(video, 4.0, SIZE) as writer:
        for _ in range(8):
            writer.write(np.zeros((*SIZE, 3), np.uint8))
    (tmp_path / "link.mp4").symlink_to(video)
    with pytest.raises(DatasetError, match=r"each recording once, got .*link\.mp4 twice"):
        adapt(Settings((video, tmp_path / "link.mp4")), out, quiet, quiet)
    with pytest.raises(DatasetError, match="seconds of driving"):
        adapt(Settings((video,)), out, quiet, quiet)
    assert not out.exists()


def test_what_cannot_be_adapted_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="whose name can be a model's"):
        adapt(Settings((tmp_path / "drive.mp4",)), tmp_path / "My Camera", quiet, quiet)
    from rtseg.lab.adapt.schedule import recipe_for

    with pytest.raises(ModelError, match="expected a lane network that is trained here"):
        recipe_for("instances-lite")
