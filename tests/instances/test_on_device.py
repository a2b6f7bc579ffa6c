"""Grouping on a device, over the kernels built for the CPU, against the same methods on the CPU."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtseg.errors import HeadMapsError
from rtseg.frame import Frame
from rtseg.grouping import graph_merge
from rtseg.instances.interpreter import InstanceInterpreter
from rtseg.ops import upsample_argmax
from rtseg.runtime.card import ModelCard
from rtseg.runtime.ignore import IgnoreMask
from rtseg.runtime.interpreter import interpret
from rtseg.runtime.latency import StageClock

sys.path.insert(0, str(Path(__file__).parents[1] / "ops" / "cuda" / "shim"))

from shim_build import ShimLauncher

SIZE = (14, 38)  # of the maps: two warps a row, one of them not full
STRIDE = 4
FRAMES = ((42, 100), SIZE, (28, 37), (7, 19))
CLASSES = ("person", "car", "bus")
KINDS = {
    "affinity_union": {"semantic": 4, "affinity": 4, "embedding": 3},
    "coloring": {"colors": 5, "semantic": 4, "centers": 2},
    "graph_merge": {"semantic": 4, "affinity": 56},
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "affinity_union": {"position_threshold": 0.4, "threshold": 0.45, "superpixel_threshold": 0.8, "support": 0.6},
    "coloring": {"intersect": False, "merge_distance": 9.3, "score_area": 300.0},
    "graph_merge": {"window": 1, "areas": False, "super_classes": [["person"], ["car", "bus"]]},
}
STAGES = [[[1, 2], 0.7], [[4, 8], 0.45]]
SEEDS = st.integers(0, 2**31)


def card_of(method: str, top: float = 0.0, embedding_stride: int = STRIDE, **parameters: Any) -> ModelCard:
    chosen = {"min_area": 3 * STRIDE**2, **PARAMETERS[method], **parameters}
    if method == "graph_merge":
        chosen.setdefault("stages", STAGES)
    height, width = SIZE
    return ModelCard.model_validate(
        {
            "name": "blocks",
            "family": "blocks",
            "task": "instances",
            "summary": "Blocks.",
            "licence": "Apache-2.0",
            "model": {"file": "model.onnx", "sha256": "0" * 64, "precision": "fp32"},
            "input": {
                "width": width * STRIDE, "height": height * STRIDE, "order": "rgb",
                "mean": [0, 0, 0], "std": [255, 255, 255], "top": top,
            },
            "outputs": [
                {
                    "name": kind,
                    "kind": kind,
                    "channels": channels,
                    "stride": embedding_stride if kind == "embedding" else STRIDE,
                }
                for kind, channels in KINDS[method].items()
            ],
            "grouping": {"method": method, "parameters": chosen},
            "classes": CLASSES,
            "training": {"command": "none", "data": [], "seed": 0},
        }
    )  # fmt: skip


def maps_of(method: str, seed: int) -> dict[str, np.ndarray]:
    """Objects of blocks with noise, from none to as many as there are pixels."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    grain = int(rng.integers(1, 12))
    coarse = rng.integers(0, 7, (height // grain + 1, width // grain + 1))
    blocks = np.kron(coarse, np.ones((grain, grain), int))[:height, :width]
    noise = rng.choice([0.1, 1.0, 3.0])
    maps: dict[str, np.ndarray] = {}
    for kind, channels in KINDS[method].items():
        values = rng.normal(0, noise, (channels, height, width))
        if kind == "affinity":
            values = rng.random((channels, height, width)) ** rng.choice([0.1, 0.5, 1.0, 4.0])
            values[:, :, 1:] *= 0.3 + 0.7 * (blocks[:, 1:] == blocks[:, :-1])
        elif kind in ("semantic", "colors"):
            for channel in range(channels):
                values[channel] += 4.0 * (blocks % channels == channel)
        elif kind == "centers":
            values = values * 20 - np.indices(SIZE)[::-1] % 16 * STRIDE
        else:
            values = 0.2 * values + (blocks % 2)
        maps[kind] = values[None].astype(np.float32)
    return maps


def on_device(
    library: Path, card: ModelCard, maps: dict[str, np.ndarray], frame: Frame, ignored: IgnoreMask | None = None
) -> tuple[Any, Any]:
    """The result by way of a device, None where the CPU has to group, and the grouping."""
    interpreter = InstanceInterpreter(card, ignored)
    assert interpreter.device_form is not None
    unseen = round(card.input.top * frame.size[0])
    launcher = ShimLauncher(library, seed=3)
    grouping = interpreter.device_form(maps, (frame.size[0] - unseen, frame.size[1]), launcher)
    grouping.run()
    once = {name: array.copy() for name, array in grouping.downloads.items()}
    launches = launcher.launches
    grouping.run()  # buffers are left as they have to be
    assert launcher.launches - launches < 40
    for name, array in grouping.downloads.items():
        np.testing.assert_array_equal(array, once[name])
    found = grouping.found(once)
    return None if found is None else interpreter.finish(found, frame, StageClock()), grouping


def assert_same(found: Any, truth: Any) -> None:
    for name in ("labels", "ids", "class_ids", "boxes", "areas", "centers"):
        np.testing.assert_array_equal(getattr(found, name), getattr(truth, name), err_msg=name)
    np.testing.assert_allclose(found.scores, truth.scores, atol=1e-6)


@pytest.mark.parametrize("method", KINDS)
@settings(max_examples=12)
@given(seed=SEEDS, frame=st.sampled_from(FRAMES))
def test_instances_are_those_of_the_cpu(shim_library: Path, method: str, seed: int, frame: tuple[int, int]) -> None:
    card, maps = card_of(method), maps_of(method, seed)
    image = Frame(np.zeros((*frame, 3), np.uint8))
    found, _ = on_device(shim_library, card, maps, image)
    assert_same(found, interpret(InstanceInterpreter(card), maps, image, StageClock()))


@pytest.mark.parametrize("seed", range(4))
def test_a_coarser_embedding_joins_as_the_same_one_repeated(shim_library: Path, seed: int) -> None:
    maps, image = maps_of("affinity_union", seed), Frame(np.zeros((*SIZE, 3), np.uint8))
    maps["embedding"] = np.ascontiguousarray(maps["embedding"][:, :, ::2, ::2])
    coarse = card_of("affinity_union", embedding_stride=2 * STRIDE)
    found, _ = on_device(shim_library, coarse, maps, image)
    assert_same(found, interpret(InstanceInterpreter(coarse), maps, image, StageClock()))
    maps["embedding"] = maps["embedding"].repeat(2, 2).repeat(2, 3)
    assert_same(found, on_device(shim_library, card_of("affinity_union"), maps, image)[0])


@pytest.mark.parametrize("method", KINDS)
def test_something_is_found_and_joined(shim_library: Path, method: str) -> None:
    """The random maps above hold what they are to test."""
    counts = []
    for seed in range(4):
        image = Frame(np.zeros((*SIZE, 3), np.uint8))
        joined = interpret(InstanceInterpreter(card_of(method)), maps_of(method, seed), image, StageClock())
        less = {"affinity_union": {"position_threshold": 1.0}, "coloring": {"merge_distance": 0.0}}.get(method, {})
        apart = interpret(InstanceInterpreter(card_of(method, **less)), maps_of(method, seed), image, StageClock())
        counts.append((len(joined), len(apart)))
    assert sum(joined for joined, _ in counts) > 4
    assert method == "graph_merge" or any(joined != apart for joined, apart in counts)


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_maps_of_one_value(shim_library: Path, method: str, share: float) -> None:
    """Nothing, and one object that fills the map."""
    maps = {name: np.zeros_like(values) for name, values in maps_of(method, 0).items()}
    for kind in ("semantic", "colors"):
        if kind in maps:
            maps[kind][0, 1 if share else 0] = 5.0
    if "affinity" in maps:
        maps["affinity"][:] = share
    if "centers" in maps:
        x, y = np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0]))
        maps["centers"][0] = 16.0 - STRIDE * np.stack([x, y])
    image = Frame(np.zeros((*FRAMES[0], 3), np.uint8))
    found, _ = on_device(shim_library, card_of(method), maps, image)
    assert len(found) == share
    assert_same(found, interpret(InstanceInterpreter(card_of(method)), maps, image, StageClock()))


