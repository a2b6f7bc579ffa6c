"""The versions that ``make test-oldest`` installs are the lower bounds of pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).resolve().parents[1]


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    lines = (REPOSITORY / "oldest.txt").read_text().splitlines()
    pinned = {canonicalize_name(each.name): each.specifier for each in map(Requirement, lines[1:])}
    listed = re.search(r"^dependencies = \[(.*?)^\]", (REPOSITORY / "pyproject.toml").read_text(), re.S | re.M)
    assert listed is not None
    for required in map(Requirement, re.findall(r'^ *"(.*)",(?: #.*)?$', listed[1], re.M)):
        [bound] = [each.version for each in required.specifier if each.operator == ">="]
        [version] = [each.version for each in pinned[canonicalize_name(required.name)]]
        assert Version(version) == Version(bound), required.name
