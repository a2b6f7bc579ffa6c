"""Instance scores against the benchmarks' own tools fed with files and masks, and against definitions written out."""

from __future__ import annotations

import contextlib
import io
import warnings
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from rtseg.errors import ConfigError, DatasetError
from rtseg.lab.scores.instances import cityscapes_ap as cityscapes_module
from rtseg.lab.scores.instances.cityscapes_ap import cityscapes_ap
from rtseg.lab.scores.instances.coco_ap import COCO_BANDS, EXEMPLAR_BANDS, SizeBands, coco_ap
from rtseg.lab.scores.instances.overlaps import Overlaps, ScoredTruth, overlaps
from rtseg.lab.scores.instances.panoptic import frame_quality, panoptic_quality
from rtseg.lab.scores.instances.tools import scoring_tool
from tests.lab.scores.instances.instance_scenes import CLASSES, SIZE, frame, scene

IDS = (24, 26, 33)  # Cityscapes' label ids of CLASSES
THRESHOLDS = np.arange(0.5, 0.96, 0.05)


@pytest.fixture
def tools():
    for module in ("cityscapesscripts", "pycocotools"):
        pytest.importorskip(module, reason=f"{module} is not installed")


def _instance_ids(truth: ScoredTruth) -> np.ndarray:
    kinds = np.append(0, truth.class_ids)[truth.labels]
    ids = np.where(truth.labels > 0, 1000 * np.array(IDS)[kinds] + truth.labels, 7)
    crowd = np.isin(truth.ignored, (1, 2, 3))
    ids[crowd] = np.array(IDS)[truth.ignored[crowd] - 1]
    ids[truth.ignored == 255] = 4
    return ids


@pytest.mark.parametrize("first", [0, 40])
def test_cityscapes_equals_its_script_on_files(first, tools, tmp_path, monkeypatch):
    """The benchmark's way: an instanceIds PNG, a text file and a mask an instance for every frame."""
    script = scoring_tool("cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling")
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)  # the script's matching is older than NumPy 2.4
    monkeypatch.setattr(cityscapes_module, "FULL_PIXELS", SIZE[0] * SIZE[1] * 2)
    monkeypatch.chdir(tmp_path)
    frames, predictions, truths = [], [], []
    for seed in range(first, first + 12):
        truth, labels, classes, scores = scene(seed)
        frames.append(overlaps(str(seed), truth, labels, classes, scores, len(CLASSES)))
        truths.append(str(tmp_path / f"{seed}_instanceIds.png"))
        cv2.imwrite(truths[-1], _instance_ids(truth).astype(np.uint16))
        lines = []
        for i, (c, score) in enumerate(zip(classes, scores, strict=True)):
            cv2.imwrite(str(tmp_path / f"{seed}_{i}.png"), (labels == i + 1).astype(np.uint8) * 255)
            lines.append(f"{seed}_{i}.png {IDS[c]} {score}")
        predictions.append(str(tmp_path / f"{seed}.txt"))
        (tmp_path / f"{seed}.txt").write_text("\n".join(lines) + "\n" if lines else "")
    settings = SimpleNamespace(**vars(script.args))
    settings.quiet, settings.JSONOutput, settings.predictionPath = True, False, str(tmp_path)
    settings.gtInstancesFile = str(tmp_path / "gtInstances.json")
    settings.minRegionSizes = settings.minRegionSizes / 2
    # Its evaluateImgLists does this and then writes a file, which fails for NumPy's integers.
    script.setInstanceLabels(settings)
    instances = script.getGtInstances(truths, settings)
    matches = script.matchGtWithPreds(predictions, truths, instances, settings)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # five of its eight classes are not there
        wanted = script.computeAverages(script.evaluateMatches(matches, settings), settings)
    mean, by_class = cityscapes_ap(frames, CLASSES)
    assert mean.ap == pytest.approx(wanted["allAp"])
    assert mean.ap50 == pytest.approx(wanted["allAp50%"])
    assert 0.05 < mean.ap < 0.95
    for name, score in by_class.items():
        assert score.ap == pytest.approx(wanted["classes"][name]["ap"], nan_ok=True)
        assert score.ap50 == pytest.approx(wanted["classes"][name]["ap50%"], nan_ok=True)
    assert mean.ap50m is None


