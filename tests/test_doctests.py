"""The examples in docstrings run, and give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[1]
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    for root, package in ((FOLDER, "rtseg"), (FOLDER / "ros", "rtseg_ros"))
    for path in (root / package).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_in_docstrings(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module), extraglobs={"np": np})
    assert result.attempted > 0
    assert result.failed == 0


def test_what_users_start_with_has_examples() -> None:
    assert {"rtseg", "rtseg.grouping.gaec", "rtseg.media.sources", "rtseg.results"} <= set(WITH_EXAMPLES)
