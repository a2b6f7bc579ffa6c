"""Every public name says what it is: each parameter, what it raises by its own code, and shapes where arrays are."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from typing import Any

import pytest

from tests.test_api_surface import MODULES, public_names

NAMES = sorted(
    {
        f"{value.__module__}.{value.__qualname__}": value
        for module in map(importlib.import_module, MODULES)
        for name in public_names(module)
        if isinstance(value := getattr(module, name), type) or inspect.isfunction(value)
    }.items()
)


def _parameters(function: Any) -> list[str]:
    """Names that a caller gives, without self, cls and what is private."""
    names = list(inspect.signature(function).parameters)
    return [name for name in names if name not in ("self", "cls") and not name.startswith("_")]


def _faults(name: str, value: Any, text: str, inherited: str = "") -> list[str]:
    if not text:
        return [f"{name} has no docstring"]
    faults = []
    if not text.splitlines()[0].rstrip().endswith((".", ":", "?")) and "\n" in text:
        faults.append(f"{name}: the first line is no sentence")
    missing = [each for each in _parameters(value) if not re.search(rf"\b{re.escape(each)}\b", text + inherited)]
    if missing:
        faults.append(f"{name} does not say what {', '.join(missing)} mean")
    return faults


def _raises(function: Any) -> set[str]:
    """Types of rtseg's errors that a function's own code raises."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    found = {node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)}
    names = {call.func.id for call in found if isinstance(call.func, ast.Name)}  # type: ignore[union-attr]
    return {name for name in names if name.endswith("Error")}


def _methods(value: type) -> list[tuple[str, Any]]:
    """Public methods and properties of the class's own, except those that fulfil a protocol or override."""
    parents = [vars(parent) for parent in value.__mro__[1:]]
    return [
        (name, getattr(each, "fget", None) or getattr(each, "__func__", each))
        for name, each in vars(value).items()
        if not name.startswith("_")
        and (inspect.isfunction(each) or isinstance(each, property | classmethod | staticmethod))
        and not any(name in parent for parent in parents)
    ]


@pytest.mark.parametrize(("name", "value"), NAMES, ids=[name for name, _ in NAMES])
def test_a_public_name_has_a_full_docstring(name: str, value: Any) -> None:
    text = inspect.getdoc(value) or ""
    if inspect.isfunction(value):
        faults = _faults(name, value, text)
        faults += [f"{name} does not say that it raises {each}" for each in _raises(value) if each not in text]
    elif issubclass(value, Exception):
        faults = [] if text and value.__doc__ else [f"{name} has no docstring"]
    else:
        faults = [] if value.__doc__ else [f"{name} has no docstring"]
        fields = {field.name for field in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set()
        for method, function in _methods(value):
            if method not in fields:
                faults += _faults(f"{name}.{method}", function, inspect.getdoc(function) or "", text)
    assert not faults, "\n".join(faults)
