"""Progress of what takes long, on standard error: bars on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from rtseg.printing import progress_console, remarks_console

EVERY = 10.0
"""Seconds between two lines where there is no terminal: a log file gets few of them, and none of what is soon done."""

_T = TypeVar("_T")


class Bars(Progress):
    """Bars that a terminal shows, with the time that is left; to a file or a pipe they are a line every ten seconds.

    Args:
        counted: whether tasks count things; else they have shares of one.
        transient: whether the bars vanish when all is done.
        disable: whether nothing is shown.
    """

    def __init__(self, counted: bool = True, transient: bool = False, disable: bool = False) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn() if counted else TaskProgressColumn(),
            TimeRemainingColumn(),
            console=progress_console,
            redirect_stdout=False,
            transient=transient,
            disable=disable,
        )
        self._counted, self._said = counted, time.monotonic()

    @classmethod
    def over(cls, things: Iterable[_T], name: str, total: float | None = None, disable: bool = False) -> Iterator[_T]:
        """Each of `things`, with a bar called `name` that counts them."""
        with cls(disable=disable) as bars:
            yield from bars.track(things, total=total, description=name)

    def update(self, task_id: TaskID, **changes: Any) -> None:
        super().update(task_id, **changes)
        self._say(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._say(task_id)

    def _say(self, task_id: TaskID) -> None:
        now = time.monotonic()
        if self.disable or self.console.is_terminal or now - self._said < EVERY:
            return
        self._said = now
        with self._lock:
            task = self._tasks[task_id]
            name, done, total, left = task.description, task.completed, task.total, task.time_remaining
        of = "" if total is None else f" of {total:.0f}"
        far = f"{done:.0f}{of}" if self._counted else f"{task.percentage:.0f} %"
        remarks_console.print(f"{name}: {far}" + ("" if not left else f", {spoken(left)} left"))


def spoken(seconds: float) -> str:
    """A time that is left, in seconds or, from a minute and a half on, in minutes."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