@pytest.mark.parametrize("seed", range(3))
def test_graph_merge_is_exact_on_the_probabilities_of_the_device(shim_library: Path, seed: int) -> None:
    """Equal edges everywhere, so that names alone decide."""
    chosen: dict[str, Any] = {"min_area": 1, "partition": bool(seed), "certain": (None, 0.6, 0.9)[seed]}
    maps, card = maps_of("graph_merge", seed), card_of("graph_merge", **chosen)
    maps["affinity"][:] = np.round(maps["affinity"] * 4) / 4
    maps["semantic"][:] = np.round(maps["semantic"])
    _, grouping = on_device(shim_library, card, maps, Frame(np.zeros((*SIZE, 3), np.uint8)))
    plan, form = grouping._maps._plan, grouping._maps
    made: Any = InstanceInterpreter(card)._grouping
    truth = graph_merge(maps["affinity"][0], plan._shares, made.settings)
    count = int(plan.count[0])
    np.testing.assert_array_equal(form.labels, truth.labels)
    np.testing.assert_array_equal(plan.class_ids[:count] + 1, truth.class_ids)
    np.testing.assert_array_equal(plan.scores[:count], truth.scores)
    np.testing.assert_array_equal(upsample_argmax(plan.guide, SIZE) > 0, plan._shares[0] < plan._shares[1:].sum(axis=0))


