"""Proposals out of files, and their runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from pycocotools import mask as coco

from rtseg.errors import WeakSupervisionError
from rtseg.lab.data.coco import decode_segmentation, encode_mask
from rtseg.lab.weak.annotations import load_annotations, write_annotations
from rtseg.lab.weak.compare.trial import match_truth
from rtseg.lab.weak.proposals import Found, FrameFile, collect_proposals, open_proposals

SIZE = (20, 30)


def _mask(top: int, left: int, bottom: int, right: int) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, np.bool_)
    mask[top:bottom, left:right] = True
    return mask


A, B = _mask(2, 3, 12, 13), _mask(5, 15, 15, 28)
FRAMES = [FrameFile(Path(f"{name}.jpg"), SIZE) for name in ("one", "two")]


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)))
def test_runs_are_cocos(mask: NDArray[np.bool_]) -> None:
    packed = {"size": list(mask.shape), "counts": encode_mask(mask)}
    np.testing.assert_array_equal(decode_segmentation(packed, (mask.shape[0], mask.shape[1]), "mask"), mask)
    np.testing.assert_array_equal(coco.decode(packed), mask)
    assert encode_mask(np.asarray(mask[::-1])) == encode_mask(mask[::-1].copy())


def _label_file(folder: Path) -> None:
    cv2.imwrite(str(folder / "one.png"), (7 * A + 300 * B).astype(np.uint16))


def _color_file(folder: Path) -> None:
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[A], picture[B] = (0, 0, 200), (0, 200, 0)
    cv2.imwrite(str(folder / "one.png"), picture)


def _mask_files(folder: Path) -> None:
    (folder / "one").mkdir()
    for number, mask in ((2, A), (10, B)):
        cv2.imwrite(str(folder / "one" / f"{number}.png"), 255 * mask.astype(np.uint8))


@pytest.mark.parametrize("write", [_label_file, _color_file, _mask_files])
def test_mask_files(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path)
    found, left_out = collect_proposals(FRAMES, open_proposals(tmp_path).find, 10)
    assert set(found.runs) == {encode_mask(A), encode_mask(B)}
    assert found.frames.tolist() == [0, 0]
    assert sorted(map(tuple, found.boxes.tolist())) == [(3, 2, 13, 12), (15, 5, 28, 15)]
    assert left_out == {"frames without an instance": 1}


def test_coco_round_trip_and_other_forms(tmp_path: Path) -> None:
    masks = {"one.jpg": [A, B], "two.jpg": [A & ~B]}
    found, _ = collect_proposals(FRAMES, lambda frame: [Found(m, 0.5) for m in masks[frame.name]], 1)
    path = tmp_path / "found.json"
    write_annotations(path, found, ("ball", "box"), np.array([1, 0, 1]))
    loaded, class_ids, classes = load_annotations(path)
    assert (class_ids.tolist(), classes) == ([1, 0, 1], ("ball", "box"))
    again, left_out = collect_proposals(FRAMES, open_proposals(path).find, 1)
    for other in (loaded, again):
        assert other.names == found.names
        for field in ("sizes", "frames", "boxes", "areas", "scores"):
            np.testing.assert_array_equal(getattr(other, field), getattr(found, field))
        for j in range(3):
            np.testing.assert_array_equal(other.mask(j), found.mask(j))
    assert not left_out
    np.testing.assert_array_equal(found.select(np.array([2, 0])).frames, [0, 1])
    assert list(found.of_frame(1)) == [2]


def test_what_is_wrong_with_single_frames_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    rows = [
        {"image_id": 1, "segmentation": {"size": list(SIZE), "counts": [600]}},  # empty
        {"image_id": 1, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]},  # tiny
        {"image_id": 2, "segmentation": {"size": [5, 5], "counts": [25]}},  # of another size
    ]
    images = [{"id": 1, "file_name": "images/one.png"}, {"id": 2, "file_name": "two.jpg"}]
    path.write_text(json.dumps({"images": images, "annotations": rows}))
    found, left_out = collect_proposals(FRAMES, open_proposals(path).find, 10)
    assert len(found) == 0
    assert left_out.pop("empty masks") == 1
    assert left_out.pop("masks of less than 10 pixels") == 1
    assert left_out.pop("frames without an instance") == 2
    assert [reason.startswith("frames whose masks cannot be used: ") for reason in left_out] == [True]


@pytest.mark.parametrize("text", ["nonsense", "[]", "{}", '{"images": [{"id": 1}], "annotations": []}'])
def test_files_that_are_not_coco(tmp_path: Path, text: str) -> None:
    path = tmp_path / "found.json"
    path.write_text(text)
    with pytest.raises(WeakSupervisionError, match="expected"):
        open_proposals(path)


@settings(max_examples=20)
@given(st.integers(-6, 6), st.integers(-6, 6))
def test_truth_of_a_proposal_is_what_it_overlaps_by_half(dx: int, dy: int) -> None:
    truth, _ = collect_proposals(FRAMES, lambda frame: [Found(A), Found(B)] if frame is FRAMES[1] else [], 1)
    moved = np.zeros(SIZE, np.bool_)
    ys, xs = np.nonzero(A)
    inside = (ys + dy >= 0) & (xs + dx >= 0)
    moved[ys[inside] + dy, xs[inside] + dx] = True
    found, _ = collect_proposals(FRAMES, lambda frame: [Found(moved)], 1)
    expected = -1
    for mask, kind in ((A, 5), (B, 6)):
        if (moved & mask).sum() / (moved | mask).sum() >= 0.5:
            expected = kind
    # Nothing is known of the first frame: what is found there is noise.
    assert match_truth(found, truth, np.array([5, 6])).tolist() == [-1, expected]
