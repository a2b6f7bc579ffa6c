"""YAML that others wrote: whatever is wrong with it, one kind of error tells so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rtseg.regular_file import TooLargeError, read_regular

LARGEST = 1 << 18
"""Bytes of a file that people write, and many times what they do; the library reads some hundred thousand a second."""

_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(path: Path) -> Any:
    """What a YAML file of the size that people write holds: a card, a calibration, settings.

    Args:
        path: of the file.

    Raises:
        OSError: it cannot be read, or is none: a pipe is not waited for, nor a device read for ever.
        yaml.YAMLError: as of :func:`parse_yaml`, or it is no text, or larger than :data:`LARGEST`.
    """
    try:
        text = read_regular(path, LARGEST).decode("utf-8")
    except TooLargeError as error:
        raise yaml.YAMLError(str(error)) from error
    except UnicodeDecodeError as error:
        raise yaml.YAMLError(f"it is no text: {error}") from error
    return parse_yaml(text)


def parse_yaml(text: str) -> Any:
    """What a YAML document holds: mappings, sequences, texts, numbers, dates, booleans, None.

    Args:
        text: of the document.

    Raises:
        yaml.YAMLError: it is none, or says something twice. The library itself lets what nests too deeply, and values
            that only look like a date or a number, out as errors of Python, and takes the last of two values.

    Example:
        >>> parse_yaml("classes: [road, car]")
        {'classes': ['road', 'car']}
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise yaml.YAMLError(f"it holds a value that cannot be read: {error}") from error


class _Loader(yaml.SafeLoader):
    """The library's own, but that a key stands once in a mapping, as YAML has it."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            line = key.start_mark.line + 1
            before = lines.setdefault((key.tag, key.value), 0)
            if before:
                raise yaml.YAMLError(f"{key.value!r:.60} stands twice, in lines {before} and {line}; remove one")
            lines[key.tag, key.value] = line
        return node
