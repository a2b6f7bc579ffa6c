"""Foreign text on the terminal is shown and never obeyed."""

from __future__ import annotations

import io
import logging
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress, TextColumn
from rich.table import Table

from rtseg.printing import PlainConsole, VisibleFormatter, described, visible

NAMES = [
    "a[/red]b",
    "[bold]x[/bold]",
    "drive[left]",
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "two\nlines",
    "a\x9bb\u202eb",
    ":car:",
]


def printed(*renderables: object) -> str:
    console = PlainConsole(file=io.StringIO(), force_terminal=True, width=300)
    for each in renderables:
        console.print(each)
    return console.file.getvalue()  # type: ignore[attr-defined]


@given(st.text())
def test_what_is_shown_is_one_harmless_line(text: str) -> None:
    shown = visible(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    assert len(shown.splitlines()) <= 1


def test_plain_text_stays_as_it_is() -> None:
    for text in ("drive.mp4", "Über 道路 [1] 100%.jpg", "a" * 3000):
        assert visible(text) == text
    assert len(visible("a" * 10**6)) == 4000


def test_a_path_is_on_one_line() -> None:
    path = Path("/somewhere") / ("long" * 100)
    assert printed(path) == f"{path}\n"
    assert printed(Path("two\nlines")) == "two\\nlines\n"


@pytest.mark.parametrize("name", NAMES)
def test_prints_tables_and_bars_show_it(name: str) -> None:
    table = Table("column", name, title=name)
    table.add_row(name, name)
    text = printed(name, table, f"wrote {name}")
    assert "\x1b]0" not in text
    assert "\x1b[31m" not in text
    assert text.count(visible(name)) == 6
    bar = Progress(TextColumn("{task.description}"), console=PlainConsole(file=io.StringIO(), width=300))
    with bar:
        bar.add_task(described(name))
    assert name == ":car:" or visible(name) in bar.console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NAMES)
def test_log_lines_show_it(name: str) -> None:
    record = logging.LogRecord("rtseg", logging.WARNING, "", 0, "%s: left out", (name,), None)
    assert VisibleFormatter("%(name)s: %(message)s").format(record) == f"rtseg: {visible(name)}: left out"


@pytest.mark.parametrize(("columns", "whole"), [(None, True), ("20", False)])
def test_a_table_in_a_file_has_the_room_that_it_needs(
    monkeypatch: pytest.MonkeyPatch, columns: str | None, whole: bool
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    table = Table("recording", "what was found in it")
    table.add_row("a name of some length", "much " * 30)
    written = io.StringIO()
    PlainConsole(file=written).print(table)
    assert ("much " * 30 in written.getvalue()) == whole


@pytest.mark.parametrize("columns", ["0", "00", "²", "-1", "", "99999999999"])
def test_a_width_that_is_none_hides_nothing(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("LINES", columns)
    written = io.StringIO()
    console = PlainConsole(file=written)
    table = Table("recording")
    table.add_row("what was found")
    console.print(table)
    assert "what was found" in written.getvalue()
    assert console.width == 240
