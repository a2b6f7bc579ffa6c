"""Reading TuSimple labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rtseg.errors import DatasetError
from rtseg.lab.data.tusimple import read_labels, write_labels

GOOD = {"raw_file": "a/1.jpg", "h_samples": [10, 20, 30], "lanes": [[-2, 5, 6], [7, 8, 9], [-2, -2, -2], [-2, 3, -2]]}


def write(folder: Path, *lines: object) -> Path:
    path = folder / "labels.json"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_lines_become_polylines_from_top_to_bottom(tmp_path: Path) -> None:
    (frame,) = read_labels(write(tmp_path, GOOD))
    assert frame.image == tmp_path / "a/1.jpg"
    # Lines with fewer than two points say nothing about a direction and are left out.
    assert [line.tolist() for line in frame.polylines()] == [[[5, 20], [6, 30]], [[7, 10], [8, 20], [9, 30]]]
    assert frame.polylines()[0].dtype == np.float32


def test_a_folder_is_all_its_label_files(tmp_path: Path) -> None:
    write(tmp_path, GOOD, {**GOOD, "raw_file": "a/2.jpg", "lanes": []})
    (tmp_path / "more.json").write_text("\n" + json.dumps({**GOOD, "raw_file": "a/3.jpg"}) + "\n\n")
    first, second, third = read_labels(tmp_path)
    assert first.lanes.shape == third.lanes.shape == (4, 3)
    assert second.lanes.shape == (0, 3)
    assert second.polylines() == ()


def test_rows_in_any_order_are_sorted(tmp_path: Path) -> None:
    (frame,) = read_labels(write(tmp_path, {**GOOD, "h_samples": [30, 10, 20], "lanes": [[1, 2, 3]]}))
    assert frame.polylines()[0].tolist() == [[2, 10], [3, 20], [1, 30]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", "does not parse"),
        ("[1, 2]", "JSON object"),
        ({**GOOD, "raw_file": 3}, "raw_file"),
        ({"images": [], "annotations": [], "categories": []}, "got COCO labels of objects"),
        ({key: value for key, value in GOOD.items() if key != "lanes"}, "lanes"),
        ({**GOOD, "lanes": [[1, 2]]}, "one x a row"),
        ({**GOOD, "lanes": [["x", 1, 2]]}, "numbers"),
        ({**GOOD, "lanes": [[[1], [2], [3]]]}, "flat list"),
        ({**GOOD, "lanes": [[1, [2], 3]]}, "numbers"),
        ({**GOOD, "h_samples": [1, None, 3]}, "numbers"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: object, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as error:
        read_labels(write(tmp_path, GOOD, line))
    assert "line 2" in str(error.value)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="found no label"):
        read_labels(tmp_path)
    with pytest.raises(DatasetError, match="nowhere"):
        read_labels(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="found no label"):
        read_labels(write(tmp_path, ""))


def test_real_labels_parse(driving_data: Path) -> None:
    frames = read_labels(driving_data / "lanes" / "tusimple_train")
    assert len(frames) == 121
    assert all(3 <= len(frame.polylines()) <= 5 and frame.image.is_file() for frame in frames)


def test_labels_that_are_written_are_read_alike(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    copied = {**GOOD, "raw_file": "a/2.jpg", "tusimple_raw_file": "clips/1/20.jpg", "ignored": [[1, 2, -2]]}
    frames = read_labels(write(source, GOOD, copied))
    again = read_labels(write_labels(frames, tmp_path / "elsewhere"), images=source)
    for before, after in zip(frames, again, strict=True):
        assert after.image.resolve() == before.image
        assert after.clip == before.clip
        for name in ("lanes", "ignored", "h_samples"):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert [frame.clip for frame in frames] == ["a/1.jpg", "clips/1/20.jpg"]
