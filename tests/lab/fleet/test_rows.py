"""What is counted on the way: percentiles, stale frames, names of shards, rows of both kinds of results."""

from __future__ import annotations

import resource
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import MediaError
from rtseg.lab.fleet.histogram import ERROR, Histogram
from rtseg.lab.fleet.rate import stale_at_rate
from rtseg.lab.fleet.rows import ShardName, commit, put_whole, read_rows, result_fields, table_of
from rtseg.lab.fleet.sources import Recording
from rtseg.results import Instances
from tests.lab.replay.test_replay import node_policy


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.floats(0, 100), st.integers(1, 5))
def test_percentiles_of_parts_are_those_of_the_whole_within_their_error(
    values: list[float], share: float, parts: int
) -> None:
    histogram = Histogram()
    for i in range(parts):
        histogram.add(np.array(values[i::parts]))
    exact = np.percentile(values, share, method="lower")
    assert histogram.count == len(values)
    assert histogram.largest == max(values)
    assert histogram.percentile(share) == pytest.approx(exact, rel=1.01 * ERROR, abs=1e-8)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 90)), min_size=1, max_size=25))
def test_stale_frames_are_those_that_the_node_would_drop(frames: list[tuple[int, int]]) -> None:
    gaps, busy = zip(*frames, strict=True)
    arrivals = np.cumsum(gaps)
    stale = stale_at_rate(arrivals.astype(float), np.array(busy, float))
    # The node's policy takes times in the order of its work; here each frame has its own.
    done = np.flatnonzero(~stale)
    worked, dropped = node_policy(arrivals.tolist(), [busy[i] for i in done])
    assert (worked, dropped) == (done.tolist(), int(stale.sum()))


def test_frames_that_take_no_part_are_not_stale() -> None:
    nan = np.nan
    assert not stale_at_rate(np.array([0, nan, 5.0]), np.array([1, 1, nan])).any()


@given(st.text(min_size=1, max_size=60), st.integers(0, 99999), st.integers(1, 99999))
def test_names_of_shards_are_read_back(uri: str, index: int, count: int) -> None:
    name = ShardName(Recording(f"/data/{uri}", "1", 1).key, "0123abcd", index, count)
    assert ShardName.of(name.file) == name
    assert "/" not in name.file
    assert len(name.file) < 255


@pytest.mark.parametrize("name", ["a.parquet", "notes.txt", ".x.0.00000-of-00001.parquet.part", "a.b.c-of-d.parquet"])
def test_other_files_are_no_shards(name: str) -> None:
    assert ShardName.of(name) is None


def objects() -> Instances:
    return Instances(
        labels=np.zeros((8, 8), np.int32),
        ids=np.array([7, 9], np.int32),
        class_ids=np.array([1, 0], np.int32),
        scores=np.array([0.5, 1.0], np.float32),
        boxes=np.array([[0, 1, 2, 3], [4, 5, 6, 7]], np.float32),
        areas=np.array([3, 4], np.int64),
        centers=np.zeros((2, 2), np.float32),
        times={"network": 2.0, "group": 1.0},
    )


def test_rows_are_what_a_database_reads(tmp_path: Path) -> None:
    row = {"recording": "a", "shard": 0, "frame": 0, "stamp": 5, **result_fields(objects(), ("car", "bus"))}
    fault = {"recording": "a", "shard": 0, "frame": 1, "fault": "it is torn"}
    commit(str(tmp_path), ShardName("a", "0", 0, 1).file, table_of([row, fault], {}))
    files = str(tmp_path / "*.parquet")
    found = duckdb.sql(f"select thing.class, thing.id, ms from (select unnest(objects) thing, ms from '{files}')")
    assert found.fetchall() == [("bus", 7, 3.0), ("car", 9, 3.0)]
    assert duckdb.sql(f"select fault, count(*) from '{files}' group by fault order by fault").fetchall() == [
        ("it is torn", 1),
        (None, 1),
    ]


def test_damaged_rows_are_told(tmp_path: Path) -> None:
    name = ShardName("a", "0", 0, 1)
    commit(str(tmp_path), name.file, table_of([{"recording": "a"}], {}))
    (tmp_path / name.file).write_bytes((tmp_path / name.file).read_bytes()[:200])
    with pytest.raises(MediaError, match="delete it"):
        list(read_rows(str(tmp_path)))


def test_a_copy_to_a_full_disk_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    file, target = tmp_path / "made.mcap", tmp_path / "bags" / "drive" / "result.mcap"
    file.write_bytes(b"old")
    put_whole(file, str(target))
    file.write_bytes(bytes(100_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(MediaError, match=r"result\.mcap"):
            put_whole(file, str(target))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert target.read_bytes() == b"old"
    assert [path.name for path in target.parent.iterdir()] == ["result.mcap"]
    put_whole(file, str(target))
    assert target.stat().st_size == 100_000
