"""Scoring pipelines on labelled pictures."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from rtseg.errors import ConfigError, DatasetError, MediaError
from rtseg.frame import Frame
from rtseg.lab.scores.lanes.culane import CulaneScore
from rtseg.lab.scores.lanes.evaluate import evaluate_lanes, score_lanes
from rtseg.lab.scores.lanes.samples import labelled_samples, rendered_samples
from rtseg.results import Lanes
from tests.lab.pipelines import WithoutModel
from tests.lab.replay.runs import ColumnPipeline, road

ROWS = list(range(36, 72, 2))


def write_set(folder: Path, columns: list[dict[int, int]], truth: list[list[int]]) -> Path:
    lines = []
    for i, (found, true) in enumerate(zip(columns, truth, strict=True)):
        cv2.imwrite(str(folder / f"{i}.png"), road(found))
        lines.append({"raw_file": f"{i}.png", "h_samples": ROWS, "lanes": [[x] * len(ROWS) for x in true]})
    (folder / "labels.json").write_text("\n".join(map(json.dumps, lines)))
    return folder


def test_scores_of_a_small_set(tmp_path: Path) -> None:
    data = write_set(tmp_path, [{1: 30, 2: 90}, {1: 30}, {1: 30, 2: 60}], [[30, 90], [30, 90], [30, 90]])
    pipeline = ColumnPipeline()
    result = evaluate_lanes(pipeline, "labelled", data, out=tmp_path / "out", progress=False)
    assert pipeline.resets == 3
    score = result.tusimple
    assert (score.accuracy, score.false_positive, score.false_negative) == pytest.approx((2 / 3, 1 / 6, 1 / 3))
    assert result.culane == CulaneScore(4, 1, 2)
    console = Console(record=True, width=100, quiet=True)
    console.print(result.table())
    written = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert written["tusimple"]["accuracy"] == pytest.approx(2 / 3)
    assert written["culane"]["f1"] == pytest.approx(8 / 11)
    predictions = [json.loads(line) for line in (tmp_path / "out" / "predictions.json").read_text().splitlines()]
    assert predictions[1]["lanes"] == [[30.0] * len(ROWS)]
    assert "Worst frames" in (tmp_path / "out" / "report.html").read_text()


class Truthful(WithoutModel):
    """Knows the rendered truth and gives it back, shifted."""

    def __init__(self, shift: float = 0.0, frames: int = 6) -> None:
        super().__init__()
        self.samples = {s.image.tobytes(): s for s in rendered_samples(frames)}
        self.shift = shift

    def __call__(self, frame: Frame) -> Lanes:
        lines = tuple(line + np.float32([self.shift, 0]) for line in self.samples[frame.image.tobytes()].truth)
        mask = np.zeros(frame.image.shape[:2], np.uint8)
        ids = np.arange(1, len(lines) + 1, dtype=np.int32)
        return Lanes(mask, ids, np.ones(len(lines), np.float32), lines)


def test_rendered_truth_scores_perfectly_and_by_condition() -> None:
    result = evaluate_lanes(Truthful(), "rendered", frames=6, progress=False)
    assert (result.tusimple.accuracy, result.tusimple.false_negative) == (1, 0)
    assert result.culane.f1 == 1
    groups = result.by_condition()
    assert "lighting" in groups or "setting" in groups
    for values in groups.values():
        assert sum(len(s.images) for s in values.values()) == 6


def test_rendered_lanes_far_off_score_nothing() -> None:
    result = evaluate_lanes(Truthful(shift=60), "rendered", frames=6, progress=False)
    assert result.culane.f1 < 0.1
    assert result.tusimple.recall < 0.2


def test_thresholds_scale_with_the_picture() -> None:
    # 640 px wide: 20 px of the benchmark are 10 here.
    sample = next(iter(rendered_samples(1)))
    near = evaluate_lanes(Truthful(shift=9.5, frames=1), "rendered", frames=1, progress=False)
    assert near.tusimple.recall == 1
    far = evaluate_lanes(Truthful(shift=10.5, frames=1), "rendered", frames=1, progress=False)
    assert far.tusimple.recall < 0.2
    empty = Lanes(np.zeros((360, 640), np.uint8), np.zeros(0, np.int32), np.zeros(0, np.float32), ())
    assert score_lanes(sample, empty).culane.true_positives == 0


@pytest.mark.parametrize(("dataset", "data"), [("labelled", None), ("kitti", "x")])
def test_unknown_sets_are_refused(dataset: str, data: str | None) -> None:
    with pytest.raises(ConfigError, match="expected dataset"):
        evaluate_lanes(ColumnPipeline(), dataset, data)


def test_missing_pictures_are_named(tmp_path: Path) -> None:
    write_set(tmp_path, [{1: 30}], [[30]])
    (tmp_path / "0.png").unlink()
    with pytest.raises(DatasetError, match=r"0\.png"):
        evaluate_lanes(ColumnPipeline(), "labelled", tmp_path, progress=False)
    (tmp_path / "labels.json").write_text("\n")
    with pytest.raises(DatasetError, match="found no label"):
        evaluate_lanes(ColumnPipeline(), "labelled", tmp_path, progress=False)


def test_lanes_where_there_are_none_are_counted_apart(tmp_path: Path) -> None:
    data = write_set(tmp_path, [{1: 30}, {1: 30}, {}], [[30], [], []])
    result = evaluate_lanes(ColumnPipeline(), "labelled", data, progress=False)
    assert result.tusimple.accuracy == 1
    assert result.invented == 0.5
    assert result.metrics()["frames without lines on which lanes were found"] == 0.5
    assert result.culane == CulaneScore(1, 1, 0)
    assert np.isnan(result.where("lanes", "1", "marked").invented)


def test_a_culane_folder_is_scored_by_category(tmp_path: Path) -> None:
    frames = {"normal": ({1: 30, 2: 90}, [30, 90]), "curve": ({1: 30}, [60]), "cross": ({1: 30}, [])}
    (tmp_path / "list" / "test_split").mkdir(parents=True)
    for number, (category, (found, true)) in enumerate(frames.items()):
        # PNG inside, since colors are ids here.
        (tmp_path / f"{number}.jpg").write_bytes(cv2.imencode(".png", road(found))[1].tobytes())
        lines = [" ".join(f"{x} {y}" for y in reversed(ROWS)) for x in true]
        (tmp_path / f"{number}.lines.txt").write_text("\n".join(lines))
        (tmp_path / "list" / "test_split" / f"test{number}_{category}.txt").write_text(f"/{number}.jpg\n")
    result = evaluate_lanes(ColumnPipeline(), "labelled", tmp_path, progress=False)
    assert result.label == tmp_path.name
    scores = {category: score.culane for category, score in result.by_condition()["category"].items()}
    assert scores == {"normal": CulaneScore(2, 0, 0), "curve": CulaneScore(0, 1, 1), "cross": CulaneScore(0, 1, 0)}
    assert result.culane == CulaneScore(2, 2, 1)
    assert result.invented == 1.0


def test_labels_beyond_the_picture_are_no_points_to_find(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.jpg"), np.zeros((590, 1640, 3), np.uint8))
    (tmp_path / "0.lines.txt").write_text("-100 600 100 400 120 380\n")
    samples, count = labelled_samples(tmp_path)
    (sample,) = samples
    assert count == 1
    assert sample.truth[0][-1].tolist() == [-100, 600]
    x = sample.lanes[0][np.isfinite(sample.lanes[0])]
    rows = sample.h_samples[np.isfinite(sample.lanes[0])]
    assert (x >= 0).all()
    np.testing.assert_allclose(x + rows, 500)
    assert sample.h_samples[0] == pytest.approx(160 * 1640 / 1280)


def test_results_are_not_written_among_the_labels(tmp_path: Path) -> None:
    data = write_set(tmp_path, [{1: 30}], [[30]])
    before = {path.name for path in data.iterdir()}
    with pytest.raises(MediaError, match="another place"):
        evaluate_lanes(ColumnPipeline(), "labelled", data, out=data, progress=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="expected to write"):
        evaluate_lanes(ColumnPipeline(), "labelled", data, out=tmp_path / "file" / "out", progress=False)
    assert {path.name for path in data.iterdir()} == before | {"file"}
