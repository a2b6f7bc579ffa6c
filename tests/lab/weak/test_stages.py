"""Stages on disk: what is kept, what is made again, and what an interrupted run goes on from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rtseg.errors import WeakSupervisionError
from rtseg.lab.weak.stages import Stage, run_stage, tree_digest


class Counting:
    """Writes one file and counts how often it was asked."""

    def __init__(self, text: str = "product") -> None:
        self.text = text
        self.calls = 0

    def __call__(self, folder: Path) -> dict[str, Any]:
        self.calls += 1
        (folder / "sub").mkdir(exist_ok=True)
        (folder / "sub" / "product.txt").write_text(self.text)
        return {"length": len(self.text)}


def test_kept_while_the_inputs_stay(tmp_path: Path) -> None:
    build = Counting()
    first = run_stage(tmp_path, 1, "one", {"a": 1, "b": [2.5, "x"]}, build)
    second = run_stage(tmp_path, 1, "one", {"b": [2.5, "x"], "a": 1}, build)
    assert (build.calls, first.reused, second.reused) == (1, False, True)
    assert second.digest == first.digest
    assert second.summary == {"length": 7}
    assert not list(tmp_path.glob(".*"))


def test_other_inputs_and_touched_products_run_again(tmp_path: Path) -> None:
    build = Counting()
    run_stage(tmp_path, 1, "one", {"a": 1}, build)
    run_stage(tmp_path, 1, "one", {"a": 2}, build)
    assert build.calls == 2
    (tmp_path / "01-one" / "sub" / "product.txt").write_text("tampered")
    assert not run_stage(tmp_path, 1, "one", {"a": 2}, build).reused
    (tmp_path / "01-one" / "stage.json").write_text("{broken")
    assert not run_stage(tmp_path, 1, "one", {"a": 2}, build).reused
    assert build.calls == 4


def test_a_stage_downstream_is_kept_where_the_content_came_out_the_same(tmp_path: Path) -> None:
    below = Counting("below")

    def both(setting: int, text: str) -> Stage:
        first = run_stage(tmp_path, 1, "one", {"setting": setting}, Counting(text))
        return run_stage(tmp_path, 2, "two", {"one": first.digest}, below)

    both(1, "same")
    assert both(2, "same").reused
    assert not both(3, "other").reused


def test_an_interrupted_stage_finds_what_it_left(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> dict[str, Any]:
        (folder / "half.txt").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path, 1, "one", {"a": 1}, interrupted)
    assert not (tmp_path / "01-one").exists()
    found: list[bool] = []

    def look(folder: Path) -> dict[str, Any]:
        found.append((folder / "half.txt").exists())
        return {}

    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path, 1, "one", {"a": 1}, interrupted)
    run_stage(tmp_path, 1, "one", {"a": 1}, look)
    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path, 1, "one", {"a": 2}, interrupted)
    run_stage(tmp_path, 1, "one", {"a": 3}, look)
    # The first goes on; another input starts anew.
    assert found == [True, False]


def test_the_record_says_what_it_was_made_from(tmp_path: Path) -> None:
    run_stage(tmp_path, 3, "one", {"a": 1}, Counting())
    record = json.loads((tmp_path / "03-one" / "stage.json").read_text())
    assert record["inputs"] == {"a": 1}
    assert list(record["files"]) == ["sub/product.txt"]


def test_digest_of_a_tree_sees_names_and_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = tree_digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    second = tree_digest(tmp_path)
    (tmp_path / "b").write_text("2")
    assert len({first, second, tree_digest(tmp_path)}) == 3
    with pytest.raises(WeakSupervisionError, match="readable file"):
        tree_digest(tmp_path / "missing")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WeakSupervisionError, match="expected to write stage one"):
        run_stage(tmp_path / "file", 1, "one", {}, Counting())
