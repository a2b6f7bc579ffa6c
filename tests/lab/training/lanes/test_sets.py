"""Sets of a configuration: nothing that is kept back is learned from, and silent labels are left out."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from rtseg.errors import ArgumentError, ConfigError, DatasetError
from rtseg.lab.scores.lanes.sets import by_name, score_sets
from rtseg.lab.training.config import DataConfig, LaneSetConfig
from rtseg.lab.training.lanes.datasets import LaneDataset
from rtseg.lab.training.lanes.sets import open_set
from rtseg.lab.training.lanes.targets import SampleShape
from rtseg.results import Lanes
from tests.lab.pipelines import WithoutModel

ROWS = list(range(40, 118, 4))
SHAPE = SampleShape(size=(128, 224), mean=(0.0,) * 3, std=(1.0,) * 3)
LINE = np.linspace(100, 40, len(ROWS)).round().astype(int).tolist()
OTHER = np.linspace(120, 200, len(ROWS)).round().astype(int).tolist()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "roads"
    folder.mkdir()
    lines = []
    for group, name, lanes in (
        ("town", "a_001", [LINE, OTHER]),
        ("town", "a_002", [LINE]),
        ("hills", "b_001", [LINE, OTHER]),
        ("hills", "b_002", []),
        ("bare", "c_001", []),
    ):
        cv2.imwrite(str(folder / f"{name}.png"), np.zeros((128, 224, 3), np.uint8))
        cv2.imwrite(str(folder / f"{name}_mask.png"), np.zeros((128, 224), np.uint8))
        label = {"raw_file": f"{name}.png", "h_samples": ROWS, "lanes": lanes, "group": group}
        lines.append(json.dumps(label | {"mask": f"{name}_mask.png"}))
    (folder / "labels.json").write_text("\n".join(lines))
    return tmp_path


def names(frames: list) -> list[str]:
    return [frame.path.stem for frame in frames]


def test_no_frame_is_both_learned_from_and_kept_back(data: Path) -> None:
    part = LaneSetConfig(folder="roads", share=1, keep_back=("hills",), leave_out=("a_00[2-9]",), only=("town", "b_*"))
    learned, kept = open_set(part, [data])
    assert names(learned) == ["a_001"]
    assert names(kept) == ["b_001", "b_002"]
    assert names(open_set(part, [data / "roads"])[1]) == ["b_001", "b_002"]


def test_labels_of_the_own_lane_that_name_no_line_are_left_out(data: Path) -> None:
    learned, _ = open_set(LaneSetConfig(folder="roads", share=1, supervision="ego"), [data])
    assert names(learned) == ["a_001", "a_002", "b_001"]


@pytest.mark.parametrize(
    ("supervision", "values"), [("lines", {0, 1, 2}), ("ego", {0, 1, 2, 255}), ("mask", {0, 1, 2, 255}), ("none", {0})]
)
def test_each_kind_of_label_makes_its_target(data: Path, supervision: str, values: set[int]) -> None:
    part = LaneSetConfig(folder="roads", share=1, supervision=supervision)  # type: ignore[arg-type]
    _, ids = LaneDataset(open_set(part, [data])[0], SHAPE)[0]
    assert set(ids.unique().tolist()) == values


def test_what_is_missing_is_named(data: Path) -> None:
    with pytest.raises(ConfigError, match="expected the set lakes in a folder of data"):
        open_set(LaneSetConfig(folder="lakes", share=1), [data])
    with pytest.raises(DatasetError, match="the patterns leave none"):
        open_set(LaneSetConfig(folder="roads", share=1, only=("sea",)), [data])
    (data / "roads" / "a_001_mask.png").unlink()
    with pytest.raises(DatasetError, match="a_001_mask"):
        open_set(LaneSetConfig(folder="roads", share=1, supervision="mask"), [data])
    with pytest.raises(ArgumentError, match="above 0"):
        DataConfig(sets=(LaneSetConfig(folder="roads", share=0),))


class _Fixed(WithoutModel):
    """Finds the same lines everywhere."""

    def __init__(self, *lines: list[int]) -> None:
        super().__init__()
        self.lines = tuple(np.stack([line, ROWS], 1).astype(np.float32) for line in lines)

    def __call__(self, frame: object) -> Lanes:
        count = len(self.lines)
        ids = np.arange(1, count + 1, dtype=np.int32)
        return Lanes(np.zeros((128, 224), np.uint8), ids, np.ones(count, np.float32), self.lines)


def test_scores_of_kept_back_frames_say_what_the_labels_can(data: Path) -> None:
    ego = LaneSetConfig(folder="roads", share=1, supervision="ego", only=("town",), keep_back=("town",))
    bare = LaneSetConfig(folder="roads", share=1, supervision="none", only=("bare",), keep_back=("bare",))
    silent = LaneSetConfig(folder="roads", share=1)
    scores = score_sets(_Fixed(LINE), [ego, bare, silent], [data], progress=False)
    assert [score.name for score in scores] == ["roads-town", "roads-bare"]
    assert scores[0].metrics() == {"labelled points found": pytest.approx(2 / 3)}
    assert scores[1].metrics() == {"false lanes a frame": 1.0}
    full = LaneSetConfig(folder="roads", share=1, only=("town", "hills"), keep_back=("*",))
    both = score_sets(_Fixed(LINE, OTHER), [full], [data], progress=False)[0]
    assert both.metrics()["labelled points found"] == 1.0
    assert [group.name for group in both.by_group()] == ["hills", "town"]
    named = by_name([both, scores[1]])
    assert list(named) == [
        "roads-town, 4 frames kept back",
        "roads-town, hills, 2 frames kept back",
        "roads-town, town, 2 frames kept back",
        "roads-bare, 1 frame kept back",
    ]
    assert named["roads-bare, 1 frame kept back"] == {"false lanes a frame": 1.0}
    with pytest.raises(ConfigError, match="keep_back"):
        score_sets(_Fixed(), [silent], [data], progress=False)
