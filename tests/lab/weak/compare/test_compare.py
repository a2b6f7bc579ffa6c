"""Keyword supervision against full labels: the split by city, and the whole way on a few drawn streets."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rtseg.cli import main
from rtseg.errors import ConfigError, WeakSupervisionError
from rtseg.lab.data.cityscapes import THINGS
from rtseg.lab.data.coco import read_coco
from rtseg.lab.data.instance_folders import read_instances
from rtseg.lab.data.instance_labels import InstanceFrame, InstanceTruth
from rtseg.lab.weak.compare.report import REPORT, score_rows
from rtseg.lab.weak.compare.run import SCORES, compare
from rtseg.lab.weak.compare.split import MASKS, WORDS, seen_classes, split_cities, split_stage, without_classes
from rtseg.lab.weak.compare.trial import KEYWORDS
from rtseg.lab.weak.keywords.label import small_settings
from rtseg.lab.weak.keywords.labels import LABELS
from tests.lab.training.instances.street_folder import write_streets
from tests.lab.weak.keywords.test_train import CONFIG

CITIES = ("zurich", "aachen", "bremen")


class _Named(InstanceFrame):
    """A frame of which only the city counts."""

    def __init__(self, place: str) -> None:
        self.name, self.place, self.classes = place, place, ("car",)

    def image(self) -> np.ndarray:
        raise AssertionError

    def truth(self) -> InstanceTruth:
        raise AssertionError


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=60).filter(lambda cities: len(set(cities)) > 1))
def test_cities_are_split_whole_and_near_the_share(cities: list[str]) -> None:
    split = split_cities([_Named(city) for city in [*cities, "held"]], ["held"])
    masks, words = ({frame.place for frame in part} for part in (split.masks, split.keywords))
    assert masks
    assert words
    assert max(masks) < min(words)
    assert masks | words == set(cities)
    assert [frame.place for frame in split.held_out] == ["held"]
    assert len(split.masks) + len(split.keywords) == len(cities)
    # No other boundary between cities comes closer to the share.
    counts = Counter(cities)
    boundaries = np.cumsum([counts[city] for city in sorted(counts)])[:-1]
    assert abs(len(split.masks) - 0.4 * len(cities)) == pytest.approx(np.abs(boundaries - 0.4 * len(cities)).min())


@pytest.mark.parametrize(("cities", "message"), [(("zurich", "aachen"), "zurich"), (("zurich", "bremen"), "got 0")])
def test_too_few_cities_are_one_sentence(cities: tuple[str, ...], message: str, tmp_path: Path) -> None:
    data = write_streets(tmp_path / "data", 2, cities)
    with pytest.raises(WeakSupervisionError, match=f"expected frames of a city to score on .* {message}"):
        split_stage(data, tmp_path / "out")


def test_a_configuration_of_lanes_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    data = write_streets(tmp_path / "data", 3, CITIES)
    with pytest.raises(ConfigError, match="instance network"):
        compare(data, tmp_path / "out", "lanes-lite")
    assert not (tmp_path / "out").exists()


def test_groups_give_only_what_they_are_for(tmp_path: Path) -> None:
    data = write_streets(tmp_path / "data", 3, CITIES)
    split = split_stage(data, tmp_path / "out").folder
    before = {frame.name: frame.truth() for frame in read_instances(data)}
    (masks,) = read_coco(split / MASKS / LABELS)
    assert masks.classes == ("object",)
    assert masks.name.startswith("bremen")
    np.testing.assert_array_equal(masks.truth().instances > 0, before[Path(masks.name).stem].instances > 0)
    (words,) = read_coco(split / WORDS / LABELS)
    np.testing.assert_array_equal(words.truth().semantic, before[Path(words.name).stem].semantic)
    entries = yaml.safe_load((split / WORDS / KEYWORDS).read_text())["images"]
    assert entries == {words.name: ["person", "car"]}


def test_only_what_is_large_enough_is_named() -> None:
    instances = np.zeros((40, 40), np.int32)
    instances[:10, :20], instances[20:30, :19], instances[35:] = 1, 2, -1
    semantic = np.where(instances > 0, 1 + instances, 0).astype(np.uint8)
    semantic[35:, :20], semantic[35:, 20:] = 4, 255
    truth = InstanceTruth(instances, semantic, np.array([1, 2], np.int32))
    assert seen_classes(truth) == [1]
    alike = without_classes(truth)
    assert alike.class_ids.tolist() == [0, 0]
    assert np.unique(alike.semantic).tolist() == [0, 1, 255]
    np.testing.assert_array_equal(alike.semantic == 255, semantic == 255)


@pytest.mark.slow
@pytest.mark.timeout(600)  # three trainings, labels and three scores
def test_from_keywords_to_a_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    data = write_streets(tmp_path / "data", 6, CITIES)
    config, out = tmp_path / "tiny.yaml", tmp_path / "out"
    stages = [{"stage": "finder"}, {"stage": "keywords", "network": {"frozen_stages": 1}}]
    config.write_text(yaml.safe_dump(CONFIG | {"stages": stages}))
    command = ["rtseg", "weak", "compare", data, "--out", out, "--config", config, "--epochs", 1, "--small"]
    monkeypatch.setattr(sys, "argv", list(map(str, command)))
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    assert not stopped.value.code, said.err
    assert "report.md" in said.out.replace("\n", "")  # a long path is wrapped

    scores = json.loads((out / "05-scores" / SCORES).read_text())
    assert [scores["split"][group]["cities"] for group in ("masks", "keywords", "held_out")] == [
        ["bremen"],
        ["zurich"],
        ["aachen"],
    ]
    # Both ways the same network is trained equally long on the same frames.
    full, weak = ((out / name / "training" / "config.yaml").read_text() for name in ("03-full", "04-weak"))
    assert full == weak
    trained = yaml.safe_load(weak)
    assert trained["start"] == str(out / "02-finder" / "training" / "model.safetensors")
    assert trained["network"]["frozen_stages"] == 1
    assert scores["training"]["weak"] == scores["training"]["full"] == {"epochs": 1, "samples": 2}
    assert scores["full"]["frames"] == scores["weak"]["frames"] == 2
    assert set(scores["full"]["by class"]) == set(scores["weak"]["by class"]) == set(THINGS)
    assert scores["full"]["by class"]["train"] == {"AP": None, "AP50": None}
    assert (out / REPORT).read_text().count("| AP50, ") == len(THINGS)
    # Nothing is left to do a second time.
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("stage.json")}
    assert compare(data, out, config, 1, small_settings()) == scores
    assert {path: path.stat().st_mtime_ns for path in out.rglob("stage.json")} == stamps


def _side(ap50: float, cars: float | None) -> dict[str, Any]:
    return {
        "AP": ap50 / 2,
        "AP50": ap50,
        "frames": 3,
        "true": {"car": 7},
        "by class": {"car": {"AP": cars, "AP50": cars}},
    }


def test_rows_stand_beside_the_papers() -> None:
    rows = score_rows({"full": _side(0.4, 0.5), "weak": _side(0.1, 0.25)})
    assert rows[0] == ["AP50, car", "7", "50.0", "25.0", "0.50", "-", "-"]
    assert rows[1] == ["AP50", "7", "40.0", "10.0", "0.25", "60.0", "25.5"]
    assert rows[2] == ["AP", "7", "20.0", "5.0", "0.25", "37.1", "13.7"]
    # What is not there, or nothing, has no ratio.
    assert score_rows({"full": _side(0.0, None), "weak": _side(0.1, None)})[0][2:5] == ["-", "-", "-"]
    assert score_rows({"full": _side(0.0, None), "weak": _side(0.1, None)})[1][2:5] == ["0.0", "10.0", "-"]
