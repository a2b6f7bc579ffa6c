"""What a file is, by its first bytes; names lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from rtseg.errors import MediaError
from rtseg.media.storage.base import Storage, StoredMessage
from rtseg.media.storage.byte_sources import ZSTD_MAGIC
from rtseg.media.storage.mcap import McapStorage
from rtseg.media.storage.ros1_bag import Ros1Storage
from rtseg.media.storage.sqlite import SqliteStorage
from rtseg.media.storage.sqlite_pages import MAGIC as SQLITE_MAGIC
from rtseg.media.storage.unpacking import Unpacked
from rtseg.printing import visible

_KINDS: dict[bytes, Callable[[Path, Path], Storage]] = {
    McapStorage.MAGIC: McapStorage,
    b"#ROSBAG V": Ros1Storage,
    SQLITE_MAGIC: SqliteStorage,
}
_BY_SUFFIX: dict[str, Callable[[Path, Path], Storage]] = {
    ".mcap": McapStorage,
    ".db3": SqliteStorage,
    ".bag": Ros1Storage,
}
SUFFIXES = tuple(_BY_SUFFIX)
_PACKED = {
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ\x00": "unxz",
    b"PK\x03\x04": "unzip",
    b"7z\xbc\xaf": "7z x",
    b"\x04\x22\x4d\x18": "unlz4",
}
_WRAPPED = (".zstd", ".zst", ".active", ".gz", ".bz2", ".xz", ".lz4", ".zip", ".7z")
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"


def head_of(path: Path) -> bytes:
    """The first bytes of a file; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(LFS_POINTER))
    except OSError:
        return b""


def suffix_of(path: Path) -> str:
    """What the name says the file is, one of `SUFFIXES` or nothing: drive.mcap.zst, DRIVE.BAG, drive.bag.active too."""
    for suffix in (suffix.lower() for suffix in reversed(path.suffixes)):
        if suffix in SUFFIXES:
            return suffix
        if suffix not in _WRAPPED:
            break
    return ""


def is_recording(path: Path) -> bool:
    """Whether a file is, or once was, a recording of ROS messages."""
    head = head_of(path)
    return any(head.startswith(magic) for magic in (*_KINDS, ZSTD_MAGIC)) or bool(suffix_of(path))


def refuse_packed(path: Path) -> None:
    """Tell an archive, and what is compressed otherwise than recordings are, from a video.

    Raises:
        MediaError: it is one.
    """
    head = head_of(path)
    for magic, command in _PACKED.items():
        if head.startswith(magic):
            names = {suffix.lower() for suffix in path.suffixes}
            unpack = "tar xf" if names & {".tar", ".tgz", ".tbz2", ".txz"} else command
            raise MediaError(
                f"expected a recording, a video or a picture, got {visible(path)}, which is packed; run {unpack} first"
            )


def refuse_pointer(path: Path) -> None:
    """Tell a Git LFS pointer from the file that it stands for.

    Raises:
        MediaError: it is one.
    """
    if head_of(path) == LFS_POINTER:
        raise MediaError(
            f"expected a recording or a picture, got {visible(path)}, a Git LFS pointer to one; run: git lfs pull"
        )


class UnpackedStorage(Storage):
    """A recording that is compressed as a whole."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._unpacked = Unpacked(path)
        try:
            self._inner = _open(path, self._unpacked.file)
        except BaseException:
            self._unpacked.close()
            raise
        self.counts = self._inner.counts

    def messages(self, topics: set[str]) -> Iterator[StoredMessage]:
        return self._inner.messages(topics)

    def close(self) -> None:
        self._inner.close()
        self._unpacked.close()


def open_storage(path: Path) -> Storage:
    """Open one file of a recording, whatever it is called.

    Raises:
        MediaError: it is none, or cannot be read.
    """
    refuse_pointer(path)
    if head_of(path).startswith(ZSTD_MAGIC):
        return UnpackedStorage(path)
    return _open(path, path)


def _open(path: Path, file: Path) -> Storage:
    try:
        with file.open("rb"):
            head = head_of(file)
    except OSError as error:
        raise MediaError(f"expected a recording, got {visible(path)} that cannot be read: {error.strerror}") from error
    for magic, kind in _KINDS.items():
        if head.startswith(magic):
            return kind(path, file)
    for magic, command in _PACKED.items():
        if head.startswith(magic):
            raise MediaError(f"expected a recording, got {visible(path)} that is compressed; run {command} first")
    kind_by_name = _BY_SUFFIX.get(suffix_of(path))
    if kind_by_name is None or not head:
        what = "is empty" if not head else "is none"
        raise MediaError(f"expected a recording, got {visible(path)} that {what}; copy or record it again")
    return kind_by_name(path, file)
