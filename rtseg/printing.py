"""Foreign text on a terminal: names of files, topics, labels and classes are shown, never obeyed.

Whoever names a file may put escape codes, brackets or line breaks into its name. What the command line prints goes
through here: what a terminal would obey is shown as Python writes it, and Rich takes no bracket for markup.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

_OBEYED = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, directions, halves of pairs, separators of lines
_LONGEST = 4000
_SIZE = re.compile("[1-9][0-9]{0,3}")  # of a terminal
_WIDEST = 240  # columns of what no terminal limits


def visible(text: object) -> str:
    """`text` on one line, with every character that a terminal would obey written as an escape."""
    shown = "".join(
        c if unicodedata.category(c) not in _OBEYED else c.encode("unicode_escape").decode("ascii")
        for c in str(text)[: _LONGEST + 1]
    )
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 4]} ..."


def described(text: object) -> str:
    """`text` as the description of a progress bar, which Rich reads as markup whatever its console says."""
    return escape(visible(text))


class PlainConsole(Console):
    """A console on which text is text: in prints, and in the titles and cells of tables.

    Styles are given as arguments or as :class:`rich.text.Text`. A text or path of its own is not wrapped, so that paths
    can be copied; tables in files and pipes have the room that they need, unless `COLUMNS` says how much there is.
    """

    def __init__(self, **settings: Any) -> None:
        for size in ("COLUMNS", "LINES"):  # of nothing but 0 columns Rich shows nothing, and of others it breaks
            if not _SIZE.fullmatch(os.environ.get(size, "1")):
                del os.environ[size]
        super().__init__(markup=False, emoji=False, highlight=False, **settings)
        if not self.is_terminal and "width" not in settings and "COLUMNS" not in os.environ:
            self.width = _WIDEST

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(visible(text), **settings)

    def print(self, *objects: Any, **settings: Any) -> None:
        objects = tuple(str(each) if isinstance(each, Path) else each for each in objects)
        if all(isinstance(each, str | Text) for each in objects):
            settings.setdefault("soft_wrap", True)
        super().print(*objects, **settings)


class ProgressConsole(PlainConsole):
    """Standard error for what moves: bars and states, which are nothing to a log file, so only a terminal gets them."""

    def __init__(self) -> None:
        super().__init__(stderr=True)

    @property
    def quiet(self) -> bool:
        """Whether nothing is shown."""
        return self._quiet or not self.is_terminal

    @quiet.setter
    def quiet(self, quiet: bool) -> None:
        self._quiet = quiet


console = PlainConsole()
"""Where results are told."""
remarks_console = PlainConsole(stderr=True)
"""Where lines on the way are told: standard output is for results, which scripts read."""
progress_console = ProgressConsole()
"""Where progress is shown."""


def be_quiet(quiet: bool = True) -> None:
    """Show nothing but errors, warnings and JSON from here on, in this process; for scripts that go by exit codes."""
    for each in (console, remarks_console, progress_console):
        each.quiet = quiet


class VisibleFormatter(logging.Formatter):
    """Formats log records for a terminal, a line each."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return line if record.exc_info else visible(line)


def print_json(content: object) -> None:
    """Print a command's result on standard output as one JSON document; nothing else goes there.

    Args:
        content: numbers, texts, paths, and sequences, mappings, dataclasses or pydantic models of these. What is not
            finite is null.
    """
    sys.stdout.write(json_text(content))
    sys.stdout.flush()


def json_text(content: object) -> str:
    """A JSON document of what :func:`print_json` takes, for whoever reads it with whatever: without NaN or infinity."""
    return json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump())
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if hasattr(value, "tolist"):  # NumPy's numbers and arrays
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return [_plain(each) for each in value]
