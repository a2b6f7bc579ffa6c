"""Local and remote folders and files, whose errors are told as one kind."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

import fsspec

from rtseg.errors import MediaError, RtsegError
from rtseg.runtime.models import known_models

Infos = dict[str, dict[str, Any]]
"""What a file system says of files, by path."""


_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+:)/+")  # a path object has made one slash of two


class UnreachableError(MediaError):
    """A place that cannot be reached now, and may be later: a store that is busy, a connection that broke off."""


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """Tell whatever goes wrong with a local or remote place as one kind of error; each store has kinds of its own.

    Raises:
        MediaError: it is not there, or is closed to this user.
        UnreachableError: it cannot be reached, read or written.
    """
    try:
        yield
    except RtsegError:
        raise
    except Exception as error:
        said = str(error) or type(error).__name__
        lasting = isinstance(error, (FileNotFoundError, PermissionError, ImportError))
        raise (MediaError if lasting else UnreachableError)(
            f"expected to reach {address}, got {said}; check the address, who may use it, and the connection"
        ) from error


def is_local(fs: Any) -> bool:
    """Whether a file system of fsspec is this machine's own."""
    return "file" in (fs.protocol if isinstance(fs.protocol, (tuple, list)) else (fs.protocol,))


def absolute(address: str) -> str:
    """A place's name that holds in every process: of a local one the path from the root.

    Raises:
        MediaError: there is no such kind of address.
    """
    with reaching(address):
        fs, path = fsspec.core.url_to_fs(address)
    return os.path.abspath(path) if is_local(fs) else address.rstrip("/")


def printable(name: str) -> str:
    """A file's name as text that can be written anywhere: bytes of it that are no UTF-8 as escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def common_folder(addresses: Iterable[str]) -> str:
    """The folder that all of these lie in, with the slash at its end; empty where that is none but the root.

    Without it recordings have names that people read, and that differ however vehicles name their files.
    """
    folders = [address.split("/")[:-1] for address in addresses]
    if not folders:
        return ""
    # What the first and the last by name have in common all between them have.
    pairs = zip(min(folders), max(folders), strict=False)
    common = [name for name, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return "/".join((*common, "")) if common and common[-1] else ""


def local_folder(address: str | Path) -> Path:
    """A folder of this machine; of what is written file by file nothing goes to an object store.

    Raises:
        MediaError: it is remote.
    """
    if _ADDRESS.match(str(address)):
        given = _ADDRESS.sub(r"\1//", str(address), count=1)
        raise MediaError(f"expected a folder of this machine, got {given}; give one, and copy what is in it then")
    return Path(address)


def known_model(model: str) -> str:
    """A model's name that holds in every process: one that has a name keeps it, a folder gets its path from the root.

    A text without a separator is a name first, as of :func:`rtseg.runtime.find_model`.
    """
    return model if model in known_models() else os.path.abspath(model)


def files_below(fs: Any, folder: str) -> tuple[Infos, list[tuple[str, str]]]:
    """The files of a folder, to its bottom.

    Links to folders are followed, each folder once: under its own name where that lies below `folder`, too. Names that
    begin with a dot are left out of local folders.

    Returns:
        The files with what the file system says of them, and folders that cannot be looked into with the reason.
    """
    if not is_local(fs):
        return fs.find(folder, detail=True), []
    files: Infos = {}
    closed: list[tuple[str, str]] = []
    seen: set[tuple[int, int]] = set()
    folders, links = deque([folder]), deque[str]()
    while folders or links:
        here = (folders or links).popleft()
        try:
            node = os.stat(here)
            if (node.st_dev, node.st_ino) in seen:
                continue
            seen.add((node.st_dev, node.st_ino))
            with os.scandir(here) as entries:
                inside = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            closed.append((here, error.strerror or str(error)))
            continue
        for entry in sorted(inside, key=lambda entry: entry.name):
            if _is_folder(entry):
                (links if entry.is_symlink() else folders).append(entry.path)
            else:
                files[entry.path] = _info(entry)
    return files, closed


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _info(entry: os.DirEntry[str]) -> dict[str, Any]:
    """Of a link to nothing, and of what is no file, no bytes."""
    with suppress(OSError):
        found = entry.stat()
        if entry.is_file():
            return {"name": entry.path, "type": "file", "size": found.st_size, "mtime": found.st_mtime}
    return {"name": entry.path, "type": "other", "size": 0}
