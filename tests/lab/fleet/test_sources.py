"""Which recordings are found, and what is said of sources that are none."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pyarrow
import pyarrow.parquet
import pytest

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


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.txt", "\ufeffbag\r\n\r\n  # of\tWednesday\r\nbag\t# again\r\n", ["bag"]),
        ("a.txt", "a#1.mp4\n", ["a#1.mp4"]),
        ("a.csv", "recording , vehicle\nbag,7\n\n,8\n", ["bag"]),
        ("a.csv", "vehicle,recording\n7,bag\n8\n", ["bag"]),
        ("a.txt", "# none\n\n", []),
        ("a.csv", "", []),
        ("a.csv", "recording\n", []),
        ("a.txt", "b.txt\n", []),
    ],
)
def test_what_a_manifest_names(tmp_path: Path, name: str, content: str, found: list[str]) -> None:
    tree(tmp_path, **FLEET, **{"a#1.mp4": "numbered", "b.txt": "bag"})
    (tmp_path / name).write_bytes(content.encode())
    sources = find_recordings([str(tmp_path / name)])
    assert names(sources.recordings, str(tmp_path)) == found
    assert bool(sources.faults) == (not found or content.count("bag") > 1)


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("gone.txt", None, "gone.txt that cannot be read"),
        ("torn.parquet", b"PAR1 torn", "torn.parquet that cannot be read"),
        ("binary.csv", b"\xff\xfe\x00\x80", "binary.csv that cannot be read"),
        ("a.csv", "vehicle,uri\n7,drive.mp4\n", "a column recording, got vehicle, uri"),
        ("a.csv", "recording;vehicle\ndrive.mp4;7\n", "got recording;vehicle"),
        ("a.parquet", {"file": ["drive.mp4"]}, "a column recording, got file"),
        ("a.parquet", {"recording": [7]}, "names in its column recording, got 7"),
        ("a.parquet", {"recording": [b"drive.mp4"]}, "names in its column"),
    ],
)
def test_manifests_that_cannot_be_read_are_told_and_the_other_sources_go_on(
    tmp_path: Path, name: str, content: bytes | str | dict[str, list[object]] | None, wanted: str
) -> None:
    path = tmp_path / name
    if isinstance(content, dict):
        pyarrow.parquet.write_table(pyarrow.table(content), path)
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    tree(tmp_path, **{"a.mp4": "one"})
    found = find_recordings([str(path), str(tmp_path / "a.mp4")])
    assert names(found.recordings, str(tmp_path)) == ["a.mp4"]
    (fault,) = found.faults
    assert (fault.uri, fault.kind) == (str(path), "unreachable" if content else "missing")
    assert wanted in fault.reason


def test_names_that_are_no_text_cost_only_what_has_them(tmp_path: Path) -> None:
    tree(
        tmp_path,
        **{"a.mp4": "one", "b\udcff.mp4": "another", "c\udcff/d.mp4": "a third", "e/\udcff.jpg": "", "e/2.jpg": "2"},
    )
    found = find_recordings([str(tmp_path), str(tmp_path / "gone\udcff.mp4")])
    assert names(found.recordings, str(tmp_path)) == ["a.mp4", "e"]
    told = {fault.uri.removeprefix(f"{tmp_path}/") for fault in found.faults}
    assert told == {"b\\udcff.mp4", "c\\udcff/d.mp4", "gone\\udcff.mp4"}
    assert all("rename it" in fault.reason for fault in found.faults)


def test_links_are_followed_once_and_those_to_nothing_are_told(tmp_path: Path) -> None:
    tree(tmp_path / "fleet", **{"2026/a.mp4": "one", "2026/b.mp4": "another"})
    tree(tmp_path / "elsewhere", **{"c.mp4": "far away"})
    for link, target in {"0": "2026", "far": "../elsewhere", "2026/up": "..", "ring": "ring", "lost.mp4": "no"}.items():
        (tmp_path / "fleet" / link).symlink_to(target)
    (tmp_path / "ring.mp4").symlink_to("ring.mp4")
    found = find_recordings([str(tmp_path / "fleet"), str(tmp_path / "ring.mp4")])
    assert names(found.recordings, str(tmp_path / "fleet")) == ["2026/a.mp4", "2026/b.mp4", "far/c.mp4"]
    assert {(fault.uri.rpartition("/")[2], fault.kind) for fault in found.faults} == {
        ("lost.mp4", "empty"),
        ("ring.mp4", "unreachable"),
    }


@pytest.mark.parametrize(
    "sources", [["bag/*"], ["**"], ["bag/metadata.yaml"], ["bag/bag_1.mcap", "bag"], ["*", "bag/*.mcap"]]
)
def test_a_bag_is_one_recording_however_it_is_named(tmp_path: Path, sources: list[str]) -> None:
    tree(tmp_path, **{name: content for name, content in FLEET.items() if name.startswith("bag/")})
    (bag,) = find_recordings([str(tmp_path)]).recordings
    found = find_recordings([str(tmp_path / source) for source in sources])
    assert found.recordings == (bag,)
    assert {fault.kind for fault in found.faults} <= {"duplicate"}


def test_folders_named_as_manifests_and_results_of_jobs(tmp_path: Path) -> None:
    tree(tmp_path, **{"drives.csv/a.mp4": "one", "out/bags/a-mp4.0123456789ab.0123456789abcdef/result.mcap": "result"})
    assert names(find_recordings([str(tmp_path)]).recordings, str(tmp_path)) == ["drives.csv/a.mp4"]
    assert len(find_recordings([str(tmp_path / "drives.csv")]).recordings) == 1


@pytest.mark.parametrize("source", ["", " ", "nosuch://bucket/drive.mp4", "s3://bucket/drive.mp4"])
def test_sources_out_of_reach_do_not_end_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    tree(tmp_path, **{"a.mp4": "one"})
    found = find_recordings([source, str(tmp_path / "a.mp4")])
    assert len(found.recordings) == 1
    assert [fault.uri for fault in found.faults] == [source]


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
