"""Files appear whole or not at all, never in place of an input, and nothing unfinished stays."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rtseg.errors import MediaError
from rtseg.files import (
    Part,
    held,
    refuse_inputs,
    replacing,
    staging,
    write_bytes,
    write_text,
)
from rtseg.regular_file import TooLargeError, read_regular


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["a.txt", "ü" * 120, "🚗" * 62, "a:b[1]%d.txt", "-x", " "])
def test_any_name_is_written_whole(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / "deep" / name, "one")
    write_text(tmp_path / "deep" / name, "two")
    assert (tmp_path / "deep" / name).read_text() == "two"
    assert names(tmp_path / "deep") == [name]
    plain = tmp_path / "plain"
    plain.write_text("")
    assert stat.S_IMODE((tmp_path / "deep" / name).stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("other"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def fail() -> None:
        with replacing(target) as partial:
            partial.write_bytes(b"half")
            raise error

    with pytest.raises(MediaError if isinstance(error, OSError) else type(error)):
        fail()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "file" / "a", tmp_path / "folder", Path("/proc/a")):
        with pytest.raises(MediaError, match="expected to write"):
            write_bytes(target, b"x")
    assert names(tmp_path) == ["file", "folder"]


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    def fill() -> None:
        with replacing(tmp_path / "a") as partial:
            partial.unlink()
            partial.symlink_to("/dev/full")
            partial.write_bytes(bytes(1 << 16))

    with pytest.raises(MediaError, match=r"expected to write .*got No space left on device; check"):
        fill()
    assert names(tmp_path) == []
    assert Path("/dev/full").exists()


def test_temporary_names_differ_and_links_are_not_followed(tmp_path: Path) -> None:
    precious, target = tmp_path / "precious", tmp_path / "a.txt"
    precious.write_text("mine")
    os.symlink(precious, tmp_path / ".a.txt.part")
    os.symlink(precious, tmp_path / ".a.txt.abcdefgh.part")
    os.symlink(precious, target)
    parts = [Part(target) for _ in range(3)]
    assert len({part.path for part in parts}) == 3
    for part in parts:
        part.discard()
    write_text(target, "result")
    assert precious.read_text() == "mine"
    assert not target.is_symlink()


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    script = (
        "import sys, time; from pathlib import Path; from rtseg.files import Part\n"
        "parts = [Part(Path(sys.argv[1])), Part(Path(sys.argv[1]), folder=True)]\n"
        "(parts[1].path / 'x').write_text('x'); print('ready', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    (tmp_path / "a.bin.part").write_text("the user's own")
    assert len(names(tmp_path)) == 3
    write_bytes(target, b"x")
    assert len(names(tmp_path)) == 4, "another run that lives keeps its files"
    child.kill()
    child.wait()
    write_bytes(tmp_path / "b.bin", b"x")
    assert len(names(tmp_path)) == 5, "of another target"
    write_bytes(target, b"y")
    assert names(tmp_path) == ["a.bin", "a.bin.part", "b.bin"]


def test_a_folder_of_work_is_gone_afterwards(tmp_path: Path) -> None:
    with staging(tmp_path / "model") as folder:
        (folder / "deep").mkdir()
        assert folder.parent == tmp_path
    assert names(tmp_path) == []


def test_one_run_holds_a_folder(tmp_path: Path) -> None:
    with held(tmp_path / "out"):
        write_text(tmp_path / "out" / "a", "x")
        with pytest.raises(MediaError, match="another run"), held(tmp_path / "out"):
            pass
    with held(tmp_path / "out"):
        pass
    assert names(tmp_path / "out") == ["a"]


def test_inputs_are_known_by_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_text("a")
    os.symlink(folder, tmp_path / "link")
    os.symlink(folder / "a.jpg", tmp_path / "soft.jpg")
    os.link(folder / "a.jpg", tmp_path / "hard.jpg")
    monkeypatch.chdir(folder)
    same: list[Path | str] = [
        folder / "a.jpg",
        tmp_path / "link" / "a.jpg",
        tmp_path / "soft.jpg",
        tmp_path / "hard.jpg",
        "a.jpg",
    ]
    for output in same:
        with pytest.raises(MediaError, match="which is an input"):
            refuse_inputs([tmp_path / "b.jpg", output], [folder / "a.jpg"])
    refuse_inputs([folder / "b.jpg", folder / "deep" / "a.jpg"], [folder / "a.jpg", tmp_path / "nowhere"])
    with pytest.raises(MediaError, match="input"):
        refuse_inputs([folder / "new.mcap"], [folder])
    refuse_inputs([folder / "deep" / "new.mcap"], [folder])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_command_line_in_order(tmp_path: Path, number: signal.Signals) -> None:
    script = (
        "import sys, time, rtseg.cli as cli; from rtseg.files import replacing\n"
        "def work():\n"
        "    with replacing(sys.argv[1]) as path:\n"
        "        path.write_text('half'); print('ready', flush=True); time.sleep(600)\n"
        "cli.app = work; cli.main()"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "a")], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    assert len(names(tmp_path)) == 1
    time.sleep(0.1)
    child.send_signal(number)
    assert child.wait(60) != 0
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["pipe", "link to a device", "link to a pipe"])
def test_pipes_and_devices_are_neither_replaced_nor_waited_for(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "result.json"
    os.mkfifo(target if kind == "pipe" else tmp_path / "pipe")
    if kind != "pipe":
        target.symlink_to("/dev/null" if "device" in kind else tmp_path / "pipe")
    before = target.lstat()
    with pytest.raises(MediaError, match=r"result\.json, got .*result\.json is a pipe or a device"):
        write_text(target, "x")
    with pytest.raises(OSError, match="no regular file"):
        read_regular(target, 10)
    after = target.lstat()
    assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)
    assert len(names(tmp_path)) <= 2, "no part of a file is left"


def test_what_is_wanted_whole_has_a_largest_size(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(2048))
    assert read_regular(tmp_path / "a", 2048) == bytes(2048)
    with pytest.raises(TooLargeError, match="larger than 1 KiB"):
        read_regular(tmp_path / "a", 2047)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device"), "expected to write .*model, got No space left"),
        (OSError(27, "File too large"), "expected to write .*model, got File too large"),
        (FileNotFoundError(2, "No such file or directory", "other"), "other"),  # says all itself
    ],
)
def test_a_disk_that_fills_while_a_folder_is_made_is_told_with_its_name(
    error: OSError, told: str, tmp_path: Path
) -> None:
    with pytest.raises((MediaError, OSError), match=told) as raised, staging(tmp_path / "model"):
        raise error
    assert isinstance(raised.value, MediaError) == (error.filename is None)
    assert names(tmp_path) == []
