"""YAML that others wrote: whatever is wrong with it, one kind of error tells so."""

from __future__ import annotations

from typing import Any

import yaml


def parse_yaml(text: str) -> Any:
    """What a YAML document holds: mappings, sequences, texts, numbers, dates, booleans, None.

    Args:
        text: of the document.

    Raises:
        yaml.YAMLError: it is none. The library itself lets what nests too deeply, and values that only look like a
            date or a number, out as errors of Python.

    Example:
        >>> parse_yaml("classes: [road, car]")
        {'classes': ['road', 'car']}
    """
    try:
        return yaml.safe_load(text)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise yaml.YAMLError(f"it holds a value that cannot be read: {error}") from error
