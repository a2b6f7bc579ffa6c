"""A node loads what it needs to drive, and nothing of the desk."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.ros

MOST_MODULES = 52
_TELL = "import json, sys, {0}; print(json.dumps(sorted(sys.modules)))"


@pytest.mark.parametrize("module", ["rtseg_ros.lanes", "rtseg_ros.instances", "rtseg_ros.perception"])
def test_what_a_node_imports(module: str) -> None:
    told = subprocess.run([sys.executable, "-c", _TELL.format(module)], capture_output=True, text=True, check=True)
    loaded = json.loads(told.stdout)
    own = [name for name in loaded if name.partition(".")[0] == "rtseg"]
    assert len(own) < MOST_MODULES, own
    tops = {name.partition(".")[0] for name in loaded}
    assert not tops & {"av", "rosbags", "matplotlib", "typer", "rich", "torch", "jinja2", "numba", "onnxruntime"}
    assert not [name for name in own if f"{name}.".startswith("rtseg.lab.")]
