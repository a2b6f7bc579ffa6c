"""The SQLite files of ROS 2 bags, read by SQLite where they are sound, and page by page where they are not."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rtseg.counted import counted
from rtseg.errors import MediaError
from rtseg.media.storage.base import MAX_MESSAGE, Channel, Storage, StoredMessage, message_type
from rtseg.media.storage.byte_sources import FileBytes
from rtseg.media.storage.sqlite_pages import Cell, Pages, columns
from rtseg.media.storage.unpacking import room_for
from rtseg.printing import visible

SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError, OverflowError, ValueError, MemoryError)
"""What comes out of SQLite, which takes some damaged lengths for a want of memory."""
PATIENCE = 10.0
"""Seconds after which SQLite has to have given another row: a view can compute for ever."""


class SqliteStorage(Storage):
    """A ``.db3`` file. What its recorder had not yet moved out of the write-ahead log beside it is read too.

    Raises:
        MediaError: it cannot be read, is no such file, or holds no topics and messages.
    """

    def __init__(self, path: Path, file: Path | None = None) -> None:
        super().__init__(path)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._connection: sqlite3.Connection | None = None
        self._channels: dict[int, Channel] = {}
        self._deadline = 0.0
        self._gaps = False  # keys are missing: rows may be, too
        try:
            self._path = self._with_log(file or path)
            self._file = FileBytes(self._path)
        except OSError as error:
            self._remove()
            raise MediaError(f"expected a recording, got {visible(path)} that cannot be read: {error}") from error
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._file.close()
        self._remove()

    def _remove(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def messages(self, topics: set[str]) -> Iterator[StoredMessage]:
        wanted = {number for number, channel in self._channels.items() if channel.topic in topics}
        yield from self._by_tree(wanted) if self._connection is not None else self._by_page(wanted)

    def _open(self) -> None:
        if self._file.size == 0:
            raise MediaError(f"expected a recording, got {visible(self.path)} that is empty; copy or record it again")
        try:
            if Pages(self._file).cut:
                raise sqlite3.DatabaseError("its end is missing")
            self._connection = self._connect()
            self._count(self._rows())
            return
        except SQLITE_ERRORS as error:
            reason = str(error) or type(error).__name__
            if self._connection is not None:
                self._connection.close()
                self._connection = None
        self._channels = self._channels_by_page()
        found = self._count(self._channels[number] for _, number, _, _ in self._cells())
        if not found:
            raise MediaError(
                f"expected a recording of ROS 2, got {visible(self.path)} without tables of topics and messages that "
                f"can be read ({visible(reason)}); copy or record it again"
            )
        self.tell(f"is damaged ({visible(reason)}); going on with the {counted(found, 'message')} found")

    # By SQLite.

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute("PRAGMA query_only=ON")
            connection.set_progress_handler(lambda: time.monotonic() > self._deadline, 100_000)
            if hasattr(connection, "setlimit"):  # Python 3.11
                connection.setlimit(0, MAX_MESSAGE)  # SQLITE_LIMIT_LENGTH
            self._deadline = time.monotonic() + PATIENCE
            for table in ("topics", "messages"):
                # A view or a virtual table runs whatever its author likes.
                found = connection.execute(
                    "SELECT type, rootpage FROM sqlite_master WHERE name=? COLLATE NOCASE", (table,)
                ).fetchall()
                computed = connection.execute(f"SELECT 1 FROM pragma_table_xinfo('{table}') WHERE hidden").fetchall()
                if [kind for kind, page in found if page] != ["table"] or len(found) != 1 or computed:
                    raise sqlite3.DatabaseError(f"no ordinary table {table}")
            for number, *texts in connection.execute("SELECT id, name, type, serialization_format FROM topics"):
                if isinstance(number, int) and all(isinstance(text, str) for text in texts):
                    self._channels[number] = Channel(texts[0], message_type(texts[1]), texts[2])
        except BaseException:
            connection.close()
            raise
        return connection

    def _rows(self) -> Iterator[Channel]:
        """Every message's channel, in order of the keys, which recorders give one after another.

        Raises:
            sqlite3.Error: the tree is damaged: rows are missing in it, or are no messages.
        """
        last: int | None = None
        for key, topic, kind in self._select("SELECT rowid, topic_id, typeof(timestamp) FROM messages NOT INDEXED"):
            if last is not None and key != last + 1:
                self._gaps = True
            last = key
            if topic in self._channels and kind == "integer":
                yield self._channels[topic]
            else:
                self._gaps = True
        if self._gaps and self._lost_rows():
            raise sqlite3.DatabaseError("its tree of messages leaves out some")

    def _lost_rows(self) -> bool:
        """Whether the pages hold messages that the tree does not lead to."""
        counted = sum(1 for _ in self._select("SELECT 1 FROM messages NOT INDEXED"))
        return sum(1 for _ in self._cells()) > counted

    def _by_tree(self, wanted: set[int]) -> Iterator[StoredMessage]:
        connection = self._connection
        assert connection is not None
        try:
            for key, topic, stamp in self._select(
                "SELECT rowid, topic_id, timestamp FROM messages NOT INDEXED"
                " WHERE typeof(topic_id)='integer' AND typeof(timestamp)='integer'"
            ):
                if topic not in wanted:
                    continue
                try:
                    size = "typeof(data)='blob' AND length(data) <= ?"
                    query = f"SELECT data FROM messages WHERE rowid=? AND {size}"
                    row = connection.execute(query, (key, MAX_MESSAGE)).fetchone()
                except SQLITE_ERRORS as error:
                    self.tell(f"is damaged ({visible(error)}): left out what is there")
                    continue
                if row is None:
                    self.tell("holds messages that are none, or too large; they are left out")
                    continue
                yield StoredMessage(self._channels[topic], stamp, row[0])
        except SQLITE_ERRORS as error:
            self.tell(f"is damaged ({visible(error)}); the rest of it is left out")

    def _select(self, query: str) -> Iterator[tuple]:  # type: ignore[type-arg]
        assert self._connection is not None
        self._deadline = time.monotonic() + PATIENCE
        for row in self._connection.execute(query):
            self._deadline = time.monotonic() + PATIENCE
            yield row
            self._deadline = time.monotonic() + PATIENCE

    # By page.

    def _channels_by_page(self) -> dict[int, Channel]:
        pages, channels = Pages(self._file), dict[int, Channel]()
        for cell, _ in pages.cells():
            record = pages.record(cell) if cell.size < 1 << 16 else None
            values = columns(record) if record is not None else None
            if values is not None and len(values) >= 4 and values[0] is None:
                texts = values[1:4]
                if all(isinstance(text, str) for text in texts) and "/" in texts[1]:
                    channels.setdefault(cell.row, Channel(texts[0], message_type(texts[1]), texts[2]))
        return channels

    def _cells(self) -> Iterator[tuple[Cell, int, int, tuple[int, int]]]:
        """Cell, topic, stamp and place of the data of what looks like a message."""
        for cell, local in Pages(self._file).cells():
            values = columns(local)
            if values is None or len(values) != 4 or values[0] is not None or not isinstance(values[3], tuple):
                continue
            _, topic, stamp, (start, size) = values
            if topic in self._channels and isinstance(stamp, int) and start + size == cell.size:
                yield cell, topic, stamp, (start, size)

    def _by_page(self, wanted: set[int]) -> Iterator[StoredMessage]:
        pages = Pages(self._file)
        # Pages of a file are mostly, but not always, in the order in which they were filled.
        cells = sorted((c for c in self._cells() if c[1] in wanted), key=lambda c: c[0].row)
        last = None
        for cell, topic, stamp, (start, size) in cells:
            record = pages.record(cell) if cell.row != last else None
            if record is None:
                self.tell("is damaged: messages that lack a part are left out")
                continue
            last = cell.row
            yield StoredMessage(self._channels[topic], stamp, record[start : start + size])

    # The write-ahead log.

    def _with_log(self, path: Path) -> Path:
        """The file, or a copy into which its write-ahead log has been worked: the recording itself stays as it is."""
        log = path.with_name(f"{path.name}-wal")
        if not log.is_file() or log.stat().st_size <= 32:
            return path
        needed = path.stat().st_size + 2 * log.stat().st_size
        if not room_for(needed):
            self.tell(
                f"has messages in {visible(log.name)}, and there is no room in {tempfile.gettempdir()} to read them: "
                f"they are left out; run: sqlite3 {visible(path.name)} 'PRAGMA wal_checkpoint(TRUNCATE)'"
            )
            return path
        self._folder = tempfile.TemporaryDirectory(prefix="rtseg-")
        copy = Path(self._folder.name) / "recording.db3"
        shutil.copyfile(path, copy)
        shutil.copyfile(log, f"{copy}-wal")
        frames = 0
        try:
            connection = sqlite3.connect(copy)
            try:
                connection.execute("PRAGMA trusted_schema=OFF")
                frames = connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()[1]
            finally:
                connection.close()
        except SQLITE_ERRORS as error:
            self.tell(f"has messages in {visible(log.name)} that cannot be read ({visible(error)})")
            return path
        if _frames(log) > max(frames, 0):
            self.tell(f"has a damaged or unfinished end in {visible(log.name)}, which is left out")
        return copy


def _frames(log: Path) -> int:
    """How many pages a write-ahead log holds that belong to its latest use."""
    with log.open("rb") as file:
        header = file.read(32)
        page = struct.unpack_from(">I", header, 8)[0]
        if not 512 <= page <= 65536:
            return 0
        count = 0
        while (frame := file.read(24)) and len(frame) == 24 and frame[8:16] == header[16:24]:
            file.seek(page, os.SEEK_CUR)
            count += 1
    return count
