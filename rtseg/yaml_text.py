"""YAML that others wrote: whatever is wrong with it, one kind of error tells so."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import yaml

LARGEST = 1 << 18
"""Bytes of a file that people write, and many times what they do; the library reads some hundred thousand a second."""


def read_yaml(path: Path) -> Any:
    """What a YAML file of the size that people write holds: a card, a calibration, settings.

    Args:
        path: of the file.

    Raises:
        OSError: it cannot be read, or is none: a pipe is not waited for, nor a device read for ever.
        yaml.YAMLError: as of :func:`parse_yaml`, or it is no text, or larger than :data:`LARGEST`.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(f"{path} is no regular file")
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise yaml.YAMLError(f"it is larger than {LARGEST >> 10} KiB")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise yaml.YAMLError(f"it is no text: {error}") from error
    return parse_yaml(text)


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
