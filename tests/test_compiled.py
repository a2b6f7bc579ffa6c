"""The cache of compiled loops: shared by processes, not stopped by damage, and never behind the sources."""

from __future__ import annotations

import fcntl
import gc
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numba
import pytest

from rtseg import compiled

CALLED = """
from rtseg.compiled import compiled
@compiled
def called(x):
    return x + {added}
"""
INTRINSIC = """
from numba import types
from numba.extending import intrinsic
@intrinsic
def called(context, x):
    def generate(context, builder, signature, arguments):
        return builder.add(arguments[0], context.get_constant(types.int64, {added}))
    return types.int64(types.int64), generate
"""
CALLING = """
from rtseg.compiled import compiled
from called import called
@compiled
def calling(x):
    return called(x) * 2
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """Write the two modules, and import them as a new process would, with a cache of their own."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    # Python's own cache takes a file that changes within a second, and not in length, for the one before.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def written(added: int, called: str = CALLED) -> ModuleType:
        compiled._digest.cache_clear()
        for name, source in (("called", called.format(added=added)), ("calling", CALLING)):
            path = tmp_path / f"{name}.py"
            path.write_text(source)
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            monkeypatch.setitem(sys.modules, name, module)
            spec.loader.exec_module(module)
        return module

    return written


def compiles(module: ModuleType, value: float) -> tuple[float, int]:
    result = module.calling(value)
    return result, sum(module.calling.stats.cache_misses.values())


@pytest.mark.parametrize("called", [CALLED, INTRINSIC], ids=["kernel", "intrinsic"])
def test_what_is_compiled_is_found_again_until_what_it_calls_changes(load: Callable, called: str) -> None:
    assert compiles(load(1, called), 3) == (8, 1)
    assert compiles(load(1, called), 3) == (8, 0)
    assert compiles(load(2, called), 3) == (10, 1)  # only the other file has changed, and not its length


@pytest.mark.slow
def test_what_is_kept_is_loaded_without_all_that_compiling_takes(load: Callable, tmp_path: Path) -> None:
    compiles(load(1), 3)
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from calling import calling
print(calling(3), sum(calling.stats.cache_hits.values()), "numba.np.linalg" in sys.modules)
print(calling(0.5), sum(calling.stats.cache_misses.values()))
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    told = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == ["8 1 False", "3.0 1"]


def test_garbage_is_collected_again_after_a_kernel_that_cannot_be_compiled() -> None:
    @compiled.compiled
    def wrong(number):
        return number.nothing

    with pytest.raises(numba.TypingError):
        wrong(1)
    assert gc.isenabled()


def test_a_cache_that_the_power_failed_over_is_written_anew(load: Callable, tmp_path: Path) -> None:
    compiles(load(1), 3)
    for pattern in ("*.nbc", "*.nbi"):
        for file in tmp_path.rglob(pattern):
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        assert compiles(load(1), 3) == (8, 1)
        assert compiles(load(1), 3) == (8, 0)


def test_a_cache_that_a_stopped_process_holds_is_done_without(
    load: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_INDEX_PATIENCE", 0.05)
    compiles(load(1), 3)
    (lock,) = (tmp_path / "cache").rglob(".lock")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert compiles(load(1), 3) == (8, 1)
    assert compiles(load(1), 3) == (8, 0)


def test_without_a_place_to_keep_it_a_loop_is_compiled_all_the_same(load: Callable, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, so that no folder can be made here")
    assert load(1).calling(3) == 8
    assert load(1).calling(3.0) == 8


@pytest.mark.slow
def test_a_disk_that_is_full_is_told_once_and_a_loop_is_compiled_all_the_same(load: Callable, tmp_path: Path) -> None:
    load(1)  # writes the modules
    script = f"""
import resource, sys
sys.path.insert(0, {str(tmp_path)!r})
from calling import calling
from rtseg import compiled
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
print(calling(3), calling(3.0), len(compiled.unkept))
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "full"), "PYTHONDONTWRITEBYTECODE": "1"}
    told = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == ["8 8.0 1"]
    (line,) = told.stderr.splitlines()
    assert line.startswith(f"compiled kernels cannot be kept in {tmp_path / 'full'}: File too large; every start ")
    kept = [path for path in (tmp_path / "full").rglob("*") if path.is_file() and path.stat().st_size]
    assert kept == []


@pytest.mark.slow
def test_processes_that_compile_at_once_for_several_types_leave_the_right_code_for_each(
    load: Callable, tmp_path: Path
) -> None:
    module = load(1)
    script = "import sys; from calling import calling; assert calling({0}(3)) == 8; assert calling({1}(3)) == 8"
    environment = {"PYTHONPATH": f"{tmp_path}:{Path(compiled.__file__).parents[1]}"}
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")
    processes = [
        subprocess.Popen([sys.executable, "-c", script.format(*types)], env=environment)
        for types in (("int", "float"), ("float", "complex"))
    ]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert [module.calling(value) for value in (3, 3.0, 3 + 0j)] == [8, 8, 8]
    assert not module.calling.stats.cache_misses


@pytest.mark.slow
def test_what_another_process_compiles_is_waited_for_and_not_compiled_again(load: Callable, tmp_path: Path) -> None:
    module = load(1)
    kernel = module.called
    script = "import sys; from calling import called; called(3); print(sum(called.stats.cache_misses.values()))"
    environment = {"PYTHONPATH": f"{tmp_path}:{Path(compiled.__file__).parents[1]}"}
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")
    command = [sys.executable, "-c", script]
    with kernel._cache.turn(0):
        other = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(1.0)
        assert compiled.compile_unless_taken(kernel, (numba.int64,))
    assert other.communicate(timeout=120)[0] == "0\n"
    assert compiled.is_kept(kernel, (numba.int64,))


@pytest.mark.slow
def test_a_kernel_that_another_process_compiles_can_be_left_to_it(load: Callable, tmp_path: Path) -> None:
    kernel = load(1).called
    hold = (
        "import sys; from calling import called\n"
        "with called._cache.turn(0):\n    print('held', flush=True); sys.stdin.read()"
    )
    environment = {"PYTHONPATH": f"{tmp_path}:{Path(compiled.__file__).parents[1]}"}
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", hold], env=environment, **pipes) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert not compiled.compile_unless_taken(kernel, (numba.int64,))
        assert not compiled.is_kept(kernel, (numba.int64,))
        other.kill()
    assert compiled.compile_unless_taken(kernel, (numba.int64,))


def test_a_kernel_is_compiled_once_for_counts_and_constants() -> None:
    @compiled.compiled
    def called(number):
        return number + 1

    @compiled.compiled
    def counting(times):
        count = 0
        for _ in range(times):
            count += 1
        return called(count) + called(0) + called(-1)

    assert counting(3) == 5
    template, *_ = called.get_call_template((numba.int64,), {})
    assert [str(one.args) for one in template.cases] == ["(int64,)"]
    assert not called.signatures  # no machine code of its own, which nobody asked for
    assert called(3) == 4
