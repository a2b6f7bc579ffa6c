"""What the labels of a set of lane frames tell."""

from __future__ import annotations

from typing import Literal

Supervision = Literal["lines", "mask", "ego", "none"]
"""Every line; the paint, and lines where they could be traced; the boundaries of the own lane alone; that there is no
line."""
