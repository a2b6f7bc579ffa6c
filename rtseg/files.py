"""Files that appear whole or not at all, and never in place of what they are made from.

Everything rtseg writes goes through here: under a name that nobody can guess, beside its target, renamed at the end. A
run that fails or is interrupted takes its unfinished files away; those of a run that was killed are taken away by the
next one that writes the same target. Unfinished files are locked while their run lives, so that none is mistaken.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rtseg.errors import MediaError

_UMASK = os.umask(0)
os.umask(_UMASK)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where there is no more room, on the disk or for whoever writes."""

_LONGEST = 56  # characters of the target's name in the temporary one: four bytes each still fit a file system's 255


class Part:
    """An unfinished file or folder beside its target, under a name that nobody can guess.

    Attributes:
        target: the name it is to have.
        path: where it is now; write there.

    Args:
        target: folders above it are made.
        folder: whether it is a folder.

    Raises:
        MediaError: the target is a folder where a file is wanted, a pipe or a device, or its folder cannot be written.
    """

    def __init__(self, target: str | Path, folder: bool = False) -> None:
        self.target = Path(target)
        self._folder = folder
        self._lock = -1
        try:
            if not folder and self.target.is_dir():
                raise IsADirectoryError(f"{self.target} is a folder")
            # A file would take the place of the device, as of /dev/null for everybody where root writes.
            if self.target.exists() and not (self.target.is_file() or self.target.is_dir()):
                raise FileExistsError(f"{self.target} is a pipe or a device")
            self.target.parent.mkdir(parents=True, exist_ok=True)
            _sweep(self.target)
            while True:
                self.path = self._make()
                self._lock = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW)
                _lock(self._lock)
                # Whoever swept between the two steps has taken it for a dead run's.
                if self.path.exists():
                    break
                self.discard()
        except OSError as error:
            self.discard()
            raise _failure(self.target, error) from error

    def _make(self) -> Path:
        prefix, suffix = f".{self.target.name[:_LONGEST]}.", ".part"
        if self._folder:
            made = Path(tempfile.mkdtemp(suffix, prefix, self.target.parent))
            made.chmod(0o777 & ~_UMASK)
            return made
        descriptor, name = tempfile.mkstemp(suffix, prefix, self.target.parent)
        os.fchmod(descriptor, 0o666 & ~_UMASK)
        os.close(descriptor)
        return Path(name)

    def keep(self, inner: str | Path = "") -> None:
        """Give the file, or a file inside the folder, the target's name; what had that name is gone.

        Raises:
            MediaError: the disk is full, or the folder has gone.
        """
        try:
            source = self.path / inner
            if not self._folder:  # some writers put a private file of their own in place of this one
                os.chmod(source, 0o666 & ~_UMASK)
            with source.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(source, self.target)
        except OSError as error:
            raise _failure(self.target, error) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Leave nothing behind; after `keep` nothing is left to do."""
        path = getattr(self, "path", None)
        if path is not None:
            _remove(path)
        if self._lock >= 0:
            with suppress(OSError):
                os.close(self._lock)
            self._lock = -1


def is_there(path: Path) -> bool:
    """Whether there is a file of this name, which may be a foreign one that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


@contextmanager
def replacing(target: str | Path) -> Iterator[Path]:
    """Give a path to write to; at the end of the block what was written takes the name `target`.

    Raises:
        MediaError: it cannot be written; an OSError of the block is taken for that.
    """
    part = Part(target)
    try:
        yield part.path
    except OSError as error:
        raise _failure(part.target, error) from error
    else:
        part.keep()
    finally:
        part.discard()


@contextmanager
def staging(target: str | Path) -> Iterator[Path]:
    """Give a folder beside `target` for what is made on the way to it; it is gone at the end of the block.

    Raises:
        MediaError: the folder cannot be made, or the disk is full in the block.
    """
    part = Part(target, folder=True)
    try:
        yield part.path
    except OSError as error:
        if error.errno in FULL and error.filename is None:  # which does not say what was written
            raise _failure(part.target, error) from error
        raise
    finally:
        part.discard()


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file as a whole, making its folder.

    Raises:
        MediaError: it cannot be written.
    """
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file as a whole, making its folder.

    Raises:
        MediaError: it cannot be written.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


@contextmanager
def held(folder: str | Path) -> Iterator[None]:
    """Hold a folder for results, made if missing, as long as the block runs; a second run is refused.

    If it is as empty at the end as it was made here, it is gone.

    Raises:
        MediaError: another run holds it, or it cannot be made.
    """
    folder = Path(folder)
    made = not folder.exists()
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder, os.O_RDONLY)
        except OSError as error:
            raise _failure(folder, error) from error
        if os.fstat(lock).st_nlink:
            break
        os.close(lock)  # another run has just taken it away
    try:
        if _lock(lock) is False:
            raise MediaError(
                f"expected to be alone in {folder}, got another run that is writing there; "
                "wait for its end or give another folder"
            )
        yield
    finally:
        if made:
            with suppress(OSError):
                folder.rmdir()
        os.close(lock)


def refuse_inputs(outputs: Iterable[str | Path], inputs: Iterable[str | Path]) -> None:
    """Refuse to write what is read, by whatever name or link.

    Args:
        outputs: files that would be written or replaced.
        inputs: files, and folders that are read as a whole, in which nothing is to appear.

    Raises:
        MediaError: one of the outputs is one of the inputs, or would lie in a folder of them.
    """
    read = [Path(path) for path in inputs]
    names = {os.path.realpath(path) for path in read}  # which minds no circle of links
    nodes = {_node(path) for path in read} - {None}
    for output in map(Path, outputs):
        place = os.path.realpath(output)
        if place in names or os.path.dirname(place) in names or _node(output) in nodes:
            raise MediaError(
                f"expected another place for the results, got {output}, which is an input or would become one; "
                "give another --out"
            )


def check_outputs(folder: Path, names: Iterable[str], inputs: Iterable[str | Path]) -> None:
    """Make sure, before anything that takes long, that files can be written to a folder and are none of the inputs.

    Args:
        folder: for the results; made if missing.
        names: of the files.
        inputs: see :func:`refuse_inputs`.

    Raises:
        MediaError: they are, or cannot.
    """
    refuse_inputs([folder / name for name in names], inputs)
    for name in names:
        Part(folder / name).discard()


def _node(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _lock(descriptor: int) -> bool | None:
    """Lock an open file or folder against other runs; None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _sweep(target: Path) -> None:
    """Remove what runs that were killed left of this target."""
    name = re.compile(rf"\.{re.escape(target.name[:_LONGEST])}\.[a-z0-9_]{{8}}\.part")
    with suppress(OSError), os.scandir(target.parent) as entries:
        found = [Path(entry.path) for entry in entries if name.fullmatch(entry.name)]
        for path in found:
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    kind = os.fstat(descriptor).st_mode
                    if (stat.S_ISREG(kind) or stat.S_ISDIR(kind)) and _lock(descriptor):
                        _remove(path)
                finally:
                    os.close(descriptor)


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _failure(target: Path, error: OSError) -> MediaError:
    return MediaError(
        f"expected to write {target}, got {error.strerror or error}; check the folder and the space on the disk"
    )
