"""True head maps: grouped again, they give the truth back."""

from __future__ import annotations

import numpy as np
import pytest

from rtseg.errors import ConfigError
from rtseg.frame import Frame
from rtseg.grouping import GMIS_OFFSETS
from rtseg.instances.interpreter import InstanceInterpreter
from rtseg.lab.data.instance_labels import InstanceTruth
from rtseg.lab.scores.true_maps import _colors, true_maps
from rtseg.runtime.card import ModelCard
from rtseg.runtime.interpreter import interpret
from rtseg.runtime.latency import StageClock
from tests.instance_networks import CLASSES, write_instance_model

SIZE = (128, 256)


def _truth() -> InstanceTruth:
    """Two touching cars, a person in front of one, cut in two; a far small one; a crowd and an unknown region."""
    instances = np.zeros(SIZE, np.int32)
    instances[40:100, 20:80], instances[40:100, 80:140] = 1, 2
    instances[32:104, 24:40] = 3
    instances[20:36, 200:216] = 4
    semantic = np.array([0, 2, 2, 1, 1], np.uint8)[instances]
    instances[100:120, 180:240], semantic[100:120, 180:240] = -1, 1
    instances[0:8, 0:256], semantic[0:8, 0:256] = -1, 255
    return InstanceTruth(instances, semantic, np.array([1, 1, 0, 0], np.int32))


@pytest.fixture(params=["coloring", "graph_merge", "cascade_gaec", "affinity_union"])
def card(request, tmp_path) -> ModelCard:
    folder = write_instance_model(tmp_path / "m", request.param, width=256, height=128)
    return ModelCard.load(folder / "card.yaml")


def test_the_truth_comes_back(card):
    truth = _truth()
    maps = true_maps(card, truth, ("semantic", "affinity"), CLASSES)
    assert {name: values.shape for name, values in maps.items()} == {
        output.name: (1, output.channels, SIZE[0] // output.stride, SIZE[1] // output.stride) for output in card.outputs
    }
    assert all(values.dtype == np.float32 for values in maps.values())
    found = interpret(InstanceInterpreter(card), maps, Frame(np.zeros((*SIZE, 3), np.uint8)), StageClock())
    # affinity_union of neighbors leaves in two what is cut in two; the larger part is most of the car.
    for i in range(1, len(truth) + 1):
        mask = truth.instances == i
        overlap = np.bincount(found.labels[mask], minlength=len(found) + 1)
        best = int(overlap[1:].argmax()) + 1
        union = (mask | (found.labels == best)).sum()
        assert overlap[best] / union > 0.7, i
        assert found.class_ids[best - 1] == truth.class_ids[i - 1]


def test_only_the_heads_asked_for(card):
    assert {name.partition("_")[0] for name in true_maps(card, _truth(), ("semantic",), CLASSES)} == {"semantic"}
    assert "semantic" not in {n.partition("_")[0] for n in true_maps(card, _truth(), ("affinity",), CLASSES)}


def test_classes_are_matched_by_name(card):
    truth = _truth()
    swapped = true_maps(card, truth, ("semantic",), ("car", "train"))  # the card has no train
    for name, maps in swapped.items():
        stride = SIZE[0] // maps.shape[2]
        kinds = maps[0].argmax(axis=0)
        seen = truth.semantic[stride // 2 :: stride, stride // 2 :: stride]
        np.testing.assert_array_equal(kinds, np.where(seen == 1, 2, 0), err_msg=name)


def test_affinities_are_those_of_the_pairs(tmp_path):
    folder = write_instance_model(tmp_path / "m", "graph_merge", width=256, height=128)
    card = ModelCard.load(folder / "card.yaml")
    truth = _truth()
    maps = true_maps(card, truth, ("affinity",), CLASSES)["affinity"][0]
    ids = truth.instances[2::4, 2::4]
    rng = np.random.default_rng(0)
    for _ in range(300):
        k, y, x = rng.integers(56), rng.integers(32), rng.integers(64)
        v, u = y + GMIS_OFFSETS[k][0], x + GMIS_OFFSETS[k][1]
        inside = 0 <= v < 32 and 0 <= u < 64
        assert maps[k, y, x] == (inside and ids[y, x] != 0 and ids[y, x] == ids[v, u])


def test_near_instances_have_other_colors(tmp_path):
    card = ModelCard.load(write_instance_model(tmp_path / "m", "coloring", width=512, height=256) / "card.yaml")
    instances = np.zeros((256, 512), np.int32)
    for i in range(12):  # a row, 40 px apart: more than eight within 256 px of one another
        instances[100:120, 40 * i + 5 : 40 * i + 35] = i + 1
    truth = InstanceTruth(instances, (instances > 0).astype(np.uint8), np.zeros(12, np.int32))
    colors = _colors(truth, 8, card)
    assert colors[0] == 0
    assert set(colors[1:]) <= set(range(1, 9))
    for i in range(1, 13):
        for j in range(i + 1, min(i + 7, 13)):
            assert colors[i] != colors[j]


def test_a_family_without_such_heads_is_named(tmp_path):
    card = ModelCard.load(write_instance_model(tmp_path / "m", "coloring") / "card.yaml")
    bare = card.model_copy(update={"outputs": tuple(o.model_copy(update={"kind": "category"}) for o in card.outputs)})
    with pytest.raises(ConfigError, match="true semantic"):
        true_maps(bare, _truth(), ("semantic",), CLASSES)