def _cityscapes_by_definition(frames: list[Overlaps], c: int, threshold: float) -> float:
    """AP of one class at one IoU; labels are disjoint, so that over .5 at most one of each matches."""
    found: list[tuple[float, bool]] = []
    count = 0
    for f in frames:
        rows, columns = np.flatnonzero(f.classes == c), np.flatnonzero(f.true_classes == c)
        count += len(columns)
        for i in rows:
            matches = any(f.both[i, j] / (f.areas[i] + f.true_areas[j] - f.both[i, j]) > threshold for j in columns)
            hidden = (f.void[i] + f.crowd[i, c]) / f.areas[i] > threshold
            if matches or not hidden:
                found.append((f.scores[i], matches))
    if not count:
        return float("nan")
    points = []
    for level in sorted({score for score, _ in found}):
        kept = [hit for score, hit in found if score >= level]
        points.append((sum(kept) / count, sum(kept) / len(kept)))
    recalls = [points[0][0] if points else 0.0, *(r for r, _ in points), 0.0, 0.0]
    precisions = [p for _, p in points] + [1.0]
    return sum(p * 0.5 * (recalls[i] - recalls[i + 2]) for i, p in enumerate(precisions))


@pytest.mark.parametrize("first", range(0, 60, 12))
def test_cityscapes_equals_its_definition(first, tools):
    frames = [frame(seed) for seed in range(first, first + 6)]
    _, by_class = cityscapes_ap(frames, CLASSES)
    for c, name in enumerate(CLASSES):
        values = [_cityscapes_by_definition(frames, c, threshold) for threshold in THRESHOLDS]
        assert by_class[name].ap == pytest.approx(np.mean(values), nan_ok=True)


def _coco_on_masks(scenes: list, bands: SizeBands, agnostic: bool) -> list[float]:
    """pycocotools fed with run-length masks of everything, through its own front door."""
    mask = scoring_tool("pycocotools.mask")
    coco = scoring_tool("pycocotools.coco")
    tool = scoring_tool("pycocotools.cocoeval")
    truths, found = [], []

    def entry(target: list, image: int, c: int, pixels: np.ndarray, **more: object) -> None:
        code = mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
        base = {"id": len(target) + 1, "image_id": image, "category_id": c, "segmentation": code}
        target.append(base | {"area": float(pixels.sum()), "bbox": [0, 0, 1, 1], "iscrowd": 0} | more)

    for image, (truth, labels, classes, scores) in enumerate(scenes):
        for j, c in enumerate(truth.class_ids):
            if (truth.labels == j + 1).any():
                entry(truths, image, 0 if agnostic else int(c), truth.labels == j + 1)
        for c in range(1 if agnostic else len(CLASSES)):
            crowd = truth.ignored > 0 if agnostic else np.isin(truth.ignored, (c + 1, 255))
            if crowd.any():
                entry(truths, image, c, crowd, iscrowd=1)
        for i, (c, score) in enumerate(zip(classes, scores, strict=True)):
            if (labels == i + 1).any():
                entry(found, image, 0 if agnostic else int(c), labels == i + 1, score=float(score))
    reference, detected = coco.COCO(), coco.COCO()
    categories = [{"id": c} for c in range(1 if agnostic else len(CLASSES))]
    for target, entries in ((reference, truths), (detected, found)):
        images = [{"id": i, "height": SIZE[0], "width": SIZE[1]} for i in range(len(scenes))]
        target.dataset = {"images": images, "annotations": entries, "categories": categories}
        with contextlib.redirect_stdout(io.StringIO()):
            target.createIndex()
    evaluation = tool.COCOeval(reference, detected, "segm")
    edges = [0, bands.medium**2, bands.large**2, 1e10]
    evaluation.params.areaRng = [[0, 1e10], *([edges[i], edges[i + 1]] for i in range(3))]
    if bands.threshold is not None:
        evaluation.params.iouThrs = np.array([bands.threshold])
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"]
    recall = evaluation.eval["recall"]
    pick = [precision[:, :, :, band, -1] for band in range(4)] + [recall[:, :, 0, limit] for limit in range(3)]
    return [float(values[values > -1].mean()) if (values > -1).any() else float("nan") for values in pick]


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("bands", [SizeBands(8, 16), SizeBands(8, 16, 0.5)])
def test_coco_equals_pycocotools_on_masks(agnostic, bands, tools):
    scenes = [scene(seed) for seed in range(100, 116)]
    frames = [overlaps("f", *one, len(CLASSES)) for one in scenes]
    if agnostic:
        frames = [f.class_agnostic() for f in frames]
    got, by_class = coco_ap(frames, ("object",) if agnostic else CLASSES, bands)
    everything, small, medium, large, *recalls = _coco_on_masks(scenes, bands, agnostic)
    assert [got.small, got.medium, got.large] == pytest.approx([small, medium, large], nan_ok=True)
    if bands.threshold is None:
        assert [got.ap, got.ar1, got.ar10, got.ar100] == pytest.approx([everything, *recalls])
        assert 0.05 < got.ap < got.ap50 < 0.95
    else:
        assert got.ap50 == pytest.approx(everything)
    assert np.nanmean([score.ap for score in by_class.values()]) == pytest.approx(got.ap)


