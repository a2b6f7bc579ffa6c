"""Training in stages: each goes on from the one that it names, and an interrupted run goes on where it was."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from rtseg.errors import ConfigError, ModelError
from rtseg.lab.data.tusimple import read_labels
from rtseg.lab.render import Drive
from rtseg.lab.replay.video_writer import VideoWriter
from rtseg.lab.training.config import TrainingConfig
from rtseg.lab.training.configurations import load_config, load_stages
from rtseg.lab.training.stages import train_stages
from rtseg.lab.training.train import load_network, read_weights
from rtseg.lab.weak.recordings import label_recordings
from tests.lab.training.test_run import SMALL, road

__all__ = ["road"]

LITTLE = {**SMALL, "epochs": 1, "samples_per_epoch": 4, "data": {"rendered_seeds": [5, 7], "rendered_size": [64, 96]}}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def write(folder: Path, *stages: dict, **changes: object) -> Path:
    path = folder / "staged.yaml"
    path.write_text(yaml.safe_dump({**LITTLE, **changes, "stages": list(stages)}))
    return path


def test_a_stage_changes_what_it_names_and_follows_the_one_before(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"stage": "one"},
        {"stage": "two", "loss": {"split": 0.5}, "input": {"width": 128}},
        {"stage": "three", "after": "one", "epochs": 7},
        {"stage": "four", "start": "lanes-lite"},
    )
    one, two, three, four = load_stages(path)
    assert isinstance(two, TrainingConfig)
    assert (two.loss.split, two.loss.samples, two.input.width, two.input.height) == (0.5, 20, 128, 64)
    assert [stage.after for stage in (one, two, three, four)] == ["", "one", "one", ""]
    assert (three.epochs, one.epochs) == (7, 1)
    assert load_config(path) == four


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ([], "expected a list of mappings"),
        ([{"stage": "one"}, {}], "a name of its own as stage 2's stage"),
        ([{"stage": "one"}, {"stage": "one"}], "a name of its own"),
        ([{"stage": "one", "after": "two"}, {"stage": "two"}], "after a stage before it"),
        ([{"stage": "one"}, {"stage": "two", "after": "one", "start": "lanes-lite"}], "after a stage before it"),
        ([{"stage": "one"}, {"stage": "two", "blend": 0.5, "blend_with": "two"}], "blended with a stage before it"),
        ([{"stage": "one"}, {"stage": "two", "sped": 1}], "stage 2 of the training configuration .*sped"),
    ],
)
def test_bad_stages_are_named(tmp_path: Path, stages: list[dict], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_stages(write(tmp_path, *stages))


def test_no_stage_learns_from_what_is_kept_back_of_the_roads() -> None:
    """Else its scores there would be of roads that the model has seen."""
    roads = load_config("lanes-lite")
    assert isinstance(roads, TrainingConfig)
    kept = {(part.folder, part.only): set(part.keep_back) for part in roads.data.sets if part.keep_back}
    held_out = {part.folder for part in roads.data.sets if part.keep_back and not part.share}
    assert held_out == {"tusimple_val", "tusimple_clips"}
    stages = [stage for name in ("lanes-lite", "lanes-r18") for stage in load_stages(name)]
    assert len(stages) > 4
    for stage in stages:
        assert isinstance(stage, TrainingConfig)
        assert stage.start == ""
        for part in stage.data.sets:
            assert set(part.keep_back) == kept.get((part.folder, part.only), set())
            assert part.folder not in held_out or not part.share


def test_every_stage_goes_on_from_the_one_before_and_the_last_is_the_runs(tmp_path: Path, road: Path) -> None:
    frozen = {"optimizer": {"rate": 1e-12}, "ema": 0.0}
    path = write(tmp_path, {"stage": "one"}, {"stage": "two", **frozen})
    out = tmp_path / "run"
    weights = train_stages(path, [road], out)
    one, two = (read_weights(out / stage / "model.safetensors") for stage in ("one", "two"))
    net, config = load_network(weights)
    for key, value in net.state_dict().items():
        assert torch.equal(value, two[key])
    moved = [key for key in one if "running" not in key and "num_batches" not in key]
    assert all(torch.allclose(one[key], two[key], atol=1e-6) for key in moved)
    assert config.stage == "two"
    assert f"rtseg train {path} --data {road} --out {out}" in (out / "command.txt").read_text()


@pytest.mark.slow
def test_a_resumed_run_leaves_finished_stages_alone(tmp_path: Path, road: Path) -> None:
    path = write(tmp_path, {"stage": "one"}, {"stage": "two"})
    out = tmp_path / "run"
    train_stages(path, [road], out)
    before = (out / "one" / "model.safetensors").stat().st_mtime_ns
    (out / "two" / "finished.yaml").unlink()
    (out / "two" / "last.ckpt").unlink()
    train_stages(path, [road], out, resume=True)
    assert (out / "one" / "model.safetensors").stat().st_mtime_ns == before
    assert (out / "two" / "finished.yaml").is_file()
    changed = write(tmp_path, {"stage": "one", "seed": 6}, {"stage": "two"})
    with pytest.raises(ConfigError, match="expected the stage one to be configured as when it was finished"):
        train_stages(changed, [road], out, resume=True)


def test_a_stage_is_blended_with_the_one_it_names(tmp_path: Path, road: Path) -> None:
    out = tmp_path / "run"
    last = {"stage": "three", "blend": 0.25, "blend_with": "one"}
    weights = train_stages(write(tmp_path, {"stage": "one"}, {"stage": "two"}, last), [road], out)
    first, begun = (read_weights(out / name) for name in ("one/model.safetensors", "three/start.safetensors"))
    checkpoint = torch.load(out / "three" / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in read_weights(weights).items():
        assert torch.equal(begun[name], first[name])
        if value.is_floating_point():
            torch.testing.assert_close(value, torch.lerp(first[name], checkpoint[f"average.{name}"], 0.25))


def test_a_quick_run_trains_the_last_stage_alone(tmp_path: Path, road: Path) -> None:
    path = write(tmp_path, {"stage": "one"}, {"stage": "two", "blend": 0.5, "epochs": 2})
    out = tmp_path / "run"
    train_stages(path, [road], out, quick=True)
    config = load_config(out / "config.yaml")
    assert (config.epochs, config.stage, config.after) == (2, "", "")
    assert not [each for each in out.iterdir() if each.is_dir() and each.name in ("one", "two")]


@pytest.mark.slow
def test_recordings_are_labelled_once_by_the_stage_that_teaches(tmp_path: Path, road: Path) -> None:
    (tmp_path / "videos").mkdir()
    taught = {"data": {"sets": [{"folder": "videos", "share": 1, "teacher": "one", "confidence": 0.7}]}}
    labelled = {"data": {"sets": [{"folder": road.name, "share": 1}]}}
    path = write(tmp_path, {"stage": "one", **labelled}, {"stage": "two", **taught}, {"stage": "three", **taught})
    asked: list[tuple[str | Path, Path, float]] = []

    def copy_labels(teacher: str | Path, recordings: Path, out: Path, confidence: float) -> None:
        asked.append((teacher, recordings, confidence))
        shutil.copytree(road, out)

    out = tmp_path / "run"
    train_stages(path, [road, tmp_path / "videos"], out, teach=copy_labels)
    assert asked == [(out / "one", tmp_path / "videos", 0.7)]
    assert load_config(out / "three" / "config.yaml").name == "small"
    (out / "three" / "finished.yaml").unlink()
    (out / "three" / "last.ckpt").unlink()
    train_stages(path, [road, tmp_path / "videos"], out, resume=True, teach=copy_labels)
    assert len(asked) == 1


def test_what_a_later_stage_lacks_is_told_before_the_first_is_trained(tmp_path: Path, road: Path) -> None:
    for part, error, told in (
        ({"folder": "nowhere", "share": 1}, ConfigError, "expected the set nowhere"),
        ({"folder": road.name, "share": 1, "teacher": "nobody"}, ModelError, "nobody"),
        ({"folder": road.name, "share": 1, "teacher": "two"}, ModelError, "two"),  # itself
    ):
        path = write(tmp_path, {"stage": "one"}, {"stage": "two", "data": {"sets": [part]}})
        with pytest.raises(error, match=told):
            train_stages(path, [road], tmp_path / "run")
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_stage_teaches_the_next_on_a_drive_without_labels(tmp_path: Path) -> None:
    """From the bundled model, which stage one leaves as it is, to the lines that it finds in a video."""
    frames = [road.image for road in Drive(4, seconds=1.0, fps=30, size=(288, 512))]
    (tmp_path / "videos").mkdir()
    with VideoWriter(tmp_path / "videos" / "drive.mp4", 30.0, (288, 512)) as writer:
        for frame in frames:
            writer.write(frame)
    network = {"backbone": "efficientnet-lite0", "channels": 32, "lanes": 6}
    common = {"network": network, "input": {"width": 448, "height": 256}, "optimizer": {"rate": 1e-12}, "ema": 0.0}
    rendered = {"rendered_seeds": [5, 9], "rendered_share": 1.0}
    sets = [{"folder": "videos", "share": 1, "teacher": "one", "confidence": 0.3}]
    path = write(
        tmp_path,
        {"stage": "one", "data": rendered},
        {"stage": "two", "data": {"sets": sets}},
        start="",
        **common,
    )
    out = tmp_path / "run"
    train_stages(path, [tmp_path], out, start="lanes-lite", teach=label_recordings)
    (labels,) = (out / "taught_sets").iterdir()
    found = read_labels(labels)
    assert len(found) >= 2
    assert all(label.image.is_file() and len(label.lanes) for label in found)
    assert (out / "two" / "finished.yaml").is_file()
