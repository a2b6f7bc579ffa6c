"""The documentation site builds without a warning, has every public name, and its tutorials run."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.browser import BROWSER, NONE_HERE, violations

ROOT = Path(__file__).resolve().parents[1]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
# A training and an export are as on the page but for their lengths.
SHORTER = """
from rtseg.lab.deploy import package
from rtseg.lab.training import quick

package.RENDERED_FRAMES, quick.RENDERED, quick.EPOCHS, quick.SAMPLES[True] = 4, 4, 1, 16
from rtseg.cli import main

main()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocstrings", reason="the extra `docs` is not installed")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return out


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.pictures: list[dict[str, str | None]] = []
        self.loaded: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids.add(found.get("id") or "")
        if tag == "img":
            self.pictures.append(found)
        if tag == "a":
            self.links.append(found.get("href") or "")
        if tag in ("script", "img", "iframe") or (tag == "link" and found.get("rel") == "stylesheet"):
            self.loaded.append(found.get("src") or found.get("href") or "")


def parsed(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


@pytest.mark.slow
def test_the_site_has_every_public_name(site: Path) -> None:
    surface = json.loads((ROOT / "tests" / "api_surface.json").read_text(encoding="utf-8"))
    ids = parsed(site / "api.html").ids
    last = {each.rpartition(".")[2] for each in ids}
    assert sorted({name for names in surface.values() for name in names} - last) == []


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere_links_lead_somewhere_and_pictures_say_what_they_show(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 12
    for path in pages:
        page = parsed(path)
        assert [each for each in page.loaded if each.startswith(("http:", "https:", "//"))] == [], path.name
        assert [each for each in page.pictures if not each.get("alt")] == [], path.name
        assert re.findall(r"<a [^>]*>(?:<!--[^>]*-->|\s)*</a>", path.read_text(encoding="utf-8")) == [], path.name
        inside = {each.partition("#")[0] for each in page.links if ":" not in each and not each.startswith("/")}
        assert [each for each in inside if not (path.parent / each).exists()] == [], path.name


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason=NONE_HERE)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_a_browser_nothing_breaks_wcag(site: Path, dark: bool, tmp_path: Path) -> None:
    # Code of several languages, wide tables, figures, an interface made from docstrings and types.
    for page in ("index", "fleet", "parameters", "concepts"):
        assert violations(site / f"{page}.html", tmp_path / "profile", dark=dark) == []


@pytest.mark.slow
def test_parameters_and_commands_are_those_of_the_code(site: Path) -> None:
    ros, commands = ((site / f"{name}.html").read_text(encoding="utf-8") for name in ("parameters", "commands"))
    assert "min_confidence" in ros
    assert "0.1 to 3600" in ros
    assert "4 to 1073741824" in ros
    assert "rtseg models get" in commands
    assert "--json" in commands
    assert "lanes-lite, int8" in (site / "benchmarks.html").read_text(encoding="utf-8")


def _command(words: list[str]) -> list[str]:
    if words[:2] in (["rtseg", "train"], ["rtseg", "export"]):
        return [sys.executable, "-c", SHORTER, *words[1:]]
    return [sys.executable, "-m", *words]


@pytest.mark.slow
@pytest.mark.timeout(600)  # all of a page's commands
@pytest.mark.parametrize("page", TUTORIALS, ids=[page.stem for page in TUTORIALS])
def test_a_tutorial_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert {kind for kind, _ in blocks} >= {"", "python"}
    for kind, block in blocks:
        if kind == "python":
            commands = [[sys.executable, "-c", block]]
        elif not kind:
            commands = [_command(shlex.split(line, comments=True)) for line in block.splitlines() if line]
        else:
            continue
        for command in commands:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=500)
            assert answer.returncode == 0, f"{block}\n{answer.stderr}"