@pytest.mark.parametrize("method", KINDS)
def test_what_is_not_seen_or_ignored_is_nothing(shim_library: Path, method: str) -> None:
    mask = np.zeros((60, 100), bool)
    mask[:, 40:70] = True
    card, maps, image = card_of(method, top=0.3), maps_of(method, 1), Frame(np.zeros((60, 100, 3), np.uint8))
    found, _ = on_device(shim_library, card, maps, image, IgnoreMask(mask))
    truth = interpret(InstanceInterpreter(card, IgnoreMask(mask)), maps, image, StageClock())
    assert len(truth) > 0
    assert not found.labels[:, 40:70].any()
    assert not found.labels[:18].any()
    assert_same(found, truth)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("method", "kind"), [(method, kind) for method, kinds in KINDS.items() for kind in kinds])
def test_maps_that_are_not_finite_are_refused(shim_library: Path, method: str, kind: str, bad: float) -> None:
    maps = maps_of(method, 2)
    maps["semantic"][0, 0] -= 9.0
    if "colors" in maps:
        maps["colors"][0, 0] -= 9.0
    maps[kind][0, -1, 5, 8] = bad
    with pytest.raises(HeadMapsError, match="finite maps"):
        on_device(shim_library, card_of(method), maps, Frame(np.zeros((*SIZE, 3), np.uint8)))


@pytest.mark.parametrize("method", ["affinity_union", "coloring"])
def test_what_does_not_fit_fixed_point_is_left_to_the_cpu(shim_library: Path, method: str) -> None:
    maps = maps_of(method, 2)
    maps["semantic"][0, 0] -= 9.0
    if "colors" in maps:
        maps["colors"][0, 0] -= 9.0
    maps["embedding" if method == "affinity_union" else "centers"][0, 1, 5, 8] = 3e6
    found, _ = on_device(shim_library, card_of(method), maps, Frame(np.zeros((*SIZE, 3), np.uint8)))
    assert found is None


@pytest.mark.parametrize("segments", [0, 3, 5])
def test_only_the_largest_segments_are_joined(shim_library: Path, segments: int) -> None:
    card, image = (
        card_of("affinity_union", max_segments=segments, position_threshold=0.1),
        np.zeros((*SIZE, 3), np.uint8),
    )
    for seed in range(3):
        maps = maps_of("affinity_union", seed)
        found, _ = on_device(shim_library, card, maps, Frame(image))
        assert_same(found, interpret(InstanceInterpreter(card), maps, Frame(image), StageClock()))


@pytest.mark.parametrize(
    ("method", "parameters"),
    [("coloring", {"intersect": True}), ("graph_merge", {"window": 2}), ("graph_merge", {"areas": True})],
)
def test_what_no_kernel_does_stays_on_the_cpu(method: str, parameters: dict[str, Any]) -> None:
    assert InstanceInterpreter(card_of(method, **parameters)).device_form is None


def test_a_device_may_have_a_method_of_its_own(shim_library: Path) -> None:
    card = card_of("affinity_union")
    content = card.model_dump()
    content["grouping"] = {"method": "cascade_gaec", "device": card.grouping.model_dump(exclude={"device"})}
    both = ModelCard.model_validate(content)
    maps, image = maps_of("affinity_union", 5), Frame(np.zeros((*SIZE, 3), np.uint8))
    found, _ = on_device(shim_library, both, maps, image)
    assert_same(found, interpret(InstanceInterpreter(card), maps, image, StageClock()))
    content["grouping"]["device"] = None
    alone = interpret(InstanceInterpreter(ModelCard.model_validate(content)), maps, image, StageClock())
    assert_same(interpret(InstanceInterpreter(both), maps, image, StageClock()), alone)
    assert InstanceInterpreter(ModelCard.model_validate(content)).device_form is None
