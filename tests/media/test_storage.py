"""Recordings as they come from the field: cut, killed, copied in part, packed, renamed, or made to do harm."""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import json
import logging
import lzma
import os
import re
import shutil
import sqlite3
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np
import pytest
import yaml

from rtseg.errors import MediaError
from rtseg.media import open_frames
from rtseg.media.bags import BagSource, is_bag
from rtseg.media.storage import byte_sources, sqlite
from tests.media.damage import mcap
from tests.media.recordings import COMPRESSED, INFO, PERIOD, RAW, START, Messages, drive, picture, write_bag

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROS2 = Messages(ros1=False)


def stored(frames: int = 12) -> list[tuple[int, bytes]]:
    """(stamp, serialized picture) of a drive."""
    return [(START + i * PERIOD, ROS2.serialize(ROS2.image(i, START + i * PERIOD))) for i in range(frames)]


def chunked(compression: str, frames: int = 12) -> bytes:
    """An MCAP file of 4 messages a chunk."""
    messages = stored(frames)
    return mcap([messages[i : i + 4] for i in range(0, frames, 4)], compression)


def chunk_starts(content: bytes) -> list[int]:
    """Where the chunks are."""
    starts, position = [], 8
    while content[position] != 15:
        kind, size = struct.unpack_from("<BQ", content, position)
        starts += [position] if kind == 6 else []
        position += 9 + size
    return starts


