"""What the pipelines of these tests have in common: no model, and nothing to warm up."""

from __future__ import annotations


class WithoutModel:
    card = None

    def __init__(self) -> None:
        self.backend: dict[str, str] = {}
        self.fallbacks: list[str] = []

    def warm_up(self, height: int, width: int) -> None: ...

    def reset(self) -> None: ...