def test_panoptic_quality_equals_the_cityscapes_script(tools, tmp_path):
    script = scoring_tool("cityscapesscripts.evaluation.evalPanopticSemanticLabeling")
    pairs, frames = [], []
    for seed in range(200, 220):
        truth, labels, classes, scores = scene(seed)
        labels = np.where(labels > 0, labels, len(classes) + 1)  # its pictures know no void in what is found
        classes, scores = np.append(classes, 0).astype(np.int32), np.append(scores, 0.5)
        frames.append(overlaps(str(seed), truth, labels, classes, scores, len(CLASSES)))
        ids = np.where(truth.labels > 0, truth.labels, np.where(truth.ignored == 255, 0, 99))
        crowd = np.isin(truth.ignored, (1, 2, 3))
        ids[crowd] = 100 + truth.ignored[crowd]
        segments = {99: (7, 0), **{j + 1: (int(c), 0) for j, c in enumerate(truth.class_ids)}}
        segments |= {100 + c: (c - 1, 1) for c in (1, 2, 3)}
        names = []
        for name, picture in (("t", ids), ("p", labels)):
            names.append(f"{name}{seed}.png")
            picture = np.stack([np.zeros_like(picture), picture // 256, picture % 256], axis=-1)
            cv2.imwrite(str(tmp_path / names[-1]), picture.astype(np.uint8))
        present = set(np.unique(ids).tolist()) - {0}
        listed = [
            {"id": i, "category_id": segments[i][0], "iscrowd": segments[i][1], "area": int((ids == i).sum())}
            for i in sorted(present)
        ]
        found = [{"id": i, "category_id": int(classes[i - 1])} for i in sorted(set(np.unique(labels).tolist()) - {0})]
        pairs.append(
            (
                {"image_id": seed, "file_name": names[0], "segments_info": listed},
                {"image_id": seed, "file_name": names[1], "segments_info": found},
            )
        )
    categories = {c: {"isthing": 1} for c in range(3)} | {7: {"isthing": 0}}
    statistics = script.pq_compute_single_core(0, pairs, str(tmp_path), str(tmp_path), categories)
    wanted, by_class = statistics.pq_average(categories, isthing=True)
    mean, scores_by_class = panoptic_quality(frames, CLASSES)
    assert mean == pytest.approx(wanted["pq"])
    assert 0.05 < mean < 0.95
    for c, name in enumerate(CLASSES):
        score = scores_by_class[name]
        assert (score.matched, score.wrong, score.missed) == (statistics[c].tp, statistics[c].fp, statistics[c].fn)
        assert score.quality == pytest.approx(by_class[c]["pq"])
        assert score.segmentation == pytest.approx(by_class[c]["sq"])
        assert score.recognition == pytest.approx(by_class[c]["rq"])


def _truth(labels: np.ndarray, kinds: list[int], ignored: np.ndarray | None = None) -> ScoredTruth:
    hidden = np.zeros(labels.shape, np.uint8) if ignored is None else ignored
    return ScoredTruth(labels.astype(np.int32), np.array(kinds, np.int32), hidden.astype(np.uint8))


def _scores(truth: ScoredTruth, labels: np.ndarray, kinds: list[int], certain: list[float]) -> tuple[float, ...]:
    found = overlaps("f", truth, labels.astype(np.int32), np.array(kinds, np.int32), np.array(certain), 2)
    names = ("person", "car")
    return cityscapes_ap([found], names)[0].ap, coco_ap([found], names)[0].ap, panoptic_quality([found], names)[0]


LEFT = np.zeros((32, 64), np.int32)
LEFT[4:20, 4:30] = 1
NOTHING = np.zeros_like(LEFT)


def test_perfect(tools):
    assert _scores(_truth(LEFT, [1]), LEFT, [1], [0.3]) == pytest.approx((1, 1, 1))


def test_nothing_found(tools):
    assert _scores(_truth(LEFT, [1]), NOTHING, [], []) == (0, 0, 0)


def test_nothing_there(tools):
    assert np.isnan(_scores(_truth(NOTHING, []), NOTHING, [], [])).all()
    ap, coco, pq = _scores(_truth(NOTHING, []), LEFT, [1], [0.5])
    assert np.isnan([ap, coco]).all()
    assert pq == 0


def test_wrong_class(tools):
    assert _scores(_truth(LEFT, [1]), LEFT, [0], [0.9])[:2] == (0, 0)


def test_all_ignored(tools):
    """What is found in void or in a crowd of its class is no mistake, whatever it is like."""
    for value in (255, 2):
        ignored = np.full(LEFT.shape, value)
        assert np.isnan(_scores(_truth(NOTHING, [], ignored), LEFT, [1], [0.5])).all()
    assert _scores(_truth(NOTHING, [], np.full(LEFT.shape, 1)), LEFT, [1], [0.5])[2] == 0  # a crowd of another class


def test_a_doubled_prediction_costs(tools):
    """Half of an object found twice: labels cannot overlap, so the doubles are its two halves, one over half."""
    halves = LEFT.copy()
    halves[4:8, 4:30] = 2
    sure = _scores(_truth(LEFT, [1]), halves, [1, 1], [0.2, 0.9])
    unsure = _scores(_truth(LEFT, [1]), halves, [1, 1], [0.9, 0.2])
    assert sure[0] < unsure[0]
    assert sure[1] < unsure[1]
    assert sure[2] == unsure[2] == pytest.approx(0.75 / 1.5)


def test_tied_scores_do_not_depend_on_order(tools):
    both = LEFT + 2 * np.roll(LEFT, 32, axis=1)
    swapped = np.where(both == 1, 2, np.where(both == 2, 1, 0))
    truth = _truth(LEFT, [1])
    assert _scores(truth, both, [1, 1], [0.5, 0.5])[::2] == pytest.approx(
        _scores(truth, swapped, [1, 1], [0.5, 0.5])[::2]
    )


def test_one_pixel_and_three_hundred_instances(tools):
    many = np.zeros((60, 80), np.int32)
    many[1::4, 1::4] = np.arange(1, 301).reshape(15, 20)
    certain = np.linspace(0.1, 0.9, 300).tolist()
    ap, coco, pq = _scores(_truth(many, [1] * 300), many, [1] * 300, certain)
    assert (ap, pq) == pytest.approx((1, 1))
    assert coco == pytest.approx(34 / 101)  # the 100 most certain count: a third of the recall


def test_small_instances_are_ignored_by_the_frame_s_size(tools):
    truth = np.zeros((1024, 2048), np.int32)
    truth[:10, :8], truth[100:200, 100:200] = 1, 2
    missed = np.where(truth == 2, 1, 0)
    assert _scores(_truth(truth, [1, 1]), missed, [1], [0.5])[0] == pytest.approx(1)
    assert _scores(_truth(truth[::2, ::2], [1, 1]), missed[::2, ::2], [1], [0.5])[0] == pytest.approx(1)
    truth[:10, :11] = 1
    assert _scores(_truth(truth, [1, 1]), missed, [1], [0.5])[0] == pytest.approx(0.5)


def test_distances(tools):
    labels = np.zeros((64, 128), np.int32)
    labels[:20, :20], labels[30:50, :20], labels[:20, 60:80] = 1, 2, 3
    distances = np.array([20.0, 80.0, np.nan])
    truth = ScoredTruth(labels, np.ones(3, np.int32), np.zeros(labels.shape, np.uint8), distances)
    near = np.where(labels == 1, 1, 0).astype(np.int32)
    found = overlaps("f", truth, near, np.ones(1, np.int32), np.array([0.9]), 2)
    mean, by_class = cityscapes_ap([found], ("person", "car"))
    assert mean.ap == pytest.approx(1 / 3)
    assert mean.ap100m == pytest.approx(1 / 2)
    assert mean.ap50m == by_class["car"].ap50m == pytest.approx(1)


def test_frame_quality_leaves_empty_frames_open(tools):
    empty = overlaps("f", _truth(NOTHING, []), NOTHING, np.zeros(0, np.int32), np.zeros(0), 2)
    assert np.isnan(frame_quality(empty))


def test_bands_of_the_exemplar_paper():
    assert (EXEMPLAR_BANDS.medium, EXEMPLAR_BANDS.large, EXEMPLAR_BANDS.threshold) == (64, 192, 0.5)
    assert (COCO_BANDS.medium, COCO_BANDS.large, COCO_BANDS.threshold) == (32, 96, None)


def test_frames_of_two_sizes_are_refused():
    small = overlaps("f", _truth(NOTHING, []), NOTHING, np.zeros(0, np.int32), np.zeros(0), 2)
    large = overlaps("g", _truth(LEFT[:16], [1]), LEFT[:16], np.zeros(1, np.int32), np.ones(1), 2)
    with pytest.raises(DatasetError, match="one size"):
        cityscapes_ap([small, large], ("person", "car"))
    with pytest.raises(DatasetError, match="one size"):
        cityscapes_ap([], ("person", "car"))


def test_a_missing_tool_is_named():
    with pytest.raises(ConfigError, match=r"rtseg\[scores\]"):
        scoring_tool("no_such_benchmark.evaluation")


def test_a_class_of_which_nothing_found_counts_has_no_precision(tools) -> None:
    """A missed object, and a prediction that lies on void: the benchmark's own code fails on its empty curve."""
    labels, ignored = np.zeros((2, *SIZE), np.int32)
    labels[:20, :20] = 1
    ignored[30:, :] = 255
    truth = ScoredTruth(labels, np.array([0], np.int32), ignored.astype(np.uint8))
    found = np.zeros(SIZE, np.int32)
    found[32:44, 5:40] = 1
    one = overlaps("0", truth, found, np.array([0], np.int32), np.array([0.9]), len(CLASSES))
    sound = [frame(seed) for seed in range(6)]
    mean, scores = cityscapes_ap([one], CLASSES)
    assert scores["person"].ap == scores["person"].ap50 == mean.ap == 0
    assert np.isnan(scores["car"].ap)
    for frames in ([one], [one, *sound], sound):
        tool = scoring_tool("cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling")
        settings = SimpleNamespace(**vars(tool.args))
        settings.instLabels, settings.distanceAvailable = list(CLASSES), False
        matches = {str(i): cityscapes_module._matches(each, CLASSES) for i, each in enumerate(frames)}
        ours = cityscapes_module._evaluate(tool, matches, settings)
        with contextlib.suppress(IndexError):
            np.testing.assert_array_equal(ours, tool.evaluateMatches(matches, settings))
