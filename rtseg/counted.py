"""Counts and what they are of."""

from __future__ import annotations


def counted(count: float, noun: str) -> str:
    """Give a number and what it is of: ``1 recording``, ``2 recordings``.

    Args:
        count: whole, or a share such as 0.5.
        noun: of one; several have an s at its end.

    Example:
        >>> counted(1, "recording"), counted(0, "recording")
        ('1 recording', '0 recordings')
    """
    told = f"{count:g}" if isinstance(count, float) else count
    return f"{told} {noun}" if count == 1 else f"{told} {noun}s"
