"""Wheels for Jetsons: what is asked for, and what is read from pip's answer; the index itself is asked by hand."""

from __future__ import annotations

import re
from pathlib import Path

from rtseg.lab.deploy.wheels import JETPACKS, runtime_requirements, wheels_of

PROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"


def test_all_runtime_dependencies_are_asked_for_and_no_extras() -> None:
    block = re.search(r"^dependencies = \[(.*?)^\]", PROJECT.read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    wanted = {name.replace(".", "-") for name in re.findall(r'"([\w.-]+)>=', block[1])}
    assert {"numpy", "onnxruntime"} <= wanted
    for jetpack in JETPACKS:
        asked = {re.match(r"[\w.-]+", one)[0].replace(".", "-") for one in runtime_requirements(jetpack)}  # type: ignore[index]
        assert asked == wanted | {jetpack.cupy, "onnx"}


def test_tags_end_with_the_devices_c_library() -> None:
    six, seven = JETPACKS
    assert six.platforms[-1] == "manylinux_2_35_aarch64"
    assert "manylinux_2_36_aarch64" not in six.platforms
    assert {"manylinux_2_17_aarch64", "manylinux_2_39_aarch64"} <= set(seven.platforms)


def test_wheels_are_read_from_a_report() -> None:
    url = "https://index/packages/NumPy-2.2.6-cp310-cp310-manylinux_2_17_aarch64.whl"
    report = {"install": [{"metadata": {"name": "NumPy"}, "download_info": {"url": url}}]}
    assert wheels_of(report) == {"numpy": "NumPy-2.2.6-cp310-cp310-manylinux_2_17_aarch64.whl"}
