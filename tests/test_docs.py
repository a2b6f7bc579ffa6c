"""What the documents name is there: commands with their options, modules, files."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from rtseg.cli import app
from rtseg.runtime import bundled_models, find_model

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])
MADE = {f"docs/{name}.md" for name in ("api", "changelog", "commands", "models", "parameters")}  # by docs/hooks.py
COMMANDS = typer.main.get_command(app)


def _commands(text: str) -> list[str]:
    """Commands in blocks and between backticks, lines that go on joined."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in re.sub(r"\\\n\s*", " ", block).splitlines()]
    inline = re.findall(r"`(rtseg [^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [line for line in (*lines, *inline) if re.match(r"rtseg [a-z]", line)]


def _check(command: str) -> None:
    words = re.split(r"\s+#|\s\|", command)[0].replace("'", "").replace('"', "").split()[1:]
    found: Any = COMMANDS
    while words and words[0] in getattr(found, "commands", {}):
        found = found.commands[words.pop(0)]
    missing = hasattr(found, "commands") and words and re.fullmatch(r"[a-z][a-z-]+", words[0])
    assert found is not COMMANDS, f"no such command: {command}"
    assert not missing or found.invoke_without_command, f"no such command: {command}"
    known = {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)}
    asked = {word.partition("=")[0].rstrip(",.;:") for word in words if re.match(r"--[a-z]", word)}
    assert asked <= known, f"{sorted(asked - known)} in: {command}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_are_there(page: Path) -> None:
    for command in _commands(page.read_text(encoding="utf-8")):
        _check(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_files_and_links_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"python -m ([\w.]+)", text):
        assert name.partition(".")[0] not in ("rtseg", "bench", "tests") or importlib.util.find_spec(name), name
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        path = page.parent / target
        assert path.exists() or path.resolve().relative_to(ROOT).as_posix() in MADE, target
    for path in re.findall(r"`((?:rtseg|tests|examples|engines|docs|ros|bench)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path


def test_scores_of_the_readme_are_those_of_the_cards() -> None:
    rows = re.findall(
        r"^\| `([\w-]+)` \|[^|]*\|[^|]*\| (.*?) \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.M
    )
    told = {name: re.findall(r"\b(accuracy|(?:class-agnostic )?AP(?:50)?) (\d+\.\d)\b", text) for name, text in rows}
    assert {name for name, scores in told.items() if scores} == set(bundled_models())
    for name in bundled_models():
        scores = [(s.metric, f"{100 * s.value:.1f}") for s in find_model(name).card.scores if s.precision == "int8"]
        assert set(told[name]) <= set(scores), name
