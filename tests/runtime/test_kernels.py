"""The list of kernels that processes share out is what warming up compiles, no less and no more.

``python -m tests.runtime.test_kernels`` writes it again; compile nothing else meanwhile, for it is in order of time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rtseg.runtime import kernels

MODELS = {
    "lanes": "lanes-lite",
    "cascade_gaec": "instances-lite",
    "graph_merge": "gmis-lite",
    "coloring": "l2c-instances-lite",
    "solo": "exemplar-solo",
}
"""For each method that is listed a model of it."""
Key = tuple[str, str]


def _key(dispatcher: Any, types: tuple[Any, ...]) -> Key:
    function = dispatcher.py_func
    return f"{function.__module__}:{function.__name__}", f"({', '.join(map(_written, types))},)"


def _written(of_argument: Any) -> str:
    """A type as Numba reads it in a signature, the shorter way where there is one."""
    from numba.core.types import Array

    if isinstance(of_argument, Array) and of_argument.mutable and of_argument.layout == "C":
        written = f"{of_argument.dtype}[{':,' * (of_argument.ndim - 1)}::1]"
    else:
        written = repr(of_argument)
    return re.sub(r"\bbool\b", "boolean", written)  # which older Numba would read as Python's type


def _warm_up(*models: str) -> None:
    """Print as JSON, for each model one after the other, which kernels were needed and how long they took."""
    from numba.core import event
    from numba.core.registry import CPUDispatcher

    import rtseg

    seconds: dict[Key, float] = {}

    class Timer(event.Listener):
        begun: ClassVar[list[float]] = []

        def on_start(self, event: Any) -> None:
            self.begun.append(time.process_time())

        def on_end(self, event: Any) -> None:
            dispatcher, types = event.data["dispatcher"], event.data["args"]
            taken = time.process_time() - self.begun.pop()
            if dispatcher.py_func.__module__.startswith("rtseg."):
                seconds[_key(dispatcher, types)] = taken

    needed: list[list[Key]] = []
    with event.install_listener("numba:compile", Timer()):
        for model in models:
            rtseg.load(model, device="cpu").warm_up()
            dispatchers = {
                one
                for name, module in list(sys.modules.items())
                if name.startswith("rtseg.")
                for one in vars(module).values()
                if isinstance(one, CPUDispatcher)
            }
            needed.append(sorted({_key(one, types) for one in dispatchers for types in one.overloads}))
    json.dump([needed, [[*key, taken] for key, taken in seconds.items()]], sys.stdout)


def _warmed_up(*models: str, **environment: str) -> Any:
    code = "import sys; from tests.runtime.test_kernels import _warm_up; _warm_up(*sys.argv[1:])"
    command = [sys.executable, "-c", code, *models]
    done = subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_what_is_listed_is_what_warming_up_needs() -> None:
    _, compiled = _warmed_up(*MODELS.values())
    needed, again = _warmed_up(*MODELS.values()) if compiled else (_, compiled)
    assert not again
    listed: set[Key] = set()
    for method, found in zip(MODELS, needed, strict=True):
        listed |= {_key(*one) for one in kernels.listed_kernels(method)}
        assert {tuple(key) for key in found} == listed, "python -m tests.runtime.test_kernels, if meant"


@pytest.mark.parametrize("method", MODELS)
def test_every_listed_kernel_is_there(method: str) -> None:
    assert len(kernels.listed_kernels(method)) == len(json.loads(kernels.FILE.read_text())[method])


def test_a_list_behind_the_sources_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    known, signature = json.loads(kernels.FILE.read_text())["lanes"][0]
    stale = [["rtseg.lanes.joining:_gone", "(int64,)"], [known, "(no_type,)"], [known, "(int64,)"], [known, signature]]
    monkeypatch.setattr(kernels, "_lists", lambda: {"lanes": stale})
    listed = kernels.listed_kernels("lanes")
    assert len(listed) == 2
    with kernels.compiled_together("lanes", listed):
        assert [one.kept for one in listed] == [False, True]


def test_a_method_that_nobody_listed_has_no_kernels_to_share() -> None:
    assert kernels.listed_kernels("of somebody else") == []


def main() -> None:
    lists = {}
    for method, model in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            _, times = _warmed_up(model, NUMBA_CACHE_DIR=folder)
            (needed,), _ = _warmed_up(model, NUMBA_CACHE_DIR=folder)
        taken = {tuple(key): seconds for *key, seconds in times}
        lists[method] = sorted(needed, key=lambda key: -taken[tuple(key)])
    rows = [
        f" {json.dumps(method)}: [\n" + ",\n".join(f"  {json.dumps(key)}" for key in keys) + "\n ]"
        for method, keys in lists.items()
    ]
    Path(kernels.FILE).write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
