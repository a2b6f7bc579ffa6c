"""Whatever is wrong with YAML of others, it is a YAMLError; and files of every kind tell it in their own words."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from rtseg.camera import Camera
from rtseg.errors import RtsegError
from rtseg.lab.deploy.recipe import Recipe
from rtseg.lab.fleet.compare import read_gate
from rtseg.lab.training.configurations import load_config
from rtseg.runtime.card import ModelCard
from rtseg.runtime.ignore import IgnoreMask
from rtseg.yaml_text import LARGEST, parse_yaml

WRONG = {
    "a deep list": "[" * 1000,
    "deep mappings": "{a: " * 1000,
    "a day that is none": "name: 2024-99-99",
    "a number too long": "name: " + "9" * 6000,
    "an object of Python": "!!python/object/apply:os.getcwd []",
    "half a list": "[1, 2",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_what_is_no_yaml_is_told_as_that(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        parse_yaml(text)


def test_what_is_yaml_is_read() -> None:
    assert parse_yaml("a: [1, 0.5, yes, text, ~]") == {"a": [1, 0.5, True, "text", None]}
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3", "'a' stands twice, in lines 1 and 3; remove one"),
        ("{a: 1, a: 1}", "'a' stands twice, in lines 1 and 1"),
        ("c:\n- x: {y: 1, z: 2, 'y': 3}", "'y' stands twice, in lines 2 and 2"),
    ],
)
def test_what_is_said_twice_is_refused(text: str, told: str) -> None:
    with pytest.raises(yaml.YAMLError, match=told):
        parse_yaml(text)


def test_what_is_merged_may_be_said_anew() -> None:
    text = "base: &base {a: 1, b: 2}\nmore: &more {<<: *base, b: 3}\nlast: {<<: *more, a: 4}\nagain: *more"
    assert parse_yaml(text)["last"] == {"a": 4, "b": 3}
    assert parse_yaml(text)["again"] == {"a": 1, "b": 3}


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "card": ("card.yaml", ModelCard.load),
    "camera": ("camera.yaml", Camera.load),
    "ignore mask": ("ignore.yaml", IgnoreMask.load),
    "recipe": ("recipe.yaml", Recipe.load),
    "gate": ("gate.yaml", read_gate),
    "training": ("training.yaml", load_config),
}


@pytest.mark.parametrize("wrong", ["a deep list", "a day that is none"])
@pytest.mark.parametrize("kind", READERS)
def test_files_of_every_kind_tell_it(tmp_path: Path, kind: str, wrong: str) -> None:
    name, read = READERS[kind]
    (tmp_path / name).write_text("name: a\nname: b\n")
    with pytest.raises(RtsegError, match="'name' stands twice, in lines 1 and 2"):
        read(tmp_path / name)
    (tmp_path / name).write_text(WRONG[wrong])
    with pytest.raises(RtsegError, match="nested too deeply" if "deep" in wrong else "month must be in"):
        read(tmp_path / name)


def test_a_card_that_would_be_gigabytes_when_written_is_told_in_a_line(tmp_path: Path) -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for letter, before in zip("bcdefghi", "abcdefgh", strict=True):
        lines.append(f"{letter}: &{letter} [{', '.join([f'*{before}'] * 10)}]")
    (tmp_path / "card.yaml").write_text("\n".join([*lines, "name: *i"]))
    with pytest.raises(RtsegError, match="name: Input should be a valid string") as told:
        ModelCard.load(tmp_path / "card.yaml")
    assert len(str(told.value)) < 2000


@pytest.mark.parametrize("kind", READERS)
def test_files_that_are_none_or_too_large_are_told_and_waited_for_by_nobody(tmp_path: Path, kind: str) -> None:
    name, read = READERS[kind]
    path = tmp_path / name
    path.write_text(f"name: {'x' * LARGEST}")
    with pytest.raises(RtsegError, match="larger than 256 KiB"):
        read(path)
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(RtsegError, match="no text"):
        read(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RtsegError, match=r"no regular file|expected a training configuration"):
        read(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(RtsegError, match=r"no regular file|expected a training configuration"):
        read(path)
