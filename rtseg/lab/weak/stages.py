"""Stages of a long run whose products lie on disk: an interrupted run goes on, a changed input is worked through again.

Each stage has a folder, `NN-name/`, that appears when it is complete, with a `stage.json` that says what it was made
from and what it holds. A stage is keyed by its settings and by the content of what it reads, so that a stage whose
inputs come out the same is kept even where the stages before it ran again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtseg.errors import WeakSupervisionError
from rtseg.files import write_text
from rtseg.runtime.card import sha256_of

RECORD = "stage.json"
_FORMAT = 1  # of the products of all stages; another number makes all of them again

Build = Callable[[Path], Mapping[str, Any]]


@dataclass(frozen=True)
class Stage:
    """A finished stage.

    Attributes:
        name: of the stage.
        folder: where its products are.
        digest: hash of its products' content; the key of the stages that read them.
        summary: what it says about itself, for the report.
        seconds: how long it took when it ran.
        reused: whether it was there already.
    """

    name: str
    folder: Path
    digest: str
    summary: Mapping[str, Any]
    seconds: float
    reused: bool


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content.

    Raises:
        WeakSupervisionError: the file cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise WeakSupervisionError(f"expected a readable file, got {path} ({error.strerror}); check the path") from None


def tree_digest(path: Path) -> str:
    """SHA-256 of a file, or of all files below a folder with their names.

    Raises:
        WeakSupervisionError: there is no such file or folder, or one that cannot be read.
    """
    return _digest(_files(path)) if path.is_dir() else file_digest(path)


def listing_digest(path: Path) -> str:
    """Hash of names, sizes and times of a file or of a folder's files, for recordings too large to read twice."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return _digest([[str(p.relative_to(path)), p.stat().st_size, p.stat().st_mtime_ns] for p in files if p.exists()])


def run_stage(out: Path, number: int, name: str, inputs: Mapping[str, Any], build: Build) -> Stage:
    """Run a stage, or take what an earlier run made from the same inputs.

    Args:
        out: folder of the run.
        number: place of the stage among the others, for the folder's name.
        name: of the stage.
        inputs: everything the products depend on, as JSON can hold: settings, and digests of what is read.
        build: fills the folder that it is given, which holds what an interrupted run with the same inputs left there,
            and returns the summary.

    Raises:
        WeakSupervisionError: the folder cannot be written.
    """
    folder = out / f"{number:02d}-{name}"
    key = _digest([_FORMAT, inputs])
    kept = _read_complete(folder, name, key)
    if kept is not None:
        return kept
    # Not a name at random: what an interrupted run has made is gone on with.
    partial = out / f".{folder.name}.part"
    try:
        if partial.is_symlink():
            partial.unlink()
        if not (partial / RECORD).is_file() or _read(partial / RECORD).get("key") != key:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            _write(partial / RECORD, {"key": key})
        start = time.monotonic()
        summary = dict(build(partial))
        seconds = time.monotonic() - start
        files = _files(partial)
        digest = _digest(files)
        record = {
            "stage": name,
            "key": key,
            "digest": digest,
            "seconds": round(seconds, 2),
            "inputs": inputs,
            "summary": summary,
            "files": files,
        }
        _write(partial / RECORD, record)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    except OSError as error:
        raise WeakSupervisionError(
            f"expected to write stage {name} to {folder}, got {error}; check the folder and the disk"
        ) from error
    return Stage(name, folder, digest, summary, seconds, reused=False)


def _read_complete(folder: Path, name: str, key: str) -> Stage | None:
    """The stage in this folder if it was made from these inputs and is as it was written."""
    record = _read(folder / RECORD)
    if record.get("key") != key or "digest" not in record or record.get("files") != _files(folder):
        return None
    return Stage(name, folder, record["digest"], record["summary"], record["seconds"], reused=True)


def _files(folder: Path) -> dict[str, str]:
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / RECORD)
    return {p.relative_to(folder).as_posix(): file_digest(p) for p in paths}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _write(path: Path, record: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(record, indent=1))
