"""CULane's labels and lists: what is read from a folder laid out as CULane is, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtseg.errors import DatasetError
from rtseg.lab.data.culane import has_test_set, is_culane, read_culane

CLIP = "driver_37_30frame/05181432_0203.MP4"


@pytest.fixture
def culane(tmp_path: Path) -> Path:
    """Three test frames in two categories, one training frame."""
    root = tmp_path / "CULane"
    (root / CLIP).mkdir(parents=True)
    labels = {
        "00000": "100.5 590 120 580 141 570 \n900 580 880 570\n",
        "00030": "",
        "00060": "-20.25 590 10 580\n",
        "00090": "5 590 6 580\n",
    }
    for name, text in labels.items():
        (root / CLIP / f"{name}.lines.txt").write_text(text)
        (root / CLIP / f"{name}.jpg").write_bytes(b"not opened here")
    (root / "list" / "test_split").mkdir(parents=True)
    (root / "list" / "test_split" / "test0_normal.txt").write_text(f"{CLIP}/00000.jpg\n{CLIP}/00060.jpg\n")
    (root / "list" / "test_split" / "test7_cross.txt").write_text(f"{CLIP}/00030.jpg \n\n")
    (root / "list" / "train_gt.txt").write_text(f"/{CLIP}/00090.jpg /laneseg_label_w16/{CLIP}/00090.png 0 1 1 0\n")
    return root


def test_a_whole_folder_is_its_test_set_by_category(culane: Path) -> None:
    assert has_test_set(culane)
    first, second, empty = read_culane(culane)
    assert (first.name, first.category) == (f"{CLIP}/00000.jpg", "normal")
    assert first.image == culane / CLIP / "00000.jpg"
    left, right = first.polylines()
    np.testing.assert_allclose(left, [[141, 570], [120, 580], [100.5, 590]])
    np.testing.assert_allclose(right, [[880, 570], [900, 580]])
    np.testing.assert_allclose(second.lanes[0], [[10, 580], [-20.25, 590]])
    assert (empty.category, empty.lanes, empty.ignored_polylines()) == ("cross", (), ())


def test_a_list_names_its_frames(culane: Path) -> None:
    for chosen in ("list/train_gt.txt", "list/test_split/test7_cross.txt"):
        assert is_culane(culane / chosen)
    (frame,) = read_culane(culane / "list" / "train_gt.txt")
    assert (frame.name, frame.category, len(frame.lanes)) == (f"{CLIP}/00090.jpg", "", 1)


def test_a_folder_without_lists_is_all_that_is_labelled(culane: Path) -> None:
    clip = culane / CLIP
    assert is_culane(clip)
    assert not has_test_set(clip)
    assert [frame.name for frame in read_culane(clip)] == ["00000.jpg", "00030.jpg", "00060.jpg", "00090.jpg"]


def test_other_folders_are_not_taken_for_culane(tmp_path: Path) -> None:
    assert not is_culane(tmp_path)
    (tmp_path / "labels.json").write_text("{}")
    (tmp_path / "0.lines.txt").write_text("1 2 3 4")
    assert not is_culane(tmp_path)
    with pytest.raises(DatasetError, match="found none"):
        read_culane(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3", "pairs"),
        ("1 2 3 nan", "pairs"),
        ("1 2 three 4", "numbers"),
        ("5 6 7 8\n1 2 inf 4", "line 2"),
    ],
)
def test_broken_labels_are_named(culane: Path, text: str, message: str) -> None:
    (culane / CLIP / "00060.lines.txt").write_text(text)
    with pytest.raises(DatasetError, match=message) as caught:
        read_culane(culane)
    assert "00060.lines.txt" in str(caught.value)


def test_frames_without_labels_and_lists_without_frames_are_named(culane: Path) -> None:
    (culane / CLIP / "00060.lines.txt").unlink()
    with pytest.raises(DatasetError, match=r"00060\.jpg"):
        read_culane(culane)
    (culane / "list" / "train_gt.txt").write_text("/elsewhere/0.jpg\n")
    with pytest.raises(DatasetError, match=r"elsewhere/0\.jpg"):
        read_culane(culane / "list" / "train_gt.txt")
    (culane / "list" / "train_gt.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="list"):
        read_culane(culane / "list" / "train_gt.txt")


def test_a_lane_of_one_point_says_no_direction(culane: Path) -> None:
    (culane / CLIP / "00090.lines.txt").write_text("5 590\n1 590 2 580")
    (frame,) = read_culane(culane / "list" / "train_gt.txt")
    assert len(frame.lanes) == 1
