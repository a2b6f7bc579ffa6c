"""`rtseg evaluate` for instances: painted Cityscapes folders, networks that read their colors, known scores."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from rtseg.cli import main
from rtseg.errors import ConfigError, DatasetError
from rtseg.lab.commands.lab import lab_app
from rtseg.lab.data.cityscapes import read_gtfine
from rtseg.lab.scores.instances.distances import instance_distances
from rtseg.lab.scores.instances.evaluate import chosen_frames, evaluate_instances
from rtseg.lab.scores.instances.report import notes, terminal_tables
from rtseg.lab.scores.instances.variants import ablation_variants, oracle_variants
from rtseg.loading import load
from rtseg.runtime.card import ModelCard
from tests.instance_networks import paint, write_gtfine_frame, write_instance_model
from tests.threshold_network import write_threshold_model

pytest.importorskip("cityscapesscripts", reason="cityscapesscripts is not installed")
pytest.importorskip("pycocotools", reason="pycocotools is not installed")

OBJECTS = [(1, 0, (8, 16, 40, 48)), (1, 2, (40, 16, 72, 48)), (0, 0, (88, 8, 104, 56))]


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """Two frames of a held-out city, one of another."""
    root = tmp_path / "street"
    write_gtfine_frame(root, "aachen", 0, OBJECTS)
    write_gtfine_frame(root, "aachen", 1, OBJECTS[1:], extra=1)
    write_gtfine_frame(root, "zurich", 0, OBJECTS[:1])
    return root


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_instance_model(tmp_path / "blocks", "graph_merge", parameters={"min_area": 32})


def test_the_grouping_of_a_device_is_scored_where_asked_for(street, tmp_path):
    blind = {"method": "graph_merge", "parameters": {"min_area": 10**6}}
    grouping = {"method": "graph_merge", "parameters": {"min_area": 32}, "device": blind}
    model = load(write_instance_model(tmp_path / "blocks", "graph_merge", grouping=grouping))
    found = [evaluate_instances(model, street, progress=False, grouping=where) for where in ("cpu", "device")]
    assert [sum(each.scores.found.values()) for each in found] == [6, 0]


def test_scores_are_those_of_what_was_painted(street, model, tmp_path):
    found = evaluate_instances(load(model), street, out=tmp_path / "out", progress=False)
    assert found.frames == 2
    scores = found.scores
    # Three cars, all found; one more found where there is none, in the second frame.
    assert (scores.true["car"], scores.found["car"]) == (3, 4)
    assert (scores.true["person"], scores.found["person"]) == (2, 2)
    assert scores.cityscapes_by_class["person"].ap50 == pytest.approx(1)
    assert 0.5 < scores.cityscapes_by_class["car"].ap50 <= 1
    assert np.isnan(scores.cityscapes_by_class["bus"].ap)
    car = scores.panoptic_by_class["car"]
    assert (car.matched, car.wrong, car.missed) == (3, 1, 0)
    assert found.metrics()["AP50"] == pytest.approx(scores.cityscapes.ap50)
    assert scores.agnostic.ar100 > 0.5
    content = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert content["scores"]["cityscapes"]["ap"] == pytest.approx(scores.cityscapes.ap)
    assert content["scores"]["cityscapes_by_class"]["bus"]["ap"] is None
    page = (tmp_path / "out" / "report.html").read_text()
    for title in ("By class", "By size", "Worst frames", "aachen_000001", "infer"):
        assert title in page
    assert any("depth" in note for note in notes(found))
    assert len(terminal_tables(found)) == 2


def test_cities_and_limit(street):
    assert [f.place for f in chosen_frames(street)] == ["aachen", "aachen"]
    assert [f.place for f in chosen_frames(street, "all")] == ["aachen", "aachen", "zurich"]
    assert [f.name for f in chosen_frames(street, "zurich, nowhere")] == ["zurich_000000_000019"]
    assert [f.place for f in chosen_frames(street, "all", limit=2)] == ["aachen", "zurich"]
    with pytest.raises(DatasetError, match="zurich"):
        chosen_frames(street, "nowhere")


def test_oracle_rows(street, tmp_path):
    """A network that sees no object finds all with true maps."""
    blind = write_instance_model(tmp_path / "blind", "cascade_gaec", parameters={"min_area": 32})
    for picture in (street / "leftImg8bit").rglob("*.png"):
        cv2.imwrite(str(picture), np.full((64, 128, 3), 10, np.uint8))
    found = evaluate_instances(
        load(blind), street, oracles=("affinity", "semantic", "ranking"), out=tmp_path / "out", progress=False
    )
    rows = {variant.name: scores for variant, scores in found.oracles}
    assert len(rows) == 7
    assert found.scores.ap == (0, 0)
    assert rows["true affinity"].ap == (0, 0)  # everything is background
    assert rows["true semantic and affinity"].ap[1] == pytest.approx(1)
    assert rows["true semantic and affinity and ranking"].ap[0] >= rows["true semantic and affinity"].ap[0]
    assert "AP, true semantic and affinity" in found.metrics()
    assert "With true maps" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("method", ["coloring", "graph_merge", "cascade_gaec"])
def test_ablation_beside_the_paper(method, street, tmp_path):
    folder = write_instance_model(tmp_path / "m", method, parameters={"min_area": 32})
    found = evaluate_instances(load(folder), street, limit=1, ablation=True, out=tmp_path / "out", progress=False)
    assert len(found.ablation) == len(ablation_variants(ModelCard.load(folder / "card.yaml")))
    for variant, scores in found.ablation:
        assert (scores is None) == bool(variant.reason)
        assert variant.paper.ap is None or 10 < variant.paper.ap < 40
    rows = json.loads((tmp_path / "out" / "scores.json").read_text())["ablation"]
    assert any(row["paper"]["ap"] is not None and row["scores"] for row in rows)
    header = [column.header for column in terminal_tables(found)[-1].columns]
    assert header[-3:] == ["paper AP", "paper AP50", "paper's table"]


def test_what_has_no_ablation_or_oracle_is_named(tmp_path):
    card = ModelCard.load(write_instance_model(tmp_path / "m", "affinity_union") / "card.yaml")
    with pytest.raises(ConfigError, match="affinity_union"):
        ablation_variants(card)
    with pytest.raises(ConfigError, match="crystal"):
        oracle_variants(["crystal"])
    assert [v.oracles for v in oracle_variants(["ranking", "semantic"])] == [
        ("semantic",),
        ("ranking",),
        ("semantic", "ranking"),
    ]


def test_a_model_of_other_classes_is_scored_as_one(street, tmp_path):
    folder = write_instance_model(
        tmp_path / "m", "graph_merge", parameters={"min_area": 32}, classes=("thing", "other thing")
    )
    found = evaluate_instances(load(folder), street, out=tmp_path / "out", progress=False)
    assert found.scores.coco is None
    assert found.scores.agnostic.ap50 > 0.5
    assert found.scores.panoptic_by_class["object"].matched == 5
    assert found.scores.ap[1] == found.scores.agnostic.ap50
    assert "one class" in notes(found)[0]
    assert "AP" not in found.metrics()


def test_frames_of_two_sizes_have_coco_s_scores(street, model):
    image, truth = paint(OBJECTS, (128, 256))
    name = street / "leftImg8bit" / "val" / "aachen" / "aachen_000002_000019_leftImg8bit.png"
    cv2.imwrite(str(name), image)
    ids = np.array([7, 26000, 26001, 24000])[truth].astype(np.uint16)
    cv2.imwrite(str(street / "gtFine" / "val" / "aachen" / "aachen_000002_000019_gtFine_instanceIds.png"), ids)
    found = evaluate_instances(load(model), street, progress=False)
    assert found.scores.cityscapes is None
    assert found.scores.ap == (found.scores.coco.ap, found.scores.coco.ap50)
    assert "size" in notes(found)[0]


def test_distances_from_disparity(street):
    frame = next(f for f in read_gtfine(street) if f.name == "aachen_000000_000019")
    truth = frame.truth()
    assert instance_distances(frame, truth) is None
    codes = np.zeros(truth.instances.shape, np.uint16)
    person, first, second = 1, 2, 3  # in the order of their ids
    assert truth.class_ids.tolist() == [0, 2, 2]
    codes[truth.instances == first] = 256 * 22 + 1  # 22 px
    codes[truth.instances == second] = 1  # infinitely far
    codes[8:12][truth.instances[8:12] == person] = 256 * 50 + 1  # little of it
    for folder in ("disparity", "camera"):
        (street / folder / "val" / "aachen").mkdir(parents=True)
    disparity = street / "disparity" / "val" / "aachen" / f"{frame.name}_disparity.png"
    cv2.imwrite(str(disparity), codes)
    with pytest.raises(DatasetError, match="baseline"):
        instance_distances(frame, truth)
    camera = {"extrinsic": {"baseline": 0.22}, "intrinsic": {"fx": 2200.0}}
    (street / "camera" / "val" / "aachen" / f"{frame.name}_camera.json").write_text(json.dumps(camera))
    np.testing.assert_allclose(instance_distances(frame, truth), [np.nan, 22.0, np.inf])
    cv2.imwrite(str(disparity), codes[:-1])
    with pytest.raises(DatasetError, match="size"):
        instance_distances(frame, truth)


def run(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["rtseg", "evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_command_enters_scores_into_the_card(street, model, tmp_path, monkeypatch, capfd):
    arguments = ("--model", model, "--data", street, "--out", tmp_path / "out", "--write-card")
    assert run(monkeypatch, *arguments) == 0
    assert "by class" in capfd.readouterr().out
    card = ModelCard.load(model / "card.yaml")
    assert {score.metric for score in card.scores} >= {"AP", "AP50", "PQ", "class-agnostic AP"}
    first = card.scores[0]
    assert (first.metric, first.precision, first.file) == ("AP", "fp32", None)
    assert first.dataset == "street, held-out cities, 2 frames"
    assert first.command.startswith("rtseg evaluate --model")
    assert "--write-card" not in first.command
    assert run(monkeypatch, *arguments) == 0
    assert len(ModelCard.load(model / "card.yaml").scores) == len(card.scores)


def test_command_refuses_in_one_sentence(tmp_path, model, monkeypatch, capfd):
    assert run(monkeypatch, "--model", model) == 2
    assert "--data" in capfd.readouterr().err
    assert run(monkeypatch, "--model", model, "--data", tmp_path) == 2
    assert "Traceback" not in capfd.readouterr().err


def test_page_of_two_models(street, model, tmp_path):
    other = write_instance_model(tmp_path / "union", "affinity_union", parameters={"min_area": 32}, name="union")
    page = tmp_path / "docs" / "instances.md"
    command = ["instance-page", "--model", model, "--model", other, "--data", street, "--out", page.parent]
    answer = CliRunner().invoke(lab_app, list(map(str, command)))
    assert answer.exit_code == 0, answer.output
    text = page.read_text()
    for part in (
        "| blocks | 128x64 |",
        "## union",
        "GMIS: 34.1",
        "The networks ran on ",
        "### Ablation",
        "| car | 3 | 4 |",
        "true ranking",
    ):
        assert part in text, part
    assert text.count("### Ablation") == 1


def test_lane_models_are_refused(street, tmp_path):
    with pytest.raises(ConfigError, match="instance model"):
        evaluate_instances(load(write_threshold_model(tmp_path / "lanes")), street, progress=False)


@pytest.mark.slow
def test_real_frames(driving_data, tmp_path):
    folder = write_instance_model(tmp_path / "m", "coloring", width=640, height=320, parameters={"min_area": 16})
    found = evaluate_instances(
        load(folder),
        driving_data / "instances" / "cityscapes640",
        limit=2,
        oracles=("semantic", "affinity"),
        progress=False,
    )
    assert found.size == (640, 1280)
    assert sum(found.scores.true.values()) > 5
    best = found.oracles[-1][1]
    assert best.cityscapes_by_class["car"].ap50 > 0.3
