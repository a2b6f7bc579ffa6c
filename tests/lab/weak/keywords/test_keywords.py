"""Keyword files and their frames."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from rtseg.errors import WeakSupervisionError
from rtseg.lab.weak.keywords.keywords import KeywordFile, match_keywords, read_keywords


def _write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["pipe.csv", "pipe.yaml"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(WeakSupervisionError, match=f"{name} is no regular file"):
        read_keywords(tmp_path / name)


def test_yaml_and_csv_say_the_same(tmp_path: Path) -> None:
    plain = _write(tmp_path, "a.yaml", "a.png: [car, person]\nb.png: car\nc.png: []\nd.png:\n")
    full = _write(
        tmp_path, "b.yml", "classes: [person, car]\nimages: {a.png: [car, person], b.png: car, c.png: [], d.png: }\n"
    )
    table = _write(tmp_path, "c.csv", "image,keywords\na.png,car;person\nb.png, car ,\n\n# note\nc.png,\nd.png\n")
    entries = {"a.png": ("car", "person"), "b.png": ("car",), "c.png": (), "d.png": ()}
    assert read_keywords(plain) == KeywordFile(("car", "person"), entries)
    assert read_keywords(full) == KeywordFile(("person", "car"), entries)
    assert read_keywords(table) == KeywordFile(("car", "person"), entries)


def test_names_come_before_stems_and_stems_before_patterns() -> None:
    file = KeywordFile(("bus", "car", "person"), {"*": ("person",), "a": ("car",), "b.png": ("bus",), "x": ("car",)})
    matched = match_keywords(file, ["a.png", "b.png", "c.png"])
    np.testing.assert_array_equal(matched.present, [[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    assert matched.known.all()
    assert matched.unmatched == ("x",)


def test_unknown_is_not_empty() -> None:
    matched = match_keywords(KeywordFile(("car",), {"a.png": ("car",), "b.png": ()}), ["a.png", "b.png", "c.png"])
    assert matched.known.tolist() == [True, True, False]
    assert matched.present[:, 0].tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "- car\n", "got list"),
        ("a.yaml", "", "got nothing"),
        ("a.yaml", "a: [car\n", "expected a YAML keyword file"),
        ("a.yaml", "a.png: {car: 1}\n", "list of words"),
        ("a.yaml", "a.png: [1]\n", "list of words"),
        ("a.yaml", "a.png: []\n", "at least one keyword"),
        ("a.csv", "image,keywords\n", "at least one keyword"),
        ("a.yaml", "classes: [bus]\nimages: {a.png: [car]}\n", "among the classes.*got car"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(WeakSupervisionError, match=message):
        read_keywords(_write(tmp_path, name, text))


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(WeakSupervisionError, match="expected a keyword file"):
        read_keywords(tmp_path / "none.yaml")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(WeakSupervisionError, match="expected a keyword file"):
        read_keywords(tmp_path / "b.csv")


def test_keywords_of_another_recording() -> None:
    with pytest.raises(WeakSupervisionError, match=r"'a\.png'.*'b\.png'"):
        match_keywords(KeywordFile(("car",), {"b.png": ("car",)}), ["a.png"])
