"""What is published: the defaults' networks and every model's card, small enough, and one version."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_wheel_has_the_card_of_every_model() -> None:
    included = dict(re.findall(r'^"(engines/[^"]+)" = "rtseg/_engines/([^"]+)"$', PROJECT, re.MULTILINE))
    models = {path.parent.name for path in (ROOT / "engines").glob("*/card.yaml")}
    assert {place.partition("/")[0] for place in included.values()} == models
    networks = [path for path in included if not path.endswith("card.yaml")]
    assert sorted(networks) == ["engines/instances-lite", "engines/lanes-lite"]
    assert sum(file.stat().st_size for path in networks for file in (ROOT / path).iterdir()) < 29e6


def test_all_models_together_are_no_burden_to_clone() -> None:
    assert sum(file.stat().st_size for file in (ROOT / "engines").rglob("*") if file.is_file()) < 120e6


def test_the_version_stands_in_one_place() -> None:
    version = re.search("<version>(.+?)</version>", (ROOT / "ros" / "package.xml").read_text(encoding="utf-8"))
    assert version is not None
    elsewhere = [
        PROJECT,
        *((ROOT / path).read_text(encoding="utf-8") for path in ("rtseg/__init__.py", "ros/setup.py")),
    ]
    assert not any(re.search(rf'version\w*\s*=\s*"{re.escape(version[1])}"', text) for text in elsewhere)


def test_the_readme_of_a_package_index_has_names_for_links_that_lead_nowhere_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme
    rules = re.findall(r"^pattern = '(.*)'\nreplacement = [\"'](.*)[\"']$", PROJECT, re.MULTILINE)
    for pattern, replacement in rules:
        shown = re.sub(pattern, replacement, shown)
    link = re.compile(r"(!?)\[([^\]]*)\]\(([^)]*)\)")
    assert not [target for _, _, target in link.findall(shown) if ":" not in target]
    names = {name for picture, name, target in link.findall(readme) if ":" not in target and not picture}
    assert len(names) > 10
    assert all((ROOT / name).exists() and name in shown for name in names), names  # which is what is left to go by
    assert len(readme.splitlines()) - len(shown.splitlines()) == 2  # the picture


OPENED = """
import os, sys, rtseg
from rtseg.runtime import find_model
assert "onnxruntime" not in sys.modules
from rtseg.runtime.backends.onnx_runtime import OnnxRuntimeBackend
model = find_model("lanes-lite")
OnnxRuntimeBackend(model.path, model.card, 1).warm_up()
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""


@pytest.mark.parametrize("said", [None, "0"])
def test_nothing_is_kept_in_the_home_folder_to_be_reported(said: str | None, tmp_path: Path) -> None:
    home = {name: str(tmp_path) for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
    setting = {} if said is None else {"ORT_DISABLE_TELEMETRY": said}
    others = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", OPENED]
    told = subprocess.run(command, env=others | home | setting, capture_output=True, text=True, check=True, cwd=ROOT)
    assert told.stdout.strip() == (said or "1")
    assert said is not None or not list(tmp_path.iterdir())
