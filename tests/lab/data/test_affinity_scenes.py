"""Scenes: seeded, labelled all over, and as hard as their noise level says."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from rtseg.lab.commands.lab import lab_app
from rtseg.lab.data.affinity_scenes import GRID_OFFSETS, NOISE_LEVELS, Corruption, label_affinities, street_scene
from rtseg.lab.studies.inspect import load_affinity


@pytest.mark.parametrize("size", [(256, 512), (64, 64), (33, 77)])
def test_every_pixel_has_a_region_of_a_known_class(size):
    scene = street_scene(5, size)
    assert scene.labels.shape == size
    np.testing.assert_array_equal(np.unique(scene.labels), np.arange(1, len(scene.classes) + 1))
    assert set(scene.classes) <= {0, 1, 2}
    assert (scene.classes == 0).any()
    np.testing.assert_array_equal(scene.objects > 0, scene.classes[scene.labels - 1] > 0)
    np.testing.assert_array_equal(np.unique(scene.objects[scene.objects > 0]), np.arange(1, scene.objects.max() + 1))


def test_seeds_decide():
    first, again, other = street_scene(1), street_scene(1), street_scene(2)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert (first.labels != other.labels).any()
    affinity = label_affinities(first.labels, seed=1)
    np.testing.assert_array_equal(affinity, label_affinities(again.labels, seed=1))
    assert (affinity != label_affinities(first.labels, seed=2)).any()


def test_clean_affinities_tell_the_truth():
    labels = street_scene(3, (40, 60)).labels
    affinity = label_affinities(labels, ((0, 1), (2, -3), (99, 0)), Corruption())
    np.testing.assert_array_equal(affinity[0, :, :-1] > 0.5, labels[:, :-1] == labels[:, 1:])
    np.testing.assert_array_equal(affinity[1, :-2, 3:] > 0.5, labels[:-2, 3:] == labels[2:, :-3])
    assert (affinity[0, :, -1] == 0).all()
    assert (affinity[2] == 0).all()


def test_levels_grow_harder():
    labels = street_scene(3).labels
    same = labels[:, :-1] == labels[:, 1:]
    wrong = [
        ((label_affinities(labels, GRID_OFFSETS, level)[0, :, :-1] > 0.5) != same).mean()
        for level in NOISE_LEVELS.values()
    ]
    assert wrong == sorted(wrong)
    assert 0 < wrong[0] < wrong[-1] < 0.2


def test_scene_file_and_pictures(tmp_path):
    for command in (["affinity-scene", "scene.npz", "--size", "32", "64"], ["grouping-figures", "figures"]):
        answer = CliRunner().invoke(lab_app, [command[0], str(tmp_path / command[1]), *command[2:]])
        assert answer.exit_code == 0, answer.output
    affinity, offsets, mask = load_affinity(tmp_path / "scene.npz")
    assert affinity.shape == (2, 32, 64)
    assert offsets.tolist() == [list(offset) for offset in GRID_OFFSETS]
    assert mask is None
    for name in ("grouping_methods.png", "grouping_inspect.png"):
        assert 1000 < (tmp_path / "figures" / name).stat().st_size < 300_000