def numbers(path: Path, topic: str | None = None) -> list[int]:
    """Which frames are read, in order."""
    with BagSource(path, topic) as source:
        return [((frame.stamp or 0) - START) // PERIOD for frame in source]


def save(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What was logged until now."""
    caplog.set_level(logging.WARNING, "rtseg")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


# Lengths and sectors.


@pytest.mark.parametrize("length", [0, 2**20, 2**33, 2**36, 2**40, 2**62, 2**63, 2**64 - 1])
@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("compression", ["", "lz4", "zstd"])
def test_a_chunks_false_length_costs_that_chunk_at_most(
    tmp_path: Path, compression: str, indexed: bool, length: int, told: Callable[[], str]
) -> None:
    content = bytearray(chunked(compression))
    start = chunk_starts(content)[1]
    content[start + 1 : start + 9] = struct.pack("<Q", length)
    path = save(tmp_path / "a.mcap", bytes(content) if indexed else bytes(content[:-200]))
    assert {*range(4), *range(8, 12)} <= set(numbers(path)) <= set(range(12))
    assert "damaged" in told()


@pytest.mark.parametrize("filling", [0, 0xFF, 0x55])
@pytest.mark.parametrize("compression", ["", "flat", "lz4", "zstd"])
def test_a_bad_sector_costs_what_lies_in_it(tmp_path: Path, compression: str, filling: int) -> None:
    content = bytearray(chunked(compression))
    at = content.index(stored()[5][1][:60]) - 40 if compression in ("", "flat") else chunk_starts(content)[1]
    content[at : at + 60] = bytes([filling]) * 60
    expected = {*range(12)} - ({5} if compression in ("", "flat") else {4, 5, 6, 7})
    assert set(numbers(save(tmp_path / "a.mcap", bytes(content)))) == expected


def test_a_sector_that_the_disk_refuses_costs_what_lies_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = chunked("")
    at = content.index(stored()[5][1]) + 3000
    path = save(tmp_path / "a.mcap", content)
    read = os.pread

    def pread(file: int, size: int, offset: int) -> bytes:
        if offset <= at < offset + size:
            raise OSError(errno.EIO, "Input/output error")
        return read(file, size, offset)

    monkeypatch.setattr(byte_sources.os, "pread", pread)
    assert set(numbers(path)) >= {*range(12)} - {5}


# Bombs.


GIGABYTES = 5 << 28  # more than a chunk may unpack to


def zeros(size: int, kind: str) -> bytes:
    """So many zeros, packed."""
    if kind == "lz4":
        packer = lz4.frame.LZ4FrameCompressor()
        parts = [packer.begin(), *(packer.compress(bytes(1 << 24)) for _ in range(size >> 24)), packer.flush()]
        return b"".join(parts)
    compressor = zstd.ZstdCompressor()
    parts = [compressor.compress(bytes(1 << 24)) for _ in range(size >> 24)]
    return b"".join([*parts, compressor.flush()])


@contextmanager
def holding_less_than(mib: int) -> Iterator[None]:
    """Check how much more memory this process holds, at the most, than before."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak_mib()
    yield
    assert peak_mib() - before < mib


def peak_mib() -> float:
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak
    return int(peak[1]) / 1024


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lz4", "zstd"])
def test_a_chunk_that_unpacks_to_gigabytes_is_left_out(tmp_path: Path, kind: str, told: Callable[[], str]) -> None:
    content = chunked(kind)
    bomb = zeros(GIGABYTES, kind)
    head = struct.pack("<QQQI", START, START, GIGABYTES, 0) + struct.pack("<I", len(kind)) + kind.encode()
    body = head + struct.pack("<Q", len(bomb)) + bomb
    start = chunk_starts(content)[1]
    path = save(tmp_path / "a.mcap", content[:start] + struct.pack("<BQ", 6, len(body)) + body + content[start:-300])
    with holding_less_than(500):
        assert numbers(path) == list(range(12))
    assert "damaged" in told()


def test_a_message_that_unpacks_to_gigabytes_is_left_out(tmp_path: Path) -> None:
    messages = [(stamp, zstd.compress(data)) for stamp, data in stored(4)]
    messages.insert(2, (START + 1, zeros(GIGABYTES, "zstd")))
    with holding_less_than(900), BagSource(save(tmp_path / "a.mcap", mcap([messages], ""))) as source:
        assert len(list(source)) == 4
    assert sum(source.skipped.values()) == 1


# What the messages are.


def test_messages_of_ros1_in_mcap(tmp_path: Path) -> None:
    ros1 = Messages(ros1=True)
    messages = [(START + i * PERIOD, ros1.serialize(ros1.image(i, START + i * PERIOD))) for i in range(4)]
    schema = struct.pack("<H", 1) + _text("sensor_msgs/Image") + _text("ros1msg") + _text("")
    channel = struct.pack("<HH", 1, 1) + _text(RAW) + _text("ros1") + _text("")
    with open_frames(save(tmp_path / "a.mcap", _flat(schema, [channel], messages))) as source:
        for i, frame in enumerate(source):
            assert np.array_equal(frame.image, picture(i))
        assert source.count == 4


def _text(value: str) -> bytes:
    return struct.pack("<I", len(value.encode())) + value.encode()


def _flat(schema: bytes, channels: list[bytes], messages: list[tuple[int, bytes]]) -> bytes:
    """An MCAP without index whose messages belong to its channels in turn."""

    def record(kind: int, body: bytes) -> bytes:
        return struct.pack("<BQ", kind, len(body)) + body

    out = b"\x89MCAP0\r\n" + record(1, _text("") + _text("tests")) + record(3, schema)
    out += b"".join(record(4, channel) for channel in channels)
    for i, (stamp, data) in enumerate(messages):
        out += record(5, struct.pack("<HIQQ", i % len(channels) + 1, i, stamp, stamp) + data)
    return out + record(15, bytes(4)) + record(2, bytes(20)) + b"\x89MCAP0\r\n"


@pytest.mark.parametrize(
    ("msgtype", "encoding", "words"),
    [
        ("sensor_msgs/msg/Image", "json", r"/camera/front/image_raw \(sensor_msgs/msg/Image, written as json\)"),
        ("foxglove.CompressedImage", "protobuf", "foxglove.CompressedImage, written as protobuf"),
        ("", "cdr", "of no known type"),
        ("\x1b[31mred", "cdr", r"\\x1b\[31mred"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, msgtype: str, encoding: str, words: str) -> None:
    schema = struct.pack("<H", 1) + _text(msgtype) + _text("ros2msg") + _text("")
    channel = struct.pack("<HH", 1, 1) + _text(RAW) + _text(encoding) + _text("")
    with pytest.raises(MediaError, match=words) as raised:
        open_frames(save(tmp_path / "a.mcap", _flat(schema, [channel], stored(2))))
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("topic", ["/a[/red]", "/a\x1b]0;owned\x07", "/a\nb", "/\u202egnp"])
def test_names_of_topics_are_shown_and_not_obeyed(tmp_path: Path, topic: str) -> None:
    schema = struct.pack("<H", 1) + _text("sensor_msgs/msg/Image") + _text("ros2msg") + _text("")
    channels = [struct.pack("<HH", i, 1) + _text(f"{topic}{i}") + _text("cdr") + _text("") for i in (1, 2)]
    path = save(tmp_path / "a.mcap", _flat(schema, channels, stored(4)))
    with pytest.raises(MediaError, match="expected one camera") as raised:
        open_frames(path)
    assert str(raised.value).isprintable()
    assert len(numbers(path, f"{topic}2")) == 2


def test_other_messages_on_a_camera_topic_are_left_out_and_told(tmp_path: Path) -> None:
    schema = struct.pack("<H", 1) + _text("sensor_msgs/msg/Image") + _text("ros2msg") + _text("")
    other = struct.pack("<HH", 2, 7) + _text(RAW) + _text("cdr") + _text("")
    channel = struct.pack("<HH", 1, 1) + _text(RAW) + _text("cdr") + _text("")
    with BagSource(save(tmp_path / "a.mcap", _flat(schema, [channel, other], stored(4)))) as source:
        assert len(list(source)) == 2
        assert source.skipped == {f"expected pictures alone on {RAW}": 2}


@pytest.mark.parametrize("header_stamp", [0, START])
def test_times_that_a_message_cannot_tell_are_left_out(tmp_path: Path, header_stamp: int) -> None:
    late = 2**31 * 10**9
    messages = [(START, ROS2.serialize(ROS2.image(0, START)))]
    messages += [(late + i, ROS2.serialize(ROS2.image(i, header_stamp))) for i in range(3)]
    with BagSource(save(tmp_path / "a.mcap", mcap([messages], ""))) as source:
        frames = list(source)
    assert len(frames) == (4 if header_stamp else 1)
    assert sum(source.skipped.values()) == 4 - len(frames)


# SQLite.


def database(path: Path, rows: int = 8) -> sqlite3.Connection:
    """A .db3 as a recorder writes it, in write-ahead mode; the connection is left open, as a killed one leaves it."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.executescript(
        "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,"
        " serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);"
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,"
        " data BLOB NOT NULL); CREATE INDEX timestamp_idx ON messages (timestamp ASC);"
    )
    connection.execute("INSERT INTO topics VALUES (1, ?, 'sensor_msgs/msg/Image', 'cdr', '')", (RAW,))
    add(connection, 0, rows)
    return connection


def add(connection: sqlite3.Connection, first: int, rows: int) -> None:
    for i in range(first, first + rows):
        stamp = START + i * PERIOD
        data = ROS2.serialize(ROS2.image(i, stamp))
        connection.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES (1, ?, ?)", (stamp, data))
    connection.commit()


@pytest.mark.parametrize("moved", [0, 3])
def test_what_a_killed_recorder_left_in_its_log_is_read_and_stays_there(tmp_path: Path, moved: int) -> None:
    (tmp_path / "live").mkdir()
    connection = database(tmp_path / "live" / "a.db3", moved)
    if moved:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    add(connection, moved, 8 - moved)
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path / "live", killed)
    connection.close()
    before = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in killed.iterdir()}
    assert numbers(killed) == list(range(8))
    assert numbers(killed / "a.db3") == list(range(8))
    assert {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in killed.iterdir()} == before


def test_without_room_for_the_log_its_cure_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Callable[[], str]
) -> None:
    connection = database(tmp_path / "a.db3", 3)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    add(connection, 3, 5)
    monkeypatch.setattr(sqlite, "room_for", lambda size: False)
    assert numbers(tmp_path / "a.db3") == [0, 1, 2]
    assert "wal_checkpoint" in told()
    connection.close()


def test_a_damaged_log_is_told(tmp_path: Path, told: Callable[[], str]) -> None:
    connection = database(tmp_path / "a.db3", 3)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for i in range(3, 8):
        add(connection, i, 1)
    log = tmp_path / "a.db3-wal"
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / "a.db3", tmp_path / "copy" / "a.db3")
    save(tmp_path / "copy" / "a.db3-wal", bytes(content))
    connection.close()
    read = numbers(tmp_path / "copy")
    assert read[:3] == [0, 1, 2]
    assert len(read) < 8
    assert "a.db3-wal" in told()


@pytest.mark.parametrize(
    "messages",
    [
        "CREATE VIEW messages AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r)"
        " SELECT n AS id, 1 AS topic_id, n AS timestamp, zeroblob(9) AS data FROM r WHERE n < 0",
        "CREATE VIEW messages AS SELECT 1 AS id, 1 AS topic_id, 1 AS timestamp, zeroblob(1000000000) AS data",
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER,"
        " data BLOB AS (zeroblob(1000000000)))",
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER)",
        "CREATE TABLE other(id INTEGER PRIMARY KEY)",
    ],
)
def test_tables_that_are_none_are_refused(tmp_path: Path, messages: str) -> None:
    connection = sqlite3.connect(tmp_path / "a.db3")
    connection.execute("CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT)")
    connection.execute("INSERT INTO topics VALUES (1, ?, 'sensor_msgs/msg/Image', 'cdr')", (RAW,))
    connection.execute(messages)
    connection.commit()
    connection.close()
    with pytest.raises(MediaError, match=r"a\.db3"):
        open_frames(tmp_path / "a.db3")


@pytest.mark.parametrize("value", [7, 7.5, None, "text", "zeroblob(300000000)"])
@pytest.mark.parametrize("column", ["topic_id", "timestamp", "data"])
def test_rows_that_are_no_messages_are_passed_over(tmp_path: Path, column: str, value: Any) -> None:
    connection = sqlite3.connect(tmp_path / "a.db3")
    connection.execute("CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT)")
    connection.execute("CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data)")
    connection.execute("INSERT INTO topics VALUES (1, ?, 'sensor_msgs/msg/Image', 'cdr')", (RAW,))
    add(connection, 0, 4)
    if value == "zeroblob(300000000)":
        connection.execute(f"UPDATE messages SET {column}={value} WHERE id=2")
    else:
        connection.execute(f"UPDATE messages SET {column}=? WHERE id=2", (value,))
    connection.commit()
    connection.close()
    # The header of a picture has its own stamp, so another recorder's time does it no harm.
    assert set(numbers(tmp_path / "a.db3")) >= {0, 2, 3}


def test_a_tree_with_a_broken_branch_costs_no_row(tmp_path: Path, told: Callable[[], str]) -> None:
    """Pages that lead to the rows are damaged; the rows are there."""
    bag = write_bag(tmp_path, "db3", drive(ROS2, 60), ROS2)
    file = next(bag.glob("*.db3"))
    content = bytearray(file.read_bytes())
    branches = [at for at in range(4096, len(content), 4096) if content[at] in (2, 5)]
    assert branches
    for at in branches:
        content[at : at + 4096] = bytes(4096)
    file.write_bytes(bytes(content))
    assert numbers(bag) == list(range(60))
    assert "damaged" in told()


# Which files, and what they are.


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """A recording in three files of 4 frames, listed by its metadata.yaml."""
    folder = tmp_path / "split"
    folder.mkdir()
    messages = stored()
    for part in range(3):
        save(folder / f"drive_{part}.mcap", mcap([messages[4 * part : 4 * part + 4]], "zstd"))
    describe(folder, [f"drive_{part}.mcap" for part in range(3)])
    return folder


def describe(folder: Path, files: list[str], count: int = 12) -> None:
    topic = {"name": RAW, "type": "sensor_msgs/msg/Image", "serialization_format": "cdr", "offered_qos_profiles": ""}
    about = {
        "version": 5,
        "storage_identifier": "mcap",
        "duration": {"nanoseconds": 1},
        "starting_time": {"nanoseconds_since_epoch": 1},
        "message_count": count,
        "topics_with_message_count": [{"topic_metadata": topic, "message_count": count}],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": files,
    }
    (folder / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": about}))


@pytest.mark.parametrize("argument", ["", "metadata.yaml"])
def test_a_split_recording_is_one(split: Path, argument: str, told: Callable[[], str]) -> None:
    assert is_bag(split / argument)
    assert numbers(split / argument) == list(range(12))
    assert not told()


def test_a_missing_file_is_told(split: Path, told: Callable[[], str]) -> None:
    (split / "drive_1.mcap").unlink()
    assert numbers(split) == [0, 1, 2, 3, 8, 9, 10, 11]
    assert "left out: drive_1.mcap, which metadata.yaml lists, is missing" in told()


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: describe(folder, ["drive_0.mcap"], 4),
        lambda folder: describe(folder, [], 0),
        lambda folder: describe(folder, [f"drive_{part}.mcap" for part in range(3)], 0),
        lambda folder: describe(folder, [f"{folder}/drive_{part}.mcap" for part in range(3)]),
        lambda folder: describe(folder, [f"../split/drive_{part}.mcap" for part in range(3)]),
        lambda folder: describe(folder, ["drive_0.mcap, drive_1.mcap"]),
        lambda folder: describe(folder, ["x" * 5000, "drive_1.mcap/" * 2000, "a\0b"]),
        lambda folder: (folder / "metadata.yaml").write_text(""),
        lambda folder: (folder / "metadata.yaml").write_text("a: ["),
        lambda folder: (folder / "metadata.yaml").write_bytes(b"\xff\xfe\x00" * 99),
        lambda folder: (folder / "metadata.yaml").write_text("[" * 5000),
        lambda folder: (folder / "metadata.yaml").unlink(),
        lambda folder: (folder / "metadata.yaml").write_text("rosbag2_bagfile_information: 7"),
        lambda folder: (folder / "metadata.yaml").write_text(
            "rosbag2_bagfile_information: {relative_file_paths: {a: b}}"
        ),
    ],
)
def test_a_false_metadata_hides_nothing(split: Path, change: Callable[[Path], Any]) -> None:
    change(split)
    assert numbers(split) == list(range(12))


def test_files_outside_the_folder_are_not_the_recordings(split: Path, tmp_path: Path) -> None:
    shutil.copy(split / "drive_0.mcap", tmp_path / "foreign.mcap")
    describe(split, ["../foreign.mcap", "drive_0.mcap"])
    assert len(numbers(split)) == 12


def test_a_copy_in_another_form_is_not_read_twice(split: Path, told: Callable[[], str]) -> None:
    for file in list(split.glob("*.mcap")):
        save(split / f"{file.name}.zstd", zstd.compress(file.read_bytes()))
    assert numbers(split) == list(range(12))
    (split / "metadata.yaml").unlink()
    assert numbers(split) == list(range(12))


@pytest.mark.parametrize("metadata", [True, False])
def test_files_compressed_as_a_whole(split: Path, metadata: bool) -> None:
    for file in list(split.glob("*.mcap")):
        save(split / f"{file.name}.zstd", zstd.compress(file.read_bytes()))
        file.unlink()
    if metadata:
        describe(split, [f"drive_{part}.mcap.zstd" for part in range(3)])
    else:
        (split / "metadata.yaml").unlink()
    assert is_bag(split)
    assert numbers(split) == list(range(12))
    assert numbers(split / "drive_1.mcap.zstd") == [4, 5, 6, 7]


def test_a_cut_file_compressed_as_a_whole_gives_its_first_part(tmp_path: Path, told: Callable[[], str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 48 * 192), dtype=np.uint8)
    times = [START + i * PERIOD for i in range(80)]
    messages = [(t, ROS2.serialize(ROS2.image(i, t, data=noise[i]))) for i, t in enumerate(times)]
    packed = zstd.compress(mcap([messages[i : i + 4] for i in range(0, 80, 4)], ""))
    read = numbers(save(tmp_path / "a.mcap.zstd", packed[: len(packed) * 3 // 4]))
    assert read == list(range(len(read)))
    assert 40 <= len(read) < 80
    assert "damaged" in told()


@pytest.mark.parametrize("name", ["DRIVE.BAG", "drive.bag.active", "drive.orig.bag", "drive", "drive.mp4", "drive.jpg"])
def test_a_recording_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    ros1 = Messages(ros1=True)
    bag = write_bag(tmp_path, "bag", drive(ros1, 3), ros1)
    renamed = bag.rename(tmp_path / name)
    assert is_bag(renamed)
    assert len(list(open_frames(renamed))) == 3
    content = chunked("zstd", 4)
    assert len(list(open_frames(save(tmp_path / f"{name}.x", content)))) == 4
    assert len(list(open_frames(save(tmp_path / f"{name}.y", zstd.compress(content))))) == 4


@pytest.mark.parametrize("name", ["a.mcap", "a.bag", "a.db3", "a.mp4", "a.jpg", "a"])
def test_a_pointer_of_git_lfs_says_what_to_run(tmp_path: Path, name: str) -> None:
    text = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n"
    with pytest.raises(MediaError, match="git lfs pull"):
        open_frames(save(tmp_path / name, text))


@pytest.mark.parametrize(
    ("name", "head", "command"),
    [
        ("drive.zip", b"PK\3\4", "unzip"),
        ("drive", b"PK\3\4", "unzip"),
        ("drive.tar.gz", b"\x1f\x8b", "tar xf"),
        ("drive.tgz", b"\x1f\x8b", "tar xf"),
        ("drive.mp4.gz", b"\x1f\x8b", "gunzip"),
        ("drive.7z", b"7z\xbc\xaf", "7z x"),
    ],
)
def test_an_archive_is_no_video_and_is_told_how_to_unpack(tmp_path: Path, name: str, head: bytes, command: str) -> None:
    with pytest.raises(MediaError, match=rf"{name}, which is packed; run {command} first"):
        open_frames(save(tmp_path / name, head + bytes(1000)))


@pytest.mark.parametrize(
    ("suffix", "pack", "command"),
    [
        ("", gzip.compress, "gunzip"),
        (".gz", gzip.compress, "gunzip"),
        (".bz2", bz2.compress, "bunzip2"),
        (".xz", lzma.compress, "unxz"),
        (".lz4", lz4.frame.compress, "unlz4"),
    ],
)
@pytest.mark.parametrize("name", ["a.mcap", "a.bag", "a.db3"])
def test_a_file_packed_otherwise_says_what_to_run(
    tmp_path: Path, name: str, suffix: str, pack: Callable[[bytes], bytes], command: str
) -> None:
    with pytest.raises(MediaError, match=f"run {command} first"):
        open_frames(save(tmp_path / f"{name}{suffix}", pack(b"whatever" * 99)))


# The camera's own time and calibration.


@pytest.mark.parametrize("kind", ["bag", "mcap", "mcap-zstd", "db3"])
def test_the_rate_is_the_cameras_whatever_else_was_recorded_when(tmp_path: Path, kind: str) -> None:
    messages = Messages(ros1=kind == "bag")
    late = [("/notes", START - 300 * 10**9, messages.text("five minutes before"))]
    entries: list[tuple[str, int, Any]] = [*late, *drive(messages, 20)]
    hour = 3600 * 10**9
    for i in range(20, 30):  # a pause of an hour
        stamp = START + i * PERIOD + hour
        entries.append((RAW, stamp, messages.image(i, stamp)))
    with open_frames(write_bag(tmp_path, kind, entries, messages)) as source:
        assert source.fps == pytest.approx(10)
        assert source.count == len(list(source)) == 30


def camera_of(tmp_path: Path, entries: list[tuple[str, int, Any]], topic: str | None = None) -> Any:
    with open_frames(write_bag(tmp_path, "mcap", entries, ROS2), topic) as source:
        return source.camera


def test_a_calibration_of_another_camera_is_not_taken(tmp_path: Path, told: Callable[[], str]) -> None:
    rear = [("/rear/camera_info", START, ROS2.camera_info(START)), ("/rear/image_raw", START, ROS2.image(0, START))]
    entries = [*rear, (RAW, START, ROS2.image(0, START))]
    assert camera_of(tmp_path, entries, RAW) is None
    assert "no camera_info beside" in told()
    assert "--camera" in told()


def test_the_only_cameras_only_calibration_is_taken_wherever_it_is(tmp_path: Path) -> None:
    entries = [("/elsewhere/camera_info", START, ROS2.camera_info(START)), (RAW, START, ROS2.image(0, START))]
    assert camera_of(tmp_path, entries) is not None


def test_the_first_calibration_that_is_one_is_taken(tmp_path: Path, told: Callable[[], str]) -> None:
    blank = ROS2.camera_info(START)
    blank.k[:] = 0
    entries = [(INFO, START + i, blank) for i in range(50)]
    entries += [(INFO, START + 99, ROS2.camera_info(START)), (RAW, START, ROS2.image(0, START))]
    camera = camera_of(tmp_path, entries)
    assert camera is not None
    assert camera.K[0, 0] == 100
    assert not told()


def test_rectified_topics_take_the_projection(tmp_path: Path) -> None:
    info = ROS2.camera_info(START)
    info.p[:] = (90, 0, 30, 0, 0, 95, 20, 0, 0, 0, 1, 0)
    topic = "/camera/front/image_rect_color"
    camera = camera_of(tmp_path, [(INFO, START, info), (topic, START, ROS2.image(0, START))])
    assert np.array_equal(camera.K, [[90, 0, 30], [0, 95, 20], [0, 0, 1]])
    assert not camera.distortion.any()


def test_a_calibration_of_another_shape_is_told(tmp_path: Path, told: Callable[[], str]) -> None:
    info = ROS2.camera_info(START)
    info.height = 96
    assert camera_of(tmp_path, [(INFO, START, info), (RAW, START, ROS2.image(0, START))]) is None
    assert "64x96, got 64x48" in told()


def test_a_topic_may_be_named_as_people_write_it(tmp_path: Path) -> None:
    bag = write_bag(tmp_path, "mcap", drive(ROS2, 2, compressed=True), ROS2)
    for name, topic in ((RAW, RAW), (f"{RAW}/", RAW), (RAW.strip("/"), RAW), (COMPRESSED, COMPRESSED)):
        source = BagSource(bag, name)
        assert source.topic == topic
        source.close()


def test_what_is_left_out_is_said_as_json_too(tmp_path: Path) -> None:
    """Reasons are plain text: whatever names were in them."""
    entries = [(RAW, START + i, ROS2.image(0, START + i, encoding="\x1b[31m")) for i in range(2)]
    entries.append((RAW, START + 3, ROS2.image(0, START + 3)))
    with open_frames(write_bag(tmp_path, "mcap", entries, ROS2)) as source:
        assert len(list(source)) == 1
    assert "\x1b" not in json.dumps(dict(source.skipped), ensure_ascii=False)
    assert any("'\\x1b[31m' is not known" in reason for reason in source.skipped)
