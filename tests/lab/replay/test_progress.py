"""What a run tells on the terminal while it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numba
import pytest

from rtseg.frame import Frame
from rtseg.lab.replay.replay import run_overlays
from rtseg.printing import ProgressConsole, progress_console
from rtseg.results import Lanes
from tests.lab.replay.runs import ColumnPipeline, drive


class Compiling(ColumnPipeline):
    """Compiles a kernel before its first result, as models do on a new machine."""

    def stream(self, frames: Iterator[Frame], refused: object = None) -> Iterator[Lanes]:
        @numba.njit
        def _kernel_of_the_test(value: int) -> int:
            return value + 1

        _kernel_of_the_test(1)
        for frame in frames:
            yield self(frame)


def test_kernels_that_are_compiled_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ProgressConsole, "is_terminal", True)
    monkeypatch.setattr(progress_console, "is_interactive", True)
    monkeypatch.setenv("COLUMNS", "200")
    run_overlays(drive([{1: 30}] * 3), Compiling(), tmp_path)
    said = capsys.readouterr()
    assert said.out == ""
    assert "compiling kernel 1, kernel_of_the_test" in said.err
    assert "3/3" in said.err
