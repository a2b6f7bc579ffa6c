"""Launch files run where nothing but ROS is installed."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1]
LAUNCH_FILES = sorted((PACKAGE / "launch").glob("*.launch.py"))
OF_ROS = {"ament_index_python", "launch", "launch_ros"}


def constant(path: Path, name: str) -> object:
    """The value of a constant that may be made of other things than literals: those are None."""

    def value(node: ast.expr) -> object:
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            return {ast.literal_eval(key): value(item) for key, item in pairs if key}
        if isinstance(node, ast.Tuple):
            return tuple(value(item) for item in node.elts)
        return ast.literal_eval(node) if isinstance(node, ast.Constant) else None

    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == name:
            return value(statement.value)
    raise AssertionError(f"no {name} in {path}")


def arguments(name: str) -> dict[str, tuple[str | None, str]]:
    """Default and description of each argument of a launch file."""
    found = constant(PACKAGE / "launch" / f"{name}.launch.py", "ARGUMENTS")
    assert isinstance(found, dict)
    return found


def test_there_are_launch_files() -> None:
    names = {path.name.removesuffix(".launch.py") for path in LAUNCH_FILES}
    assert names == {"cameras", "instances", "lanes", "node", "perception", "replay"}


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_they_import_nothing_but_launch(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            top = name.partition(".")[0]
            assert top in OF_ROS or top in sys.stdlib_module_names, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_every_argument_is_described(path: Path) -> None:
    for name, (_, description) in arguments(path.name.removesuffix(".launch.py")).items():
        assert description.endswith("."), name


@pytest.mark.parametrize("node", ["lanes", "instances", "perception"])
def test_each_node_declares_what_is_its_own(node: str) -> None:
    parameters = constant(PACKAGE / "launch" / "node.launch.py", "PARAMETERS")
    assert isinstance(parameters, dict)
    assert tuple(arguments(node)) == parameters[node]
    assert (PACKAGE / "config" / f"{node}.yaml").is_file()


def test_what_others_pass_on_is_declared() -> None:
    """Includes hand their arguments down by name: those of cameras and replay have to be known to node.launch.py."""
    parameters = constant(PACKAGE / "launch" / "node.launch.py", "PARAMETERS")
    assert isinstance(parameters, dict)
    known = {*arguments("node"), *(name for names in parameters.values() for name in names)}
    assert set(arguments("cameras")) - known == {"one_process"}
    assert set(arguments("replay")) - known == {"bag", "rate"}


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_launch_can_read_them(path: Path) -> None:
    pytest.importorskip("launch_ros", reason="launch is not installed here")
    pytest.importorskip("ament_index_python", reason="launch is not installed here")
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    try:
        get_package_share_directory("rtseg")
    except PackageNotFoundError:
        pytest.skip("the workspace is not sourced")
    assert get_launch_description_from_python_launch_file(str(path)).entities
