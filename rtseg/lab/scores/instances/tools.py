"""The benchmarks' own code, for those who have installed it."""

from __future__ import annotations

import importlib
from typing import Any

from rtseg.errors import ConfigError


def scoring_tool(module: str) -> Any:
    """Import a module of cityscapesscripts or pycocotools.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"expected {module.partition('.')[0]} to score with, got {error}; pip install 'rtseg[scores]'"
        ) from error
