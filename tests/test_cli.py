"""The command line as a user runs it: exit codes, one-sentence errors, products on disk."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import pytest
from typer.main import get_command

from rtseg import cli
from rtseg.cli import app, main
from rtseg.printing import console
from tests.media.recordings import START, Messages, write_bag
from tests.threshold_network import two_lane_road, write_threshold_model


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def rtseg(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run the entry point in this process, as the console script does."""

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["rtseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfd.readouterr()
        return Answer(end.value.code or 0, out, err)

    return run


Rtseg = Callable[..., Answer]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_threshold_model(tmp_path / "thresholds")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), two_lane_road())
    return folder


def test_help_names_every_command() -> None:
    command = [sys.executable, "-m", "rtseg.cli", "--help"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0
    commands = ["demo", "run", "replay", "evaluate", "bench", "train", "export", "calibrate", "doctor", "compile"]
    assert [name for name in commands if name not in answer.stdout] == []


def test_every_argument_and_option_of_every_command_has_help() -> None:
    def silent(command: Any, name: str) -> list[str]:
        children = getattr(command, "commands", {})
        own = [] if children and not command.invoke_without_command else command.params
        found = [f"{name} {each.name}" for each in own if not getattr(each, "help", None)]
        return found + [each for called, child in children.items() for each in silent(child, f"{name} {called}")]

    assert silent(get_command(app), "rtseg") == []


def test_every_number_has_a_largest() -> None:
    def endless(command: Any, name: str) -> list[str]:
        children = getattr(command, "commands", {})
        ranges = [(each.name, each if hasattr(each, "min") else each.type) for each in command.params]
        found = [
            f"{name} {option}"
            for option, range_ in ranges
            if isinstance(getattr(range_, "min", None), float) and range_.max is None
        ]
        return found + [each for called, child in children.items() for each in endless(child, f"{name} {called}")]

    assert endless(get_command(app), "rtseg") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.mp4"], "does not exist"),
        (["replay", "nowhere.mcap"], "does not exist"),
        (["run", "9" * 30], "does not exist"),
        (["run", "nowhere.mp4", "--threads", "9" * 30], "--threads"),
        (["evaluate"], "--data"),
        (["evaluate", "--data", "nowhere"], "labels"),
        (["bench", "--model", "no-such-model"], "expected a bundled model"),
        (["bench", "--backend", "abacus"], "expected a backend"),
        (["train", "no-such-config", "--out", "nowhere"], "config"),
        (["export", "nowhere", "--out", "nowhere"], "nowhere"),
        (["calibrate", "camera", "nowhere"], "nowhere"),
        (["compile", "no-such-model"], "expected a bundled model"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    rtseg: Rtseg, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = rtseg(*arguments)
    assert not any(tmp_path.iterdir()), "what is refused leaves nothing"
    assert answer.code == 2, answer.err
    assert message in answer.err
    assert "Traceback" not in answer.err


def test_a_folder_that_is_gone_is_told(rtseg: Rtseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    answer = rtseg("run", "nowhere.mp4")
    assert answer.code == 2
    assert "nowhere.mp4 that does not exist" in answer.err
    monkeypatch.setattr(cli, "app", os.getcwd)
    assert "expected a folder to run in, got one that has been removed" in rtseg().err


def test_run_writes_overlays(rtseg: Rtseg, model: Path, pictures: Path, tmp_path: Path) -> None:
    answer = rtseg("run", pictures, "--model", model, "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    written = [cv2.imread(str(path)) for path in sorted((tmp_path / "out").rglob("*.*")) if path.is_file()]
    assert [picture.shape for picture in written] == [(144, 256, 3)] * 3
    assert (written[0] != two_lane_road()).any()


def test_one_camera_of_a_bag_is_named(rtseg: Rtseg, model: Path, tmp_path: Path) -> None:
    messages = Messages(ros1=False)
    entries = [(f"/{side}/image", START, messages.image(0, START)) for side in ("front", "rear")]
    bag = write_bag(tmp_path, "mcap", entries, messages)
    for command in ("run", "replay"):
        refused = rtseg(command, bag, "--model", model, "--out", tmp_path / command)
        assert refused.code == 2
        assert "/front/image (1), /rear/image (1); name one with --topic" in refused.err
        answer = rtseg(command, bag, "--topic", "/rear/image", "--model", model, "--out", tmp_path / command)
        assert answer.code == 0, answer.err
    assert rtseg("demo", "--help").out.count("--topic") == 1


def test_options_of_another_task_are_refused(rtseg: Rtseg, model: Path) -> None:
    answer = rtseg("evaluate", "--model", model, "--dataset", "rendered", "--frames", 1, "--cities", "all")
    assert answer.code == 2
    assert "expected --cities for instances only" in answer.err.replace("\n", " ")


def test_bench_writes_its_figures(rtseg: Rtseg, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "results" / "bench.json"
    answer = rtseg("bench", "--model", model, "--width", 256, "--height", 144, "--frames", 20, "--json", file)
    assert answer.code == 0, answer.err
    figures = json.loads(file.read_text())["runs"][0]
    assert figures["frames"] == 20
    stages = ["unpack", "preprocess", "infer", "group", "decode", "track", "markings", "pack"]
    assert [row["stage"] for row in figures["stages"]] == stages
    assert all(row["p50"] <= row["p99"] <= row["max"] for row in figures["stages"])
    page = tmp_path / "page.html"
    answer = rtseg("bench", "compare", file, file, "--out", page)
    assert answer.code == 0, answer.err
    assert "host to host" in page.read_text()


def test_names_that_no_file_can_have_are_told_in_a_sentence(rtseg: Rtseg, tmp_path: Path, pictures: Path) -> None:
    for name in ("x" * 5000, f"{tmp_path}/" + "y/" * 3000):
        answer = rtseg("run", name, "--out", tmp_path / "out")
        assert answer.code == 2
        assert "File name too long" in answer.err
        assert "Traceback" not in answer.err
    (tmp_path / "loop").symlink_to("loop")
    for arguments in (("run", tmp_path / "loop"), ("run", pictures, "--out", tmp_path / "loop")):
        answer = rtseg(*arguments)
        assert answer.code == 2
        assert "Traceback" not in answer.err


def test_without_arguments_it_says_what_to_do_first(rtseg: Rtseg) -> None:
    answer = rtseg()
    assert answer.code == 0
    assert [f"rtseg {command} " in answer.out for command in ("run", "replay", "doctor")] == [True] * 3
    assert len(answer.out.splitlines()) == 7
    assert rtseg("--version").out.strip() == version("rtseg")


@pytest.mark.parametrize(
    ("package", "arguments", "cure"),
    [
        ("torch", ["train", "lanes-lite-finetune", "--data", "frames", "--out", "mine"], "'rtseg[train]'"),
        ("fsspec", ["fleet", "replay", "drives", "--out", "monday"], "'rtseg[fleet]'"),
        ("av", ["run", "drive.mp4"], "av"),
        ("onnx", ["calibrate", "int8", "lanes-lite", "--out", "mine"], "onnx"),
    ],
)
def test_without_a_package_commands_say_what_installs_it(package: str, arguments: list[str], cure: str) -> None:
    program = f"import sys; sys.modules[{package!r}] = None; from rtseg.cli import main; main()"
    command = [sys.executable, "-c", program, *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert answer.stderr == f"rtseg: this needs the package {package}, which is not installed: pip install {cure}\n"


def test_a_module_of_ones_own_that_is_missing_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ModuleNotFoundError("No module named 'rtseg.nothing'", name="rtseg.nothing")

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(ModuleNotFoundError):
        main()


def test_exit_codes_are_told(rtseg: Rtseg) -> None:
    assert "Exit codes: 0 done; 1 done, but" in " ".join(rtseg("--help").out.split())


@pytest.fixture
def reporting(model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[object]]:
    """Commands that report, each asked for JSON."""
    monkeypatch.setenv("RTSEG_ENGINE_CACHE", str(tmp_path / "engines"))
    monkeypatch.setenv("RTSEG_MODELS", str(tmp_path / "models"))
    recording = write_bag(tmp_path, "mcap", _entries(), Messages(ros1=False))
    small = ["--width", 256, "--height", 144, "--frames", 10]
    return {
        "run": ["run", pictures, "--model", model, "--out", tmp_path / "run", "--json"],
        "replay": ["replay", recording, "--model", model, "--out", tmp_path / "replay", "--json"],
        "evaluate": [
            *("evaluate", "--dataset", "rendered", "--frames", 1, "--model", model, "--out", tmp_path / "e", "--json"),
        ],
        "bench": ["bench", "--model", model, *small, "--json", "-"],
        "doctor": ["doctor", "--model", model, "--json"],
        "fleet": ["fleet", "replay", recording, "--model", model, "--out", tmp_path / "f", "--workers", 0, "--json"],
        "fleet on Ray": [
            "fleet",
            "replay",
            recording,
            "--model",
            model,
            "--out",
            tmp_path / "r",
            "--workers",
            1,
            "--json",
        ],
        "engines list": ["engines", "list", "--json"],
        "engines verify": ["engines", "verify", "--json"],
        "engines prune": ["engines", "prune", "--json"],
        "prepare": ["prepare", model, "--json"],
        "models list": ["models", "list", "--json"],
        "models get": ["models", "get", "thresholds", "--from", model, "--json"],
    }


def _entries() -> list[tuple[str, int, bytes]]:
    messages = Messages(ros1=False)
    stamps = [START + i * 100_000_000 for i in range(3)]
    return [("/image", stamp, messages.image(i, stamp)) for i, stamp in enumerate(stamps)]


REPORTING = (
    *("run", "replay", "evaluate", "bench", "doctor", "fleet", "engines list", "engines verify", "engines prune"),
    *("models list", "models get", "prepare"),
)


@pytest.mark.parametrize("command", REPORTING)
def test_json_is_all_that_goes_to_standard_output(
    rtseg: Rtseg, reporting: dict[str, list[object]], command: str
) -> None:
    answer = rtseg(*reporting[command])
    assert answer.code == 0, answer.err
    json.loads(answer.out, parse_constant=_refuse)
    assert answer.err == "", "progress is for terminals"


@pytest.mark.parametrize("command", REPORTING)
def test_quiet_says_nothing(rtseg: Rtseg, reporting: dict[str, list[object]], command: str) -> None:
    told = [part for part in reporting[command] if part not in ("--json", "-")]
    assert rtseg(*told, "--quiet") == Answer(0, "", "")
    assert not console.quiet


def test_engines_that_are_not_there_are_told(rtseg: Rtseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSEG_ENGINE_CACHE", str(tmp_path / "engines"))
    assert rtseg("engines", "prune") == Answer(0, "0 deleted\n", "")


def test_errors_are_told_all_the_same(rtseg: Rtseg) -> None:
    assert "does not exist" in rtseg("run", "nowhere.mp4", "-q").err


SILENT = ("bench compare", "inspect affinity")
"""Commands, beside the studies of ``rtseg lab``, that report nothing but the files they write."""


def _commands(group: Any, *names: str) -> Iterator[tuple[str, Any]]:
    for name, command in getattr(group, "commands", {}).items():
        yield from _commands(command, *names, name)
    if not hasattr(group, "commands"):
        yield " ".join(names), group


def test_every_command_that_reports_can_do_so_in_json() -> None:
    commands = {name: command for name, command in _commands(get_command(app)) if not name.startswith("lab ")}
    without = {name for name, command in commands.items() if not any("--json" in p.opts for p in command.params)}
    assert len(commands) > 25
    assert without == set(SILENT)


def test_help_fills_the_terminal() -> None:
    helps = {name: command.help for name, command in _commands(get_command(app))}
    assert helps["doctor"].count("\n\n") == 1
    assert [name for name, text in helps.items() if "\n" in text.replace("\n\n", "")] == []


def test_every_command_can_be_quiet() -> None:
    root = get_command(app)
    for name, command in [("", root), *_commands(root)]:
        assert [p.opts for p in command.params].count(["--quiet", "-q"]) == 1, name


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "replay", "evaluate", "bench", "doctor", "fleet on Ray", "models list"])
def test_libraries_say_nothing(reporting: dict[str, list[object]], command: str) -> None:
    """In a process of its own, since libraries write to the file descriptors; nothing but rtseg's own lines."""
    arguments = [str(argument) for argument in reporting[command]]
    answer = subprocess.run([sys.executable, "-m", "rtseg", *arguments], capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr
    json.loads(answer.stdout)
    noise = re.compile(r"warning|\[W:|\bWARN\b|absl|cv2|cpuinfo|deprecat", re.IGNORECASE)
    assert [line for line in answer.stderr.splitlines() if noise.search(line)] == []


def test_what_breaks_while_a_signal_ends_it_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    def app() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            raise RuntimeError("a worker was killed")

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(cli, "_ended", [])
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as end:
            main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert end.value.code == 128 + signal.SIGTERM


@pytest.mark.parametrize("how", ["cause", "context"])
def test_ctrl_c_in_a_compiled_loop_is_ctrl_c(
    how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Python raises it where the signal comes while a function of C is about to return."""

    def fail() -> None:
        error = SystemError("CPUDispatcher(<function _shade>) returned a result with an exception set")
        if how == "cause":
            raise error from KeyboardInterrupt()
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise error  # noqa: B904

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == ""


def test_a_fault_of_python_itself_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise SystemError("returned a result with an exception set") from ValueError("other")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemError):
        main()
