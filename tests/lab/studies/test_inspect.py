"""The picture of affinities, and files that are none."""

from __future__ import annotations

import io
import os
import zipfile

import cv2
import numpy as np
import pytest

from rtseg.errors import GroupingError, MediaError
from rtseg.grouping import gaec
from rtseg.lab.data.affinity_scenes import GRID_OFFSETS, label_affinities, street_scene
from rtseg.lab.studies.inspect import inspect_affinity, merge_order, paint_labels


@pytest.fixture
def affinity():
    return label_affinities(street_scene(1, (48, 96)).labels, seed=1)


def test_picture_is_written(tmp_path, affinity):
    np.savez(tmp_path / "maps.npz", affinity=affinity, offsets=GRID_OFFSETS)
    picture = cv2.imread(str(inspect_affinity(tmp_path / "maps.npz", tmp_path / "out.png")))
    assert picture.shape[1] >= 2 * 400
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def test_merge_order_ends_in_the_result(affinity):
    order = merge_order(affinity, np.array(GRID_OFFSETS))
    labels = gaec(affinity, GRID_OFFSETS)
    right = labels[:-1, 1:] != labels[:-1, :-1]
    below = labels[1:, :-1] != labels[:-1, :-1]
    np.testing.assert_array_equal(order[:-1, :-1] == 0, right | below)
    assert set(np.unique(order)) <= {np.float32(v) for v in (0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)}


def test_colors_stay_with_numbers():
    labels = np.array([[0, 0, 1, 1, 2, 2]])
    more = np.array([[2, 2, 2, 0, 0, 0]])
    np.testing.assert_array_equal(paint_labels(labels)[0, 5], paint_labels(more)[0, 0])
    assert (paint_labels(labels)[0, 0] == 0).all()


def test_files_that_do_not_fit_are_refused(tmp_path, affinity):
    with pytest.raises(MediaError, match="could not read"):
        inspect_affinity(tmp_path / "none.npz", tmp_path / "out.png")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(MediaError, match="could not read"):
        inspect_affinity(tmp_path / "text.npz", tmp_path / "out.png")
    np.savez(tmp_path / "half.npz", affinity=affinity)
    with pytest.raises(MediaError, match="missing offsets"):
        inspect_affinity(tmp_path / "half.npz", tmp_path / "out.png")
    np.savez(tmp_path / "bad.npz", affinity=affinity * np.nan, offsets=GRID_OFFSETS)
    with pytest.raises(GroupingError, match="NaN"):
        inspect_affinity(tmp_path / "bad.npz", tmp_path / "out.png")
    np.savez(tmp_path / "good.npz", affinity=affinity, offsets=GRID_OFFSETS)
    with pytest.raises(MediaError, match="expected to write"):
        inspect_affinity(tmp_path / "good.npz", tmp_path / "text.npz" / "out.png")


def test_maps_larger_than_memory_and_pipes_are_told(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (2, 1 << 26, 1 << 26)}
    )
    np.savez(tmp_path / "maps.npz", offsets=GRID_OFFSETS[:2])
    with zipfile.ZipFile(tmp_path / "maps.npz", "a") as archive:
        archive.writestr("affinity.npy", header.getvalue())
    os.mkfifo(tmp_path / "pipe.npz")
    for name in ("maps.npz", "pipe.npz"):
        with pytest.raises(MediaError, match=f"could not read .*{name}"):
            inspect_affinity(tmp_path / name, tmp_path / "out.png")
