"""The viewers' layouts show topics that the nodes publish, and the package holds what its share folder promises."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

PACKAGE = Path(__file__).resolve().parents[1]
NODES = ("lanes", "instances", "perception")
TYPES = {"Map": "OccupancyGrid"}
"""By displays of RViz, where their messages go by another name."""
LANES, OBJECTS = {"/lanes/ground/points", "/lanes/ground/mask"}, {"/instances/ground/points", "/instances/ground/mask"}
ON_THE_GROUND = {
    "lanes": LANES | {"/lanes/lane_grid"},
    "instances": OBJECTS | {"/instances/free_space"},
    "perception": LANES | OBJECTS | {"/lanes/lane_grid", "/instances/free_space"},
}
"""What each layout shows in metres, or lets be shown by a click."""
OPTIONAL = ("ffmpeg_image_transport_msgs", "tf2_msgs", "vision_msgs")
"""Packages that the nodes do without."""


def published(module: str) -> dict[str, str]:
    """Topics that a module opens, by their last name, with the message type: from what it calls to open them."""
    found = {}
    for node in ast.walk(ast.parse((PACKAGE / "rtseg_ros" / f"{module}.py").read_text())):
        if not isinstance(node, ast.Call):
            continue
        texts = [ast.unparse(each) for each in node.args]
        name = ast.unparse(node.func).rpartition(".")[2]
        if name == "MaskOutput":
            topic = re.sub(r"\{[^}]*\}|^f|['\"]", "", texts[-1])
            found |= {topic: "Image", f"{topic}/compressed": "CompressedImage"}
        if name == "LayerOutput":
            topic = re.sub(r"\{[^}]*\}|^f|['\"]", "", texts[1])
            found |= {f"{topic}/{part}": kind for part, kind in published("layer_output").items()}
        elif name in ("publisher", "publish_label_info"):
            topic = re.sub(r"\{[^}]*\}/?|^f|['\"]|~/", "", texts[-1] if name == "publisher" else texts[0])
            found[topic] = texts[0] if name == "publisher" else ""
    return found


def topics_of(node: str) -> dict[str, str]:
    """Full names of what a node publishes, with message types where they are known."""
    parts = ("lanes", "instances") if node == "perception" else (node,)
    overlays = published("overlays")
    topics = {f"/{part}/{topic}": kind for part in parts for topic, kind in {**published(part), **overlays}.items()}
    return topics if node != "perception" else {**topics, **{f"/perception/{t}": k for t, k in overlays.items()}}


@pytest.mark.parametrize("node", NODES)
def test_rviz_shows_topics_of_the_node_with_their_types(node: str) -> None:
    content = yaml.safe_load((PACKAGE / "rviz" / f"{node}.rviz").read_text())["Visualization Manager"]
    assert content["Global Options"]["Fixed Frame"] == "base_link"
    topics = topics_of(node)
    shown = [each for each in content["Displays"] if "Topic" in each]
    assert ON_THE_GROUND[node] <= {display["Topic"]["Value"] for display in shown}
    for display in shown:
        topic = display["Topic"]["Value"]
        assert topic in topics, f"{topic} of {sorted(topics)}"
        kind = display["Class"].rpartition("/")[2]
        assert topics[topic] in ("", TYPES.get(kind, kind))


@pytest.mark.parametrize("node", NODES)
def test_foxglove_shows_topics_of_the_node(node: str) -> None:
    text = json.dumps(json.loads((PACKAGE / "foxglove" / f"{node}.json").read_text()))
    shown = set(re.findall(r'"(/(?:lanes|instances|perception)/[\w/]+)', text))
    assert f"/{node}/overlay" in {topic.removesuffix("/compressed") for topic in shown}
    assert ON_THE_GROUND[node] <= shown | {f"/{part}/ground/mask" for part in ("lanes", "instances")}
    assert shown <= set(topics_of(node))


def test_the_manifest_names_every_package_that_is_imported() -> None:
    manifest = ElementTree.parse(PACKAGE / "package.xml")
    named = {element.text for element in manifest.iter("exec_depend")}
    files = [*(PACKAGE / "rtseg_ros").glob("*.py"), *(PACKAGE / "launch").glob("*.py")]
    for path in files:
        tree = ast.parse(path.read_text())
        tried = [each for node in ast.walk(tree) if isinstance(node, ast.Try) for each in ast.walk(node)]
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for top in {name.partition(".")[0] for name in names}:
                if top.endswith(("_msgs", "_interfaces")) or top in ("rclpy", "launch", "launch_ros", "tf2_ros"):
                    optional = top in OPTIONAL and node in tried
                    assert top in named or optional, f"{path.name} imports {top}"
    assert {"ament_index_python", "rqt_image_view", "ros2bag", "ros2launch", "rosbag2_storage_mcap"} <= named
    assert not {"ffmpeg_image_transport_msgs", "vision_msgs"} & named


def test_what_is_shared() -> None:
    setup = (PACKAGE / "setup.py").read_text()
    for folder in ("calibration", "config", "foxglove", "launch", "rviz"):
        assert any((PACKAGE / folder).iterdir())
        assert f"{{SHARE}}/{folder}" in setup
