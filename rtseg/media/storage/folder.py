"""Which files a recording consists of: one, or those of a folder, with or without a metadata.yaml that tells."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import yaml

from rtseg.errors import MediaError
from rtseg.files import is_there
from rtseg.media.damage import logger
from rtseg.media.natural_order import natural_key
from rtseg.media.storage.base import Storage
from rtseg.media.storage.kinds import is_recording, open_storage, suffix_of
from rtseg.printing import visible
from rtseg.yaml_text import parse_yaml

METADATA = "metadata.yaml"
MAX_METADATA = 1 << 20
_KEY = "rosbag2_bagfile_information"


def is_bag(path: Path) -> bool:
    """Whether `path` is a recording of ROS messages: a file, the folder of a ROS 2 bag, or its metadata.yaml."""
    if path.is_dir():
        return (path / METADATA).is_file() or bool(_storage_files(path))
    return path.is_file() and (_is_metadata(path) or is_recording(path))


def open_recording(path: Path) -> list[Storage]:
    """Open the files of a recording, in order; what is missing or cannot be read is told, as long as something can.

    Raises:
        MediaError: there is nothing, or nothing that can be read.
    """
    if not path.exists():
        raise MediaError(f"expected a bag, got {visible(path)} that does not exist; check the path")
    if not path.is_file() and not path.is_dir():
        raise MediaError(f"expected a bag, got {visible(path)}, which is a pipe or a device; save it as a file")
    if _is_metadata(path):
        path = path.parent
    if not path.is_dir():
        return [open_storage(path)]
    files = _files_of(path)
    if not files:
        raise MediaError(
            f"expected a ROS 2 bag, got {visible(path)} without a .mcap or .db3 file; copy the whole folder"
        )
    opened: list[Storage] = []
    failures: list[MediaError] = []
    try:
        for file in files:
            try:
                opened.append(open_storage(file))
            except MediaError as error:
                failures.append(error)
    except BaseException:
        for storage in opened:
            storage.close()
        raise
    if not opened:
        raise failures[0]
    for failure in failures:
        logger.warning("left out a file of the bag: %s", failure)
    return opened


def _is_metadata(path: Path) -> bool:
    return path.is_file() and path.suffix in (".yaml", ".yml") and (path.name == METADATA or _KEY in _text(path))


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_METADATA)
    except OSError:
        return ""


def _storage_files(folder: Path) -> list[Path]:
    try:
        found = [p for p in folder.iterdir() if suffix_of(p) in (".mcap", ".db3") and p.is_file()]
    except OSError as error:
        raise MediaError(f"expected a folder, got {visible(folder)} that cannot be read: {error.strerror}") from error
    return sorted(found, key=natural_key)


def _files_of(folder: Path) -> list[Path]:
    """The files that metadata.yaml lists, and those of the same recording that it does not."""
    there = _storage_files(folder)
    listed: list[Path] = []
    names = _listed(folder / METADATA) if (folder / METADATA).is_file() else []
    for name in names:
        file = _find(folder, name, there)
        if file is None:
            logger.warning("left out: %s, which metadata.yaml lists, is missing", visible(name))
        elif file not in listed:
            listed.append(file)
    family = {_family(file) for file in listed}
    told = len(listed)
    taken = {_base_name(file) for file in listed}
    for file in there:
        if file in listed:
            continue
        if _base_name(file) in taken:
            if not listed or suffix_of(file) != suffix_of(next(f for f in listed if _base_name(f) == _base_name(file))):
                logger.warning("left out: %s, the same recording as another file beside it", visible(file))
        elif family and _family(file) not in family:
            logger.warning("left out: %s, which metadata.yaml does not list", visible(file))
        else:
            if names:
                logger.warning("%s is read though metadata.yaml does not list it", visible(file))
            listed.append(file)
            taken.add(_base_name(file))
    return sorted(listed, key=natural_key) if len(listed) > told else listed


def _listed(path: Path) -> list[str]:
    """The files that a metadata.yaml names; none if it does not parse."""
    try:
        content = parse_yaml(_text(path))
        names = content[_KEY]["relative_file_paths"]
    except (yaml.YAMLError, TypeError, KeyError):
        logger.warning("%s cannot be used; going on with the files beside it", visible(path))
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _find(folder: Path, name: str, there: list[Path]) -> Path | None:
    """The file of that name, inside the folder; with or without the ending of a compressed one."""
    relative = PurePosixPath(name)
    if not relative.is_absolute() and ".." not in relative.parts and is_there(folder / relative):
        return folder / relative
    bare = _strip(relative.name)
    return next((file for file in there if _strip(file.name) == bare), None)


def _strip(name: str) -> str:
    return re.sub(r"\.(zstd|zst)$", "", name)


def _base_name(file: Path) -> str:
    return re.sub(r"\.(mcap|db3)$", "", _strip(file.name), flags=re.IGNORECASE)


def _family(file: Path) -> str:
    """What the names of a split recording's files have in common: rosbag2 numbers them."""
    return re.sub(r"_\d+$", "", _base_name(file))
