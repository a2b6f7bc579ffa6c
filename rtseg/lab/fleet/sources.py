"""Which recordings a fleet job is about: files, folders, patterns and manifests, here or remote."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import fsspec

from rtseg.errors import MediaError
from rtseg.lab.fleet.label_folders import LabelFinder, holds_labels
from rtseg.lab.fleet.local_copy import METADATA
from rtseg.media.images import IMAGE_SUFFIXES
from rtseg.media.natural_order import natural_key

VIDEO_SUFFIXES = (
    *(".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".h264", ".h265"),
    *(".hevc", ".mjpeg", ".flv", ".wmv", ".3gp", ".ogv"),
)
BAG_SUFFIXES = (".bag", ".mcap", ".db3")
_PACKED = (".zstd", ".zst")  # bags that are compressed as a whole
MANIFEST_SUFFIXES = (".txt", ".csv", ".parquet")
COLUMN = "recording"
"""Of a manifest; without it the first column."""

_SAMPLE = 65536  # bytes that are compared first, at the start, the middle and the end of files of one size


@dataclass(frozen=True)
class Recording:
    """One recording, not opened yet.

    Attributes:
        uri: absolute path, or the address that fsspec knows it by (``s3://bucket/drive.mcap``).
        version: changes when its content does: of sizes, and of times or tags that the file system keeps; of its
            labels too.
        size: bytes of all its files.
        labels: address of the folder with its labels, empty where there is none.
    """

    uri: str
    version: str
    size: int
    labels: str = ""

    @property
    def key(self) -> str:
        """A name for files about it: readable, and unlike that of any other recording."""
        stem = "".join(c if c.isalnum() and c.isascii() else "-" for c in PurePosixPath(self.uri).name)[:40].strip("-")
        return f"{stem or 'recording'}.{hashlib.blake2b(self.uri.encode(), digest_size=6).hexdigest()}"


@dataclass(frozen=True)
class SourceFault:
    """A source that gives nothing to work on.

    Attributes:
        uri: as it was given.
        kind: ``missing``, ``empty`` or ``duplicate``.
        reason: one sentence.
    """

    uri: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Sources:
    """What was found: recordings in the order they were named, and sources that are none."""

    recordings: tuple[Recording, ...]
    faults: tuple[SourceFault, ...]


def find_recordings(sources: Sequence[str]) -> Sources:
    """Find the recordings that files, folders, glob patterns and manifests name.

    A folder is searched to its bottom: each ROS 2 bag (a folder with ``metadata.yaml``), each other bag or video file,
    and each folder of pictures is one recording. A manifest (.txt: one a line, ``#`` begins a comment; .csv or
    .parquet: the column ``recording``, else the first) names sources, relative to its own folder. Any address that
    fsspec knows will do. Of files with the same bytes only the first is kept.

    Labels of ``drive.mp4`` or of the bag ``drive`` are what the folder ``drive.labels`` beside it holds; those of a
    folder of pictures lie in it, or in the folder around it.

    Raises:
        MediaError: a manifest cannot be read, or a file system not be reached.
    """
    recordings: dict[str, Recording] = {}
    faults: list[SourceFault] = []
    files: dict[str, list[str]] = {}
    finders: dict[Any, LabelFinder] = {}
    for source in _unrolled(sources):
        try:
            found = _expand(source, finders)
        except FileNotFoundError:
            faults.append(SourceFault(source, "missing", f"expected a recording, got {source} that does not exist"))
            continue
        except (OSError, ImportError, ValueError) as error:
            raise MediaError(f"expected a source that can be reached, got {source} ({error}); check it") from error
        if not found:
            faults.append(SourceFault(source, "empty", f"expected recordings, got none in {source}"))
        for recording, parts in found:
            if recording.uri in recordings:
                reason = f"{recording.uri} is named more than once"
                faults.append(SourceFault(recording.uri, "duplicate", reason))
            elif not recording.size:
                faults.append(SourceFault(recording.uri, "empty", f"{recording.uri} has no bytes"))
            else:
                recordings[recording.uri] = recording
                files[recording.uri] = parts
    twins = _same_bytes(recordings.values(), files)
    faults += [SourceFault(uri, "duplicate", f"{uri} has the same bytes as {first}") for uri, first in twins.items()]
    return Sources(tuple(r for r in recordings.values() if r.uri not in twins), tuple(faults))


def _unrolled(sources: Iterable[str]) -> Iterator[str]:
    """The sources, with those that manifests name in their place."""
    for source in sources:
        if PurePosixPath(source).suffix.lower() not in MANIFEST_SUFFIXES or _is_pattern(source):
            yield source
            continue
        folder = source.rpartition("/")[0]
        for name in _manifest(source):
            yield name if "://" in name or name.startswith("/") or not folder else f"{folder}/{name}"


def _manifest(path: str) -> list[str]:
    suffix = PurePosixPath(path).suffix.lower()
    try:
        with fsspec.open(path, "rb") as file:
            content = file.read()
        if suffix == ".parquet":
            import pyarrow.parquet as parquet

            table = parquet.read_table(io.BytesIO(content))
            names = table[COLUMN if COLUMN in table.column_names else table.column_names[0]].to_pylist()
        elif suffix == ".csv":
            rows = [row for row in csv.reader(io.StringIO(content.decode("utf-8-sig"))) if row]
            column = rows[0].index(COLUMN) if rows and COLUMN in rows[0] else 0
            names = [row[column] for row in rows[1 if rows and COLUMN in rows[0] else 0 :]]
        else:
            names = [line.partition("#")[0] for line in content.decode("utf-8-sig").splitlines()]
        return [name.strip() for name in names if name.strip()]
    except (OSError, ImportError, ValueError, IndexError, AttributeError) as error:
        raise MediaError(f"expected a manifest of recordings, got {path} that cannot be read ({error})") from error


def _expand(source: str, finders: dict[Any, LabelFinder]) -> list[tuple[Recording, list[str]]]:
    """The recordings of a source that is no manifest, with their files."""
    fs, path = fsspec.core.url_to_fs(source)
    finder = finders.setdefault(fs, LabelFinder(fs))
    if _is_local(fs):
        path = os.path.realpath(path)
    if _is_pattern(source) and not fs.exists(path):
        found = []
        fixed = path[: min(path.index(c) for c in "*?[" if c in path)].rpartition("/")[0]
        for match, info in sorted(fs.glob(path, detail=True).items(), key=lambda item: natural_key(item[0])):
            if info["type"] == "directory":
                found += _grouped(fs, fs.find(match, detail=True), fixed, finder)
            elif not holds_labels(match, fixed):
                found += _grouped(fs, {match: info}, fixed, finder)
        return list({recording.uri: (recording, files) for recording, files in found}.values())
    info = fs.info(path)
    if info["type"] == "directory":
        return _grouped(fs, fs.find(path, detail=True), path, finder)
    return [_recording(fs, path, {path: info}, finder)]


def _grouped(
    fs: Any, infos: dict[str, dict[str, Any]], root: str, finder: LabelFinder
) -> list[tuple[Recording, list[str]]]:
    """Tell which files are recordings, and which are parts of one."""
    folders: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for path, info in infos.items():
        hidden = any(part.startswith(".") for part in path[len(root) :].split("/"))
        if not hidden and not holds_labels(path, root):
            folders[path.rpartition("/")[0]][path] = info
    found = []
    for folder in sorted(folders, key=natural_key):
        files = folders[folder]
        by_suffix = {path: _suffix(path) for path in files}
        if f"{folder}/{METADATA}" in files:
            parts = {path: info for path, info in files.items() if by_suffix[path] in (*BAG_SUFFIXES, ".yaml")}
            found.append(_recording(fs, folder, parts, finder))
            continue
        pictures = {path: info for path, info in files.items() if by_suffix[path] in IMAGE_SUFFIXES}
        if pictures:
            found.append(_recording(fs, folder, pictures, finder, pictures=True))
        for path in sorted(files, key=natural_key):
            if by_suffix[path] in (*BAG_SUFFIXES, *VIDEO_SUFFIXES):
                found.append(_recording(fs, path, {path: files[path]}, finder))
    return found


def _suffix(path: str) -> str:
    """What tells the kind of a file: the end of its name, of a compressed bag the one before."""
    end = PurePosixPath(path).suffix.lower()
    inner = PurePosixPath(path).with_suffix("").suffix.lower()
    return inner if end in _PACKED and inner in BAG_SUFFIXES else end


def _recording(
    fs: Any, path: str, infos: dict[str, dict[str, Any]], finder: LabelFinder, pictures: bool = False
) -> tuple[Recording, list[str]]:
    labels, labelled = finder.find(path, infos if pictures else ())
    digest = hashlib.blake2b(digest_size=16)
    for name, info in [*sorted(infos.items()), *sorted(labelled.items())]:
        tag = next((info[k] for k in ("ETag", "etag", "md5Hash", "mtime", "LastModified", "created") if k in info), "")
        digest.update(f"{name[len(path) :]}\0{info['size']}\0{tag}\0".encode())
    size = sum(int(info["size"] or 0) for info in infos.values())
    uri, labels = (name if _is_local(fs) or not name else fs.unstrip_protocol(name) for name in (path, labels))
    return Recording(uri, digest.hexdigest(), size, labels), sorted(infos)


def _same_bytes(recordings: Iterable[Recording], files: dict[str, list[str]]) -> dict[str, str]:
    """Recording -> the one before it that has the same bytes; only those of one size are read at all."""
    twins: dict[str, str] = {}
    for one_size in _alike(recordings, lambda recording: recording.size):
        for one_sample in _alike(one_size, lambda recording: _digest(recording, files[recording.uri], whole=False)):
            for same in _alike(one_sample, lambda recording: _digest(recording, files[recording.uri], whole=True)):
                twins.update({recording.uri: same[0].uri for recording in same[1:]})
    return twins


def _alike(recordings: Iterable[Recording], key: Callable[[Recording], object]) -> list[list[Recording]]:
    """Groups of several that have one key, in order."""
    groups: dict[object, list[Recording]] = defaultdict(list)
    for recording in recordings:
        groups[key(recording)].append(recording)
    return [group for group in groups.values() if len(group) > 1]


def _digest(recording: Recording, files: list[str], whole: bool) -> str:
    fs, _ = fsspec.core.url_to_fs(recording.uri)
    digest = hashlib.blake2b(digest_size=16)
    for path in files if whole else [files[0], files[len(files) // 2], files[-1]]:
        with fs.open(path, "rb") as file:
            if whole:
                while block := file.read(1 << 22):
                    digest.update(block)
                continue
            size = fs.size(path)
            for start in (0, size // 2, max(0, size - _SAMPLE)):
                file.seek(start)
                digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def _is_pattern(source: str) -> bool:
    return any(c in source for c in "*?[")


def _is_local(fs: Any) -> bool:
    return "file" in (fs.protocol if isinstance(fs.protocol, (tuple, list)) else (fs.protocol,))
