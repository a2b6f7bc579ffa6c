"""Which recordings are found, and what is said of sources that are none."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pyarrow
import pyarrow.parquet
import pytest

from rtseg.errors import MediaError
from rtseg.lab.fleet.sources import Recording, find_recordings


def tree(root: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


FLEET = {
    "a/drive_10.mp4": "ten",
    "a/drive_9.mp4": "nine!",
    "a/notes.md": "nothing",
    "bag/metadata.yaml": "rosbag2",
    "bag/bag_0.mcap": "first",
    "bag/bag_1.mcap": "second one",
    "clip/1.jpg": "a picture",
    "clip/2.jpg": "another picture",
    "clip/labels.json": "{}",
    "loose/x.bag": "ROS 1 bag",
    "loose/y.mcap": "mcap alone, by itself",
    "loose/Z.MCAP.ZST": "a compressed one",
    ".cache/z.mp4": "hidden from sight",
}
NAMES = ["a/drive_9.mp4", "a/drive_10.mp4", "bag", "clip", "loose/x.bag", "loose/y.mcap", "loose/Z.MCAP.ZST"]


def names(recordings: tuple[Recording, ...], root: str) -> list[str]:
    return [recording.uri.removeprefix(root).lstrip("/") for recording in recordings]


def test_a_folder_is_searched_to_its_bottom(tmp_path: Path) -> None:
    found = find_recordings([str(tree(tmp_path, **FLEET))])
    assert names(found.recordings, str(tmp_path)) == NAMES
    assert found.faults == ()
    assert {r.uri.rpartition("/")[2]: r.size for r in found.recordings}["bag"] == len("rosbag2firstsecond one")
    assert len({r.key for r in found.recordings}) == len(NAMES)


def test_a_remote_folder_is_searched_like_a_local_one(tmp_path: Path) -> None:
    files = fsspec.filesystem("memory")
    for name, content in FLEET.items():
        files.pipe_file(f"/fleet/{name}", content.encode())
    found = find_recordings(["memory://fleet"])
    assert names(found.recordings, "memory:///fleet") == NAMES
    assert find_recordings(["memory://fleet/*/*.mp4"]).recordings == found.recordings[:2]


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".parquet"])
def test_manifests_name_sources_relative_to_themselves(tmp_path: Path, suffix: str) -> None:
    tree(tmp_path, **FLEET)
    wanted = ["bag", str(tmp_path / "clip"), "a/*.mp4"]
    manifest = tmp_path / f"fleet{suffix}"
    if suffix == ".txt":
        manifest.write_text("# of today\n" + "\n".join(wanted) + "  # the last\n\n")
    elif suffix == ".csv":
        manifest.write_text("vehicle,recording\n" + "".join(f"7,{name}\n" for name in wanted))
    else:
        pyarrow.parquet.write_table(pyarrow.table({"vehicle": [7] * 3, "recording": wanted}), manifest)
    found = find_recordings([str(manifest)])
    assert names(found.recordings, str(tmp_path)) == ["bag", "clip", "a/drive_9.mp4", "a/drive_10.mp4"]


def test_sources_that_give_nothing_are_told(tmp_path: Path) -> None:
    tree(tmp_path, **{"a.mp4": "same bytes", "b.mp4": "same bytes", "c.mp4": "same size!", "d.mp4": "", "e/f.txt": ""})
    (tmp_path / "again.mp4").symlink_to("a.mp4")
    wanted = ["a.mp4", "again.mp4", "b.mp4", "c.mp4", "d.mp4", "gone.mp4", "gone/*.bag"]
    found = find_recordings([*(str(tmp_path / name) for name in wanted), str(tmp_path / "e")])
    assert names(found.recordings, str(tmp_path)) == ["a.mp4", "c.mp4"]
    told = sorted((fault.kind, fault.uri.removeprefix(f"{tmp_path}/")) for fault in found.faults)
    assert told == [
        ("duplicate", "a.mp4"),
        ("duplicate", "b.mp4"),
        ("empty", "d.mp4"),
        ("empty", "e"),
        ("empty", "gone/*.bag"),
        ("missing", "gone.mp4"),
    ]


def test_a_recording_that_changes_has_another_version(tmp_path: Path) -> None:
    path = tree(tmp_path, **{"a.mp4": "one"}) / "a.mp4"

    def version() -> str:
        return find_recordings([str(path)]).recordings[0].version

    before = version()
    assert version() == before
    os.utime(path, (1, 1))
    assert version() != before


@pytest.mark.parametrize("name", ["gone.txt", "torn.parquet", "binary.csv"])
def test_a_manifest_that_cannot_be_read_is_an_error(tmp_path: Path, name: str) -> None:
    tree(tmp_path, **{"torn.parquet": b"PAR1 torn", "binary.csv": b"\xff\xfe\x00\x80"})
    with pytest.raises(MediaError, match=name):
        find_recordings([str(tmp_path / name)])
