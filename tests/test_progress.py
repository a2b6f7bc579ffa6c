"""Progress: bars on a terminal, a line now and then elsewhere, nothing where quiet was asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rtseg import progress
from rtseg.printing import ProgressConsole, be_quiet, progress_console
from rtseg.progress import Bars


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Seconds that the lines go by; they pass when a test says so."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    yield now
    be_quiet(False)


def test_a_pipe_gets_a_line_every_ten_seconds(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as bars:
        task = bars.add_task("frames of drive.mp4", total=60)
        for _ in range(60):
            clock[0] += 0.5
            bars.advance(task)
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert [line.split(", ")[0] for line in lines] == [f"frames of drive.mp4: {n} of 60" for n in (20, 40, 60)]


def test_shares_are_percent_and_what_has_no_end_is_counted(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Bars(counted=False) as shares, Bars() as counts:
        fetching, reading = shares.add_task("fetching", total=1.0), counts.add_task("reading", total=None)
        clock[0] += 11
        shares.update(fetching, completed=0.25)
        counts.update(reading, completed=7)
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == ["fetching: 25 %", "reading: 7"]


@pytest.mark.parametrize("how", ["quiet", "disabled", "soon done"])
def test_nothing_is_said(how: str, clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    be_quiet(how == "quiet")
    for _ in Bars.over(range(40), "reading", disable=how == "disabled"):
        clock[0] += 0.1 if how == "soon done" else 5
    said = capsys.readouterr()
    assert said.out + said.err == ""


def test_a_terminal_gets_bars_and_no_lines(
    clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ProgressConsole, "is_terminal", True)
    monkeypatch.setattr(progress_console, "is_interactive", True)
    monkeypatch.setenv("COLUMNS", "200")
    for _ in Bars.over(range(3), "reading"):
        clock[0] += 11
    said = capsys.readouterr().err
    assert "3/3" in said
    assert "reading: " not in said
