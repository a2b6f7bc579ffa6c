"""From pictures and keywords to labels, through every stage, and the ablation on top."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from rtseg.errors import MediaError, WeakSupervisionError
from rtseg.lab.data.instance_folders import instance_frames
from rtseg.lab.weak.annotations import load_annotations
from rtseg.lab.weak.compare.ablation import AblationRow
from rtseg.lab.weak.compare.ablation_run import run_ablation
from rtseg.lab.weak.compare.trial import TrialSettings
from rtseg.lab.weak.keywords.attention import AttentionSettings
from rtseg.lab.weak.keywords.features import FeatureSettings
from rtseg.lab.weak.keywords.fitting import FitSettings
from rtseg.lab.weak.keywords.label import LabelRun, LabelSettings, extract_frames, label
from rtseg.lab.weak.keywords.proposal_stage import build_proposals
from rtseg.lab.weak.label_report import left_out, write_label_report
from rtseg.lab.weak.proposals import Found, FrameFile, ProposalSource, open_proposals
from tests.browser import BROWSER, NONE_HERE, violations
from tests.lab.weak.shapes import CLASSES, draw_shapes, keywords_of, write_shapes

COUNT = 12
SETTINGS = LabelSettings(
    attention=AttentionSettings((64, 128), FitSettings(epochs=1, batch=4, backbone_rate=0.0)),
    features=FeatureSettings(side=32, fit=FitSettings(epochs=0)),
    retention=0.9,
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    write_shapes(folder, COUNT)
    entries = {f"shape_{i:03d}.png": keywords_of(draw_shapes(i)[1]) for i in range(COUNT)}
    entries["shape_010.png"] = []  # said to show nothing
    del entries["shape_011.png"]  # not spoken of
    entries["elsewhere.png"] = ["ball"]
    (folder / "keywords.yaml").write_text(yaml.safe_dump({"classes": [*CLASSES, "unicorn"], "images": entries}))
    return folder


def _label(shapes: Path, out: Path, settings: LabelSettings = SETTINGS) -> LabelRun:
    return label(shapes / "images", shapes / "keywords.yaml", out, open_proposals(shapes / "instances.json"), settings)


@pytest.fixture(scope="module")
def run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> LabelRun:
    return _label(shapes, tmp_path_factory.mktemp("run"))


def test_labels_are_a_data_set_for_training(run: LabelRun) -> None:
    frames = instance_frames([run.labels])
    assert [frame.name for frame in frames] == [f"shape_{i:03d}.png" for i in range(11)]
    assert frames[0].classes == (*CLASSES, "unicorn")
    for i, frame in enumerate(frames[:10]):
        image, truth = draw_shapes(i)
        np.testing.assert_array_equal(frame.image(), image)
        labels = frame.truth()
        # Proposals were the true masks: each label is one of them, with one of the picture's keywords.
        for number, kind in enumerate(labels.class_ids.tolist(), 1):
            true = np.unique(truth.instances[labels.instances == number])
            assert true.size == 1
            assert true[0] > 0
            assert frame.classes[kind] in keywords_of(truth)
    assert len(frames[10].truth()) == 0


def test_one_keyword_leaves_no_doubt(run: LabelRun) -> None:
    for i, frame in enumerate(instance_frames([run.labels])[:10]):
        truth = draw_shapes(i)[1]
        if len(set(truth.class_ids.tolist())) == 1:
            assert set(frame.truth().class_ids.tolist()) <= set(truth.class_ids.tolist())


def test_retention_and_rejections(run: LabelRun) -> None:
    summary = run.stages["tags"].summary
    assert summary["rejected"] == summary["instances"] - int(0.9 * summary["instances"])
    rejected = json.loads((run.labels / "rejected.json").read_text())
    assert len(rejected["annotations"]) == summary["rejected"]
    assert summary["objective"] <= summary["bound"]


def test_what_was_left_out_is_said(run: LabelRun) -> None:
    notes = "\n".join(left_out(run))
    assert "frames without an entry in the keyword file (1)" in notes
    assert "elsewhere.png" in notes
    assert "no frame shows unicorn" in notes
    assert "instances rejected as noise" in notes
    page = write_label_report(run, "shapes").read_text()
    assert "elsewhere.png" in page
    assert page.count("data:image/jpeg") >= 4
    assert len(page) < 10_000_000


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason=NONE_HERE)
@pytest.mark.parametrize(("width", "dark"), [(500, True), (800, False), (1280, False)])
def test_in_a_browser_nothing_in_the_report_breaks_wcag(run: LabelRun, width: int, dark: bool, tmp_path: Path) -> None:
    ablation = [AblationRow(name, 0.8, 0.7, 0.6, np.nan, 0.5, 12, 9, (56.4, 61.3)) for name in ("random", "regions")]
    page = write_label_report(run, "shapes", ablation)
    assert violations(page, tmp_path / "profile", width, dark) == []


def test_every_stage_leaves_something_to_look_at(run: LabelRun) -> None:
    for name, product in (
        ("frames", "keywords.csv"),
        ("proposals", "proposals.json"),
        ("keywords", "keywords.json"),
        ("attention", "model.safetensors"),
        ("probabilities", "probabilities.npz"),
        ("features", "features.npz"),
        ("tags", "tags.npz"),
        ("labels", "sheets/rejected.jpg"),
    ):
        assert (run.stages[name].folder / product).is_file()
    assert list((run.stages["probabilities"].folder / "attention").glob("*.jpg"))


def test_a_second_run_takes_everything_from_disk_and_a_change_only_what_it_must(shapes: Path, run: LabelRun) -> None:
    again = _label(shapes, run.out)
    assert all(stage.reused for stage in again.stages.values())
    changed = _label(shapes, run.out, replace(SETTINGS, beta=3.0))
    assert [name for name, stage in changed.stages.items() if not stage.reused][:1] == ["tags"]
    # Back to the first settings: the same labels as before, to the byte.
    assert _label(shapes, run.out).stages["labels"].digest == run.stages["labels"].digest


def test_a_lost_product_is_made_again(shapes: Path, run: LabelRun, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(run.out, out)
    (out / "02-proposals" / "proposals.json").write_text("{}")
    again = _label(shapes, out)
    assert not again.stages["proposals"].reused
    assert again.stages["attention"].reused
    assert again.stages["tags"].digest == run.stages["tags"].digest


def test_proposals_go_on_where_they_were_interrupted(tmp_path: Path) -> None:
    frames = [FrameFile(Path(f"{i:03d}.png"), (4, 4)) for i in range(70)]
    asked: list[str] = []

    def find(frame: FrameFile) -> list[Found]:
        asked.append(frame.name)
        if len(asked) == 40:
            raise KeyboardInterrupt
        return [Found(np.eye(4, dtype=np.bool_), 0.5)] * (int(frame.path.stem) % 3)

    source = ProposalSource("eyes", "", find)
    with pytest.raises(KeyboardInterrupt):
        build_proposals(frames, source, 1, tmp_path, lambda done, total: None)
    del asked[:39]
    steps: list[int] = []
    summary = build_proposals(frames, source, 1, tmp_path, lambda done, total: steps.append(done))
    assert asked[1:] == [frame.name for frame in frames[32:]]
    assert steps == list(range(33, 71))
    found = load_annotations(tmp_path / "proposals.json")[0]
    assert found.names == tuple(frame.name for frame in frames)
    assert found.frames.tolist() == [i for i in range(70) for _ in range(i % 3)]
    assert summary == {"source": "eyes", "instances": 69, "left_out": {"frames without an instance": 24}}
    assert [path.name for path in tmp_path.iterdir()] == ["proposals.json"]


def test_frames_alone_give_a_keyword_file_to_fill_in(shapes: Path, tmp_path: Path) -> None:
    stage = extract_frames(shapes / "images", tmp_path, replace(SETTINGS, every=5))
    lines = (stage.folder / "keywords.csv").read_text().splitlines()
    assert lines == ["image,keywords", "shape_000.png,", "shape_005.png,", "shape_010.png,"]


@pytest.mark.slow
def test_ablation_on_a_labelled_set(shapes: Path, tmp_path: Path) -> None:
    trial = TrialSettings(frames=8, crop=(64, 96), min_area=100, false_share=0.3)
    run, rows = run_ablation(shapes / "instances.json", tmp_path, "truth", trial, SETTINGS)
    assert [row.method for row in rows][::3] == ["random", "graph partition", "regions, graph partition"]
    by_name = {row.method: row for row in rows}
    assert by_name["attention"].rejected == 0
    assert by_name["regions, graph partition + filtering"].rejected == run.stages["tags"].summary["rejected"] > 0
    assert by_name["graph partition"].objects >= by_name["random"].objects
    assert (tmp_path / "00-trial" / "truth.json").is_file()


def test_bad_input_is_one_sentence(shapes: Path, tmp_path: Path) -> None:
    source = open_proposals(shapes / "instances.json")
    with pytest.raises(MediaError, match="does not exist"):
        label(tmp_path / "nowhere", shapes / "keywords.yaml", tmp_path / "a", source)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.png").write_bytes(b"no picture")
    with pytest.raises(WeakSupervisionError, match="expected frames to label in broken, got none"):
        label(broken, shapes / "keywords.yaml", tmp_path / "b", source)
    strangers = tmp_path / "strangers.yaml"
    strangers.write_text("other.png: [ball]\n")
    with pytest.raises(WeakSupervisionError, match="none fits"):
        label(shapes / "images", strangers, tmp_path / "c", source, SETTINGS)
    masks = tmp_path / "masks"
    masks.mkdir()
    cv2.imwrite(str(masks / "shape_000.png"), np.zeros((64, 128), np.uint8))
    with pytest.raises(WeakSupervisionError, match=r"instances from .* got none: frames without an instance \(12\);"):
        label(shapes / "images", shapes / "keywords.yaml", tmp_path / "c", open_proposals(masks), SETTINGS)
    cv2.imwrite(str(masks / "shape_010.png"), np.ones((64, 128), np.uint8))  # on the frame that shows nothing
    with pytest.raises(WeakSupervisionError, match="expected instances on the frames that have keywords"):
        label(shapes / "images", shapes / "keywords.yaml", tmp_path / "c", open_proposals(masks), SETTINGS)
    with pytest.raises(WeakSupervisionError, match="retention ratio in"):
        _label(shapes, tmp_path / "d", replace(SETTINGS, retention=1.5))
