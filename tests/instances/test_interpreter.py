"""Instance models of every family through real networks whose right answer is known: see tests/instance_networks.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rtseg.errors import GroupingError, ModelError
from rtseg.frame import Frame
from rtseg.instances import interpreter as instance_interpreter
from rtseg.instances.methods import METHODS
from rtseg.instances.methods.warm_up import warm_up_maps
from rtseg.instances.mirror import mirrored_channels
from rtseg.loading import load
from rtseg.ops import region_statistics
from rtseg.results import Instances
from rtseg.runtime.backends import create_backend
from rtseg.runtime.backends.flip import FlipBackend
from rtseg.runtime.interpreter import interpret
from rtseg.runtime.latency import StageClock
from rtseg.runtime.models import find_model
from tests.compiled import compiled_signatures
from tests.instance_networks import CLASSES, FAMILIES, paint, write_instance_model

FRAME = 33_333_333
# Two people side by side, a car, and a person in front of another car.
SCENE = [(0, 0, (8, 8, 32, 40)), (0, 1, (32, 8, 56, 40)), (1, 2, (64, 32, 80, 56)), (1, 0, (88, 8, 120, 56))]
SCENE.append((0, 2, (104, 24, 120, 56)))

ModelFolder = Callable[..., Path]


@pytest.fixture
def instance_model(tmp_path: Path) -> ModelFolder:
    """Write a model of a grouping method; further arguments as in `write_instance_model`."""

    def write(method: str = "coloring", **arguments: Any) -> Path:
        return write_instance_model(tmp_path / method, method, **arguments)

    return write


def _overlap(truth: np.ndarray, found: Instances) -> np.ndarray:
    """(objects, instances) intersection over union."""
    names = range(1, int(truth.max()) + 1)
    masks = [found.labels == i + 1 for i in range(len(found))]
    return np.array(
        [[((truth == n) & m).sum() / max(1, ((truth == n) | m).sum()) for m in masks] for n in names]
    ).reshape(len(names), len(masks))


def _check(found: Instances, shape: tuple[int, int]) -> None:
    """What holds of every result."""
    n = len(found)
    assert found.labels.shape == shape
    assert found.labels.dtype == np.int32
    assert set(np.unique(found.labels)) - {0} == set(range(1, n + 1))
    statistics = region_statistics(found.labels, n)
    np.testing.assert_array_equal(found.areas, statistics.areas)
    np.testing.assert_array_equal(found.boxes, statistics.boxes)
    np.testing.assert_allclose(found.centers, statistics.centers, rtol=1e-5)
    dtypes = (found.ids, np.int32), (found.class_ids, np.int32), (found.scores, np.float32), (found.areas, np.int64)
    for values, dtype in (*dtypes, (found.boxes, np.float32), (found.centers, np.float32)):
        assert values.dtype == dtype
        assert len(values) == n
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert len(set(found.ids.tolist())) == n
    assert ((found.class_ids >= 0) & (found.class_ids < len(CLASSES))).all()
    assert list(found.times) == ["preprocess", "infer", "group", "describe", "track"]


@pytest.mark.parametrize("method", FAMILIES)
@pytest.mark.parametrize("scale", [1, 3])
def test_objects_are_found_where_they_were_painted(instance_model: ModelFolder, method: str, scale: int) -> None:
    image, truth = paint(SCENE)
    size = image.shape[1] * scale, image.shape[0] * scale
    image, truth = (cv2.resize(a, size, interpolation=cv2.INTER_NEAREST) for a in (image, truth))
    found = load(instance_model(method))(Frame(image, stamp=7, frame_id="front"))
    assert isinstance(found, Instances)
    assert (found.stamp, found.frame_id) == (7, "front")
    _check(found, image.shape[:2])
    overlap = _overlap(truth, found)
    assert overlap.shape[1] == len(SCENE)
    assert overlap.max(axis=1).min() > 0.75
    assert found.class_ids[overlap.argmax(axis=1)].tolist() == [kind for kind, _, _ in SCENE]


@pytest.mark.parametrize("method", FAMILIES)
def test_an_empty_image_gives_nothing_in_the_right_shapes(instance_model: ModelFolder, method: str) -> None:
    found = load(instance_model(method))(np.zeros((50, 90, 3), np.uint8))
    _check(found, (50, 90))
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.centers.shape == (0, 2)


@pytest.mark.parametrize("method", FAMILIES)
def test_after_the_warm_up_nothing_is_compiled_any_more(instance_model: ModelFolder, method: str) -> None:
    pipeline = load(instance_model(method))
    pipeline.warm_up(64, 128)
    before = compiled_signatures()
    assert pipeline(paint([])[0]).ids.tolist() == []
    for step in range(3):
        pipeline(Frame(np.roll(paint(SCENE)[0], 2 * step, axis=1), stamp=(step + 1) * FRAME))
    assert compiled_signatures() == before


def test_segments_whose_predicted_centers_agree_are_one_instance(instance_model: ModelFolder) -> None:
    # The network of shared centers lets every pixel of a level point to one place: 0, 64 and 128 px from the left.
    pieces = [(1, 0, (8, 20, 80, 44)), (0, 2, (36, 4, 52, 60))]
    image, truth = paint(pieces)
    apart = load(instance_model())(image)
    assert len(apart) == 3
    assert sorted(apart.class_ids.tolist()) == [0, 1, 1]
    joined = load(instance_model(shared_centers=True))(image)
    assert len(joined) == 2
    assert _overlap(truth, joined).max(axis=1).min() > 0.8
    wide = load(instance_model(shared_centers=True, parameters={"merge_distance": 500.0}))(image)
    assert len(wide) == 1


def test_the_score_of_a_coloring_is_its_area(instance_model: ModelFolder) -> None:
    image, _ = paint([(0, 0, (8, 8, 28, 28)), (1, 0, (60, 8, 116, 56))])
    found = load(instance_model(parameters={"score_area": 800}))(image)
    np.testing.assert_allclose(np.sort(found.scores), [400 / 800, 1.0])
    # The same at another resolution of the camera: areas follow the image, scores do not.
    large = load(instance_model(parameters={"score_area": 800}))(np.kron(image, np.ones((2, 2, 1), np.uint8)))
    np.testing.assert_allclose(large.scores, found.scores)
    np.testing.assert_allclose(large.areas, 4 * found.areas, rtol=0.05)


def test_a_score_becomes_the_overlap_that_is_to_be_expected(instance_model: ModelFolder) -> None:
    image, _ = paint(SCENE)
    plain = load(instance_model("cascade_gaec"))(Frame(image))
    judged = load(instance_model("cascade_gaec", parameters={"quality": [2.0, 0.5, 0.4]}))(Frame(image))
    assert len(plain) == len(SCENE)
    assert isinstance(plain, Instances)
    assert isinstance(judged, Instances)
    np.testing.assert_array_equal(judged.labels, plain.labels)
    np.testing.assert_array_equal(judged.ids, plain.ids)
    for score, area, found in zip(plain.scores.tolist(), plain.areas.tolist(), judged.scores.tolist(), strict=True):
        sure = min(max(score, 0.001), 0.999)
        odds = math.exp(2.0) * (area / image[..., 0].size) ** 0.5 * (sure / (1 - sure)) ** 0.4
        assert found == pytest.approx(odds / (1 + odds), rel=1e-5)


def test_what_is_cut_in_two_is_joined_by_its_embedding(instance_model: ModelFolder) -> None:
    image, truth = paint([(1, 0, (8, 16, 112, 48)), (0, 2, (52, 0, 64, 64))])
    found = load(instance_model("cascade_gaec"))(image)
    assert len(found) == 2
    assert _overlap(truth, found).max(axis=1).min() > 0.8
    alone = load(instance_model("cascade_gaec", parameters={"position_threshold": 1.0}))(image)
    assert len(alone) == 3


@pytest.mark.parametrize("method", FAMILIES)
def test_small_ones_are_left_out(instance_model: ModelFolder, method: str) -> None:
    image, _ = paint([(0, 0, (8, 8, 16, 24)), (1, 0, (60, 8, 116, 56))])  # 128 and 2688 pixels of the network's input
    assert len(load(instance_model(method, parameters={"min_area": 100}))(image)) == 2
    found = load(instance_model(method, parameters={"min_area": 300}))(image)
    assert found.class_ids.tolist() == [1]


def test_of_too_many_the_largest_are_kept(instance_model: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_interpreter, "MAX_INSTANCES", 3)
    image, truth = paint(SCENE)
    found = load(instance_model("affinity_union"))(image)
    _check(found, image.shape[:2])
    largest = np.sort(np.bincount(truth[truth > 0])[1:])[-3:]
    np.testing.assert_allclose(np.sort(found.areas), largest, rtol=0.1)


def test_ids_stay_with_their_objects_until_reset(instance_model: ModelFolder) -> None:
    pipeline = load(instance_model())
    seen: list[dict[int, int]] = []
    for step in range(12):
        boxes = [(0, 0, (8 + 6 * step, 8, 24 + 6 * step, 32)), (1, 1, (100 - 6 * step, 40, 124 - 6 * step, 60))]
        found = pipeline(Frame(paint(boxes)[0], stamp=(step + 1) * FRAME))
        seen.append(dict(zip(found.class_ids.tolist(), found.ids.tolist(), strict=True)))
    assert all(frame == seen[0] for frame in seen)
    assert sorted(seen[0].values()) == [1, 2]
    pipeline(Frame(paint(SCENE)[0], stamp=20 * FRAME))
    pipeline.reset()
    assert sorted(pipeline(Frame(paint(SCENE)[0], stamp=21 * FRAME)).ids.tolist()) == [1, 2, 3, 4, 5]
    still = load(instance_model(parameters={"track": False}))
    for step in (0, 8):
        assert still(Frame(np.roll(paint(SCENE)[0], step, axis=1), step * FRAME)).ids.tolist() == [1, 2, 3, 4, 5]


def test_a_stream_gives_what_single_calls_give(instance_model: ModelFolder) -> None:
    frames = [Frame(np.roll(paint(SCENE)[0], 3 * i, axis=1), stamp=i * FRAME) for i in range(5)]
    pipeline = load(instance_model("graph_merge"))
    single = [pipeline(frame) for frame in frames]
    pipeline.reset()
    for one, other in zip(single, pipeline.stream(frames), strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.ids, other.ids)


BAD_PARAMETERS = [
    ("coloring", {"no_such": 1}, "grouping.parameters.no_such"),
    ("coloring", {"merge_distance": -1}, "merge_distance"),
    ("coloring", {"merge_distance": float("nan")}, "merge_distance"),
    ("coloring", {"score_area": 0}, "score_area"),
    ("coloring", {"min_area": 0}, "min_area"),
    ("coloring", {"connectivity": 6}, "connectivity"),
    ("coloring", {"flip": True}, "flip"),
    ("coloring", {"tracker": {"memory": -1}}, "tracker.memory"),
    ("coloring", {"tracker": {"patience": 1}}, "tracker.patience"),
    ("graph_merge", {"stages": [[[1, 2, 3], 0.9]]}, "stages"),
    ("graph_merge", {"stages": [[[1, 2], 1.5]]}, "stages"),
    ("graph_merge", {"super_classes": [["person"], ["lorry"]]}, "super_classes"),
    ("graph_merge", {"super_classes": [["person"]]}, "super_classes"),
    ("graph_merge", {"exclude_background": False}, "background"),
    ("cascade_gaec", {"background": "keep"}, "background"),
    ("cascade_gaec", {"threshold": 2.0}, "threshold"),
    ("affinity_union", {"superpixel_threshold": "high"}, "superpixel_threshold"),
]


@pytest.mark.parametrize(("method", "parameters", "named"), BAD_PARAMETERS, ids=lambda value: str(value)[:30])
def test_parameters_that_make_no_sense_are_told_by_name(
    instance_model: ModelFolder, method: str, parameters: dict[str, Any], named: str
) -> None:
    with pytest.raises(ModelError, match=rf"the card of blocks.*{named}"):
        load(instance_model(method, parameters=parameters))


def test_super_classes_are_given_by_name_or_channel(instance_model: ModelFolder) -> None:
    image, _ = paint(SCENE)
    for groups in ([["person"], ["car"]], [[1], [2]], [["person", "car"]]):
        assert len(load(instance_model("graph_merge", parameters={"super_classes": groups}))(image)) == len(SCENE)


def test_outputs_that_do_not_fit_the_method_are_told(instance_model: ModelFolder) -> None:
    outputs = [{"name": "semantic", "channels": 3, "stride": 4}, {"name": "affinity", "channels": 56, "stride": 4}]
    for wrong, message in (
        ({"outputs": outputs}, "colors"),
        ({"classes": ["person"]}, "semantic of 2 channels"),
        ({"classes": []}, "no classes"),
        ({"grouping": {"method": "cascade_gaec"}}, "kind affinity"),
    ):
        with pytest.raises(ModelError, match=message):
            load(instance_model(**wrong))


def _levels(*outputs: tuple[str, int, int]) -> list[dict[str, Any]]:
    return [
        {"name": f"{kind}_{i}", "kind": kind, "channels": channels, "stride": stride}
        for i, (kind, channels, stride) in enumerate(outputs)
    ]


@pytest.mark.parametrize(
    ("method", "outputs", "message"),
    [
        ("cascade_gaec", _levels(("semantic", 3, 4), ("affinity", 3, 4)), "3 channels, expected 2 or 4"),
        ("affinity_union", _levels(("semantic", 3, 4), ("affinity", 3, 4), ("embedding", 3, 4)), "expected 56"),
        ("affinity_union", _levels(("semantic", 3, 4), ("affinity", 2, 4)), "kind embedding"),
        ("affinity_union", _levels(("semantic", 3, 4), ("affinity", 2, 4), ("embedding", 3, 2)), "kind embedding"),
        *(
            (method, _levels(("semantic", 3, 4), ("affinity", 2, 4), *embeddings), "one embedding at stride 4")
            for method in ("cascade_gaec", "affinity_union")
            for embeddings in ([("embedding", 3, 6)], [("embedding", 3, 48)], [("embedding", 3, 8)] * 2)
        ),
    ],
)
def test_levels_that_do_not_fit_are_told(
    instance_model: ModelFolder, method: str, outputs: list[dict[str, Any]], message: str
) -> None:
    folder = instance_model(method, outputs=outputs, parameters={"position_threshold": 0.5})
    with pytest.raises(ModelError, match=message):
        instance_interpreter.InstanceInterpreter(find_model(folder).card)


@pytest.mark.parametrize("method", FAMILIES)
def test_maps_that_are_not_finite_are_a_typed_error_and_the_next_frame_is_fine(
    instance_model: ModelFolder, method: str
) -> None:
    model = find_model(instance_model(method))
    interpreter = instance_interpreter.InstanceInterpreter(model.card)
    frame = Frame(paint(SCENE)[0])
    good = warm_up_maps(model.card, METHODS[method].outputs)[0]
    for name in good:
        spoilt = {**good, name: np.where(good[name] > -1, np.float32(np.nan), 0).astype(np.float32)}
        with pytest.raises(GroupingError, match=r"expected .*"):
            interpret(interpreter, spoilt, frame, StageClock())
    assert len(interpret(interpreter, good, frame, StageClock())) >= 1


def test_flip_inference_averages_maps_that_fit_each_other(instance_model: ModelFolder) -> None:
    # The networks know left from right only by what they see: averaging with the mirror image changes nothing.
    rng = np.random.default_rng(1)
    for method in ("graph_merge", "affinity_union"):
        plain, flipped = (find_model(instance_model(method, parameters={"flip": flip})) for flip in (False, True))
        tensor = rng.random((1, 3, 64, 128), dtype=np.float32)
        one = create_backend("onnxruntime", plain.path, plain.card, 1)
        two = FlipBackend(create_backend("onnxruntime", flipped.path, flipped.card, 1), mirrored_channels(flipped.card))
        assert two.describe()["flip"]
        expected, got = one.infer(tensor), two.infer(tensor)
        assert expected.keys() == got.keys()
        for name in expected:
            np.testing.assert_allclose(got[name], expected[name], atol=1e-5)
        pipeline = load(plain.path.parent)  # of the card that was written last: it asks for flip inference
        assert pipeline.backend["flip"]
        assert len(pipeline(paint(SCENE)[0])) == len(SCENE)


def test_flip_inference_refuses_maps_that_a_mirror_changes(instance_model: ModelFolder) -> None:
    model = find_model(instance_model())
    with pytest.raises(ModelError, match="flip"):
        mirrored_channels(model.card)
