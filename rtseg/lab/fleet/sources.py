"""Which recordings a fleet job is about: files, folders, patterns and manifests, here or remote."""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import fsspec

from rtseg.errors import MediaError
from rtseg.lab.fleet.label_folders import LabelFinder, holds_labels
from rtseg.lab.fleet.local_copy import METADATA
from rtseg.lab.fleet.manifests import MANIFEST_SUFFIXES, is_manifest, is_pattern, read_manifest
from rtseg.lab.fleet.stores import Infos, files_below, is_local, printable, reaching
from rtseg.media.images import IMAGE_SUFFIXES
from rtseg.media.natural_order import natural_key

VIDEO_SUFFIXES = (
    *(".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".h264", ".h265"),
    *(".hevc", ".264", ".265", ".avc", ".mjpeg", ".flv", ".f4v", ".wmv", ".asf", ".3gp", ".3g2", ".ogv", ".mxf"),
    *(".vob", ".dv", ".nut", ".y4m", ".ivf", ".obu"),
)
BAG_SUFFIXES = (".bag", ".mcap", ".db3")
_PACKED = (".zstd", ".zst")  # bags that are compressed as a whole
_RESULT = re.compile(r"/bags/[^/]+\.[0-9a-f]{12}\.[0-9a-f]{16}/result\.mcap$")
"""A result bag that a job has written, see :func:`rtseg.lab.fleet.page.bag_of`."""

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
        kind: ``missing``, ``empty``, ``unreachable`` or ``duplicate``.
        reason: one sentence.
    """

    uri: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Sources:
    """What was found: recordings in the order they were named, sources that are none, and which of them are twins."""

    recordings: tuple[Recording, ...]
    faults: tuple[SourceFault, ...]
    twins: tuple[Recording, ...] = ()


def find_recordings(sources: Sequence[str]) -> Sources:
    """Find the recordings that files, folders, glob patterns and manifests name.

    A folder is searched to its bottom: each ROS 2 bag (a folder with ``metadata.yaml``), each other bag or video file,
    and each folder of pictures is one recording; result bags of fleet jobs are none. A manifest
    (:func:`rtseg.lab.fleet.manifests.read_manifest`) names sources, relative to its own folder. Any address that fsspec
    knows will do. Of files with the same bytes only the first is kept.

    Labels of ``drive.mp4`` or of the bag ``drive`` are what the folder ``drive.labels`` beside it holds; those of a
    folder of pictures lie in it, or in the folder around it.

    Sources that give nothing, manifests that cannot be read among them, are told and end nothing.
    """
    recordings: dict[str, Recording] = {}
    faults: list[SourceFault] = []
    files: dict[str, list[str]] = {}
    finders: dict[Any, LabelFinder] = {}
    for source in _unrolled(sources, faults):
        try:
            with reaching(source):
                found, closed = _expand(source, finders)
        except MediaError as error:
            missing = isinstance(error.__cause__, FileNotFoundError)
            reason = f"expected a recording, got {source} that does not exist" if missing else str(error)
            faults.append(SourceFault(source, "missing" if missing else "unreachable", reason))
            continue
        faults += [
            SourceFault(folder, "unreachable", f"{folder} cannot be looked into: {why}")
            for folder, why in ((printable(folder), why) for folder, why in closed)
        ]
        if not found and not closed:
            faults.append(SourceFault(source, "empty", f"expected recordings, got none in {source}"))
        for recording, parts in found:
            if (shown := printable(recording.uri)) != recording.uri:
                faults.append(_unnameable(shown))
            elif recording.uri in recordings:
                reason = f"{recording.uri} is named more than once"
                faults.append(SourceFault(recording.uri, "duplicate", reason))
            elif not recording.size:
                reason = f"{recording.uri} has no bytes, or is a link to nothing"
                faults.append(SourceFault(recording.uri, "empty", reason))
            else:
                recordings[recording.uri] = recording
                files[recording.uri] = parts
    for uri, bag in _parts_of_bags(files).items():
        faults.append(SourceFault(uri, "duplicate", f"{uri} is a part of {bag}, which is among the sources"))
        del recordings[uri]
    twins = _same_bytes(recordings.values(), files)
    faults += [SourceFault(uri, "duplicate", f"{uri} has the same bytes as {first}") for uri, first in twins.items()]
    kept, left = ([r for r in recordings.values() if (r.uri in twins) is twin] for twin in (False, True))
    return Sources(tuple(kept), tuple(faults), tuple(left))


def _parts_of_bags(files: dict[str, list[str]]) -> dict[str, str]:
    """Recordings that are files of another one, by their addresses, with that one's."""
    bags = {uri: parts for uri, parts in files.items() if any(part.endswith(f"/{METADATA}") for part in parts)}
    folders = {uri: uri.rpartition("/")[0] for uri in files}
    return {uri: folder for uri, folder in folders.items() if folder in bags and files[uri][0] in bags[folder]}


def _unrolled(sources: Iterable[str], faults: list[SourceFault]) -> Iterator[str]:
    """The sources, with those that manifests name in their place."""
    for source in sources:
        if (shown := printable(source)) != source:
            faults.append(_unnameable(shown))
            continue
        try:
            if not is_manifest(source):
                yield source
                continue
            names = read_manifest(source)
        except MediaError as error:
            kind = "missing" if isinstance(error.__cause__, FileNotFoundError) else "unreachable"
            faults.append(SourceFault(source, kind, str(error)))
            continue
        if not names:
            faults.append(SourceFault(source, "empty", f"expected recordings, got a manifest {source} that names none"))
        for name in names:
            if PurePosixPath(name).suffix.lower() in MANIFEST_SUFFIXES and not is_pattern(name):
                reason = f"expected a recording, got {name} in {source}, a manifest in a manifest; name what it names"
                faults.append(SourceFault(name, "unreachable", reason))
            else:
                yield name


def _unnameable(shown: str) -> SourceFault:
    """Rows, pages and JSON are UTF-8; so have to be the names in them."""
    return SourceFault(shown, "unreachable", f"expected a name in UTF-8, got {shown}; rename it")


def _expand(
    source: str, finders: dict[Any, LabelFinder]
) -> tuple[list[tuple[Recording, list[str]]], list[tuple[str, str]]]:
    """The recordings of a source that is no manifest, with their files; folders that cannot be looked into, and why."""
    if not source.strip():
        raise FileNotFoundError(source)
    fs, path = fsspec.core.url_to_fs(source)
    finder = finders.setdefault(fs, LabelFinder(fs))
    if is_local(fs):
        path = os.path.realpath(path)
    if is_pattern(source) and not fs.exists(path):
        matched: Infos = {}
        closed: list[tuple[str, str]] = []
        fixed = path[: min(path.index(c) for c in "*?[" if c in path)].rpartition("/")[0]
        for match, info in fs.glob(path, detail=True).items():
            if info["type"] == "directory" or (info["type"] == "other" and fs.isdir(match)):
                below, shut = files_below(fs, match)
                closed += shut
                matched |= below
            else:
                matched[match] = info
        return _grouped(fs, matched, fixed, finder), closed
    info = fs.info(path)
    if info["type"] == "directory":
        files, closed = files_below(fs, path)
        return _grouped(fs, files, path, finder), closed
    folder, _, name = path.rpartition("/")
    if name == METADATA:  # of a bag, which is its folder
        beside = {one["name"]: one for one in fs.ls(folder, detail=True) if one["type"] == "file"}
        return _grouped(fs, beside, folder, finder), []
    return [_recording(fs, path, {path: info}, finder)], []


def _grouped(
    fs: Any, infos: dict[str, dict[str, Any]], root: str, finder: LabelFinder
) -> list[tuple[Recording, list[str]]]:
    """Tell which files are recordings, and which are parts of one."""
    folders: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for path, info in infos.items():
        hidden = any(part.startswith(".") for part in path[len(root) :].split("/"))
        if not hidden and not holds_labels(path, root) and not _RESULT.search(path):
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
        digest.update(f"{printable(name[len(path) :])}\0{info['size']}\0{tag}\0".encode())
    size = sum(int(info["size"] or 0) for info in infos.values())
    uri, labels = (name if is_local(fs) or not name else fs.unstrip_protocol(name) for name in (path, labels))
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
    try:
        with reaching(recording.uri):
            return _digest_of(fsspec.core.url_to_fs(recording.uri)[0], files, whole)
    except MediaError:
        return recording.uri  # what cannot be read is told by who wants to work on it


def _digest_of(fs: Any, files: list[str], whole: bool) -> str:
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
