"""Image keywords: a YAML or CSV file that says what is to be seen on which frame, and not where."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from rtseg.errors import WeakSupervisionError
from rtseg.regular_file import read_regular
from rtseg.yaml_text import parse_yaml

_LARGEST = 1 << 28  # bytes of a keyword file; a line of a frame has some dozens


@dataclass(frozen=True)
class KeywordFile:
    """What a keyword file says, before it is matched with frames.

    Attributes:
        classes: all keywords, in the order of the file's list of classes, else sorted.
        entries: frame name or pattern -> keywords; an empty tuple says that none of the classes is there.
    """

    classes: tuple[str, ...]
    entries: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Keywords:
    """Keywords of frames.

    Attributes:
        classes: C class names.
        present: (frames, C) bool.
        known: (frames,) bool; a frame that no entry speaks of is unknown, one with an empty entry is known to be empty.
        unmatched: entries that fit no frame.
    """

    classes: tuple[str, ...]
    present: NDArray[np.bool_]
    known: NDArray[np.bool_]
    unmatched: tuple[str, ...]


def read_keywords(path: str | Path) -> KeywordFile:
    """Read a keyword file.

    YAML: a mapping of frame names to lists of keywords, or that mapping under ``images`` beside a list of ``classes``
    that gives their order. CSV: the frame's name, then its keywords in further cells or separated by ``;``; a first
    line that begins with ``image`` is a heading. A name may be a pattern, as ``"*"`` or ``"drive_3_*"``.

    Raises:
        WeakSupervisionError: the file cannot be read, is neither, or holds no keyword.
    """
    path = Path(path)
    try:
        text = read_regular(path, _LARGEST).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise WeakSupervisionError(f"expected a keyword file (YAML or CSV) at {path}, got {error}") from error
    entries, classes = (_parse_csv(text), ()) if path.suffix.lower() == ".csv" else _parse_yaml(text, path)
    used = {keyword for keywords in entries.values() for keyword in keywords}
    if not used:
        raise WeakSupervisionError(f"expected at least one keyword in {path}, got none; write them behind frame names")
    if classes and (stray := used - set(classes)):
        raise WeakSupervisionError(
            f"expected keywords among the classes that {path} lists, got {', '.join(sorted(stray))}; "
            "add them to classes or correct them"
        )
    return KeywordFile(tuple(classes) or tuple(sorted(used)), entries)


def match_keywords(file: KeywordFile, frames: Sequence[str]) -> Keywords:
    """Give each frame its keywords: an entry of its file name, else of its stem, else the first pattern that fits.

    Raises:
        WeakSupervisionError: no entry fits any frame.
    """
    index = {name: i for i, name in enumerate(file.classes)}
    present = np.zeros((len(frames), len(file.classes)), np.bool_)
    known = np.zeros(len(frames), np.bool_)
    patterns = [entry for entry in file.entries if any(c in entry for c in "*?[")]
    matched: set[str] = set()
    for i, frame in enumerate(frames):
        stem = PurePosixPath(frame).stem
        entry = next((name for name in (frame, stem) if name in file.entries), None)
        if entry is None:
            entry = next((p for p in patterns if fnmatchcase(frame, p) or fnmatchcase(stem, p)), None)
        if entry is None:
            continue
        matched.add(entry)
        known[i] = True
        present[i, [index[keyword] for keyword in file.entries[entry]]] = True
    if not matched:
        example = f"{frames[0]!r}" if frames else "none"
        raise WeakSupervisionError(
            f"expected keywords for frames of this recording (such as {example}), got entries of which none "
            f"fits (such as {next(iter(file.entries))!r}); name frames as in the frames' keywords.csv"
        )
    return Keywords(file.classes, present, known, tuple(name for name in file.entries if name not in matched))


def _parse_csv(text: str) -> dict[str, tuple[str, ...]]:
    entries: dict[str, tuple[str, ...]] = {}
    for number, row in enumerate(csv.reader(text.splitlines())):
        cells = [cell.strip() for cell in row]
        if not cells or not cells[0] or cells[0].startswith("#") or (number == 0 and cells[0].lower() == "image"):
            continue
        words = [word.strip() for cell in cells[1:] for word in cell.split(";")]
        entries[cells[0]] = tuple(dict.fromkeys(word for word in words if word))
    return entries


def _parse_yaml(text: str, path: Path) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    try:
        content = parse_yaml(text)
    except yaml.YAMLError as error:
        raise WeakSupervisionError(f"expected a YAML keyword file in {path}, got {error}") from error
    if not isinstance(content, dict):
        raise WeakSupervisionError(f"expected frame names and their keywords in {path}, got {_kind(content)}")
    images: dict[Any, Any] = content
    classes: tuple[str, ...] = ()
    if isinstance(content.get("images"), dict):
        images = content["images"]
        classes = _words(content.get("classes"), f"classes of {path}")
    return {str(name): _words(words, f"keywords of {name!r} in {path}") for name, words in images.items()}, classes


def _words(value: Any, what: str) -> tuple[str, ...]:
    if value is None:
        return ()
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) and word.strip() for word in words):
        raise WeakSupervisionError(f"expected {what} to be a list of words, got {value!r}; write [car, person]")
    return tuple(dict.fromkeys(word.strip() for word in words))


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
