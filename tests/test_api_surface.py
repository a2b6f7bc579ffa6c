"""The public names are data: whoever changes them changes api_surface.json too, and the change is seen in a diff.

``python -m tests.test_api_surface`` writes the file again.
"""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path
from types import ModuleType

SURFACE = Path(__file__).with_name("api_surface.json")
MODULES = (
    *("rtseg", "rtseg.camera", "rtseg.errors", "rtseg.frame", "rtseg.grouping", "rtseg.instances", "rtseg.lanes"),
    *("rtseg.lab.render", "rtseg.lab.weak", "rtseg.loading", "rtseg.media", "rtseg.ops", "rtseg.results"),
    *("rtseg.runtime", "rtseg.runtime.backends", "rtseg.runtime.tensorrt", "rtseg.stream"),
)


def public_names(module: ModuleType) -> dict[str, str]:
    """Parameters of each public function and class, types of other public names."""
    names = getattr(module, "__all__", None)
    if names is None:
        own = (name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__)
        names = [name for name in own if not name.startswith("_")]
    return {name: _describe(getattr(module, name)) for name in sorted(names)}


def _describe(value: object) -> str:
    if isinstance(value, type) and issubclass(value, Exception):
        return value.__mro__[1].__name__
    try:
        parameters = inspect.signature(value).parameters  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return type(value).__name__
    return f"({', '.join(parameters)})"


def surface() -> dict[str, dict[str, str]]:
    return {name: public_names(importlib.import_module(name)) for name in MODULES}


def test_public_names_are_the_ones_agreed_on() -> None:
    assert surface() == json.loads(SURFACE.read_text(encoding="utf-8")), "python -m tests.test_api_surface, if meant"


if __name__ == "__main__":
    SURFACE.write_text(json.dumps(surface(), indent=1) + "\n", encoding="utf-8")
