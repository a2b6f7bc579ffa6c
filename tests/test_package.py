"""What is published: the defaults' networks and every model's card, small enough, and one version."""

from __future__ import annotations

import re
from pathlib import Path

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
