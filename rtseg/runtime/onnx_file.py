"""What an ONNX file says of itself, read without the package onnx."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from rtseg.errors import MORE_MEMORY, BackendError, ModelError, lacks_memory

# For each message of the format that weights may lie in: number of a field to the message that it holds.
_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_DEEPEST = 64


def refuse_external_data(path: Path) -> None:
    """Check that a network has all its weights in the file, whose hash is what a card vouches for.

    Raises:
        ModelError: if some lie in another file, or this one is cut or no ONNX file.
        BackendError: memory does not suffice to look.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            external = _has_external_data(content, 0, len(content), "model", 0)
    except (OSError, ValueError, IndexError) as error:
        if lacks_memory(error):
            raise BackendError(
                f"{path} cannot be read: this machine has too little memory left; {MORE_MEMORY}"
            ) from error
        raise ModelError(
            f"expected an ONNX network in {path}, got a file that cannot be read as one: {error}"
        ) from error
    if external:
        raise ModelError(
            f"expected all weights in {path.name}, it keeps some in another file, which the card's hash does not "
            "cover; save it in one file (onnx.save with save_as_external_data=False)"
        )


def _has_external_data(content: mmap.mmap, start: int, end: int, message: str, depth: int) -> bool:
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    inside = _INSIDE[message]
    for field, value in _fields(content, start, end):
        if message == "tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value == 1)):
            return True
        if (
            isinstance(value, tuple)
            and field in inside
            and _has_external_data(content, *value, inside[field], depth + 1)
        ):
            return True
    return False


def _fields(content: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int | tuple[int, int] | None]]:
    """Numbers of the fields of a message; their value if it is a varint, and where they lie if they have a length."""
    at = start
    while at < end:
        key, at = _varint(content, at, end)
        kind = key & 7
        if kind == 0:
            value, at = _varint(content, at, end)
            yield key >> 3, value
        elif kind == 2:
            size, at = _varint(content, at, end)
            if at + size > end:
                raise ValueError("it is cut off")
            yield key >> 3, (at, at + size)
            at += size
        elif kind in (1, 5):
            yield key >> 3, None
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"it holds a field of unknown type {kind}")


def _varint(content: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise ValueError("it is cut off")
        byte = content[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
    raise ValueError("it holds a number that does not end")
