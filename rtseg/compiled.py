"""Loops compiled by Numba: the one decorator, and a cache of machine code that processes share.

Numba's own cache is made for one process at a time, and takes what it holds on trust. Several nodes, tests or workers
start side by side, robots lose their power while a file is written, and a kernel that calls one of another module has
to be compiled anew when that one changes: see :class:`_Cache`.
"""

from __future__ import annotations

import fcntl
import gc
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic
from numba.core.runtime.nrt import rtsys
from numba.core.sigutils import normalize_signature

from rtseg import linked

logger = logging.getLogger("rtseg")

unkept: list[str] = []
"""Why kernels that this process compiled will be compiled again, a sentence for each place."""

_PATIENCE = 60.0  # seconds that a kernel is waited for which another process compiles: that one may have been stopped
_INDEX_PATIENCE = 2.0  # and that what is kept is waited for, which takes milliseconds to read or to write
_STEP = 0.02


def compiled(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a loop over arrays for the types it is called with; machine code is kept, and other threads run on.

    Args:
        function: what Numba can compile.
        options: of :func:`numba.njit`, such as ``inline="always"`` or ``fastmath={"contract"}``; not
            ``"reassoc"``, with which results depend on the width of the CPU's registers.
    """
    if function is None:
        return lambda function: compiled(function, **options)
    # The wrapper left out is for callers in C, of whom there are none: a twentieth of the time to compile.
    options = {"nogil": True, "no_cfunc_wrapper": True, **options}
    dispatcher = numba.njit(**options)(function)
    called = linked.CalledKernel(dispatcher)
    dispatcher.get_call_template, dispatcher.get_overload = called.get_call_template, called.get_overload
    with suppress(RuntimeError):  # nowhere to keep it: neither beside the library nor in a user's cache
        dispatcher._cache = _Cache(function)  # noqa: SLF001 - what its enable_caching() does, with a cache of ours
    _compile_in_turn(dispatcher)
    return dispatcher


def compiled_in_place(function: Callable[..., Any]) -> Any:
    """Compile a kernel that works in arrays of its caller and makes none, to be called from other kernels.

    References to arrays are not counted in it, which in a kernel of a few steps takes longer than the steps.
    """
    return compiled(function, _nrt=False)


def is_kept(kernel: Any, types: tuple[Any, ...]) -> bool:
    """Whether a kernel need not be compiled for arguments of these types: it was, here or in another process."""
    cache = kernel._cache  # noqa: SLF001 - Numba has no other way to ask
    return types in kernel.overloads or (isinstance(cache, _Cache) and cache.holds(types, kernel.targetctx))


def compile_unless_taken(kernel: Any, types: tuple[Any, ...]) -> bool:
    """Compile a kernel for arguments of some types; give False, at once, if another process is compiling it."""
    cache = kernel._cache  # noqa: SLF001
    if not isinstance(cache, _Cache):
        kernel.compile(types)
        return True
    with global_compiler_lock, cache.turn(patience=0) as ours:
        if ours:
            kernel.compile(types)
        return ours


def _compile_in_turn(dispatcher: Any) -> None:
    """Let one process at a time compile a kernel: those that wait for it find what it has kept."""
    compile_now = dispatcher.compile

    def compile_in_turn(signature: Any) -> Any:
        cache = dispatcher._cache  # noqa: SLF001
        # Numba's lock first, as in `compile_unless_taken`: threads of this process wait there and not in the turn.
        with global_compiler_lock:
            if is_kept(dispatcher, tuple(normalize_signature(signature)[0])):
                return compile_now(signature)
            with cache.turn(_PATIENCE) if isinstance(cache, _Cache) else nullcontext(), _no_collections():
                return compile_now(signature)

    dispatcher.compile = compile_in_turn


@contextmanager
def _no_collections() -> Iterator[None]:
    """Leave garbage alone: what Numba makes for a kernel, which is much, lives until it is compiled."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class _Cache(FunctionCache):  # type: ignore[misc]
    """Numba's cache of one kernel; several processes may use it, and what it cannot read or write it does without.

    Numba reads an index, takes the next free number, and writes index and machine code, one after the other: of two
    processes that do so at once, one later runs code that was compiled for other types.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file._source_stamp = _sources_digest(function)  # noqa: SLF001 - instead of one file's age
        self._ours = False

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        # Numba's own makes ready for compiling first, and imports SciPy for it: half the time to load the kernels of a
        # model. Machine code needs the runtime alone.
        rtsys.initialize(target_context)
        try:
            with _locked(self._cache_path, fcntl.LOCK_SH):
                return self._load_overload(sig, target_context)
        except Exception:  # half written before the power went, or by who knows what: pickle raises anything
            return None

    def holds(self, sig: Any, target_context: Any) -> bool:
        """Whether machine code for these types is kept."""
        try:
            with _locked(self._cache_path, fcntl.LOCK_SH):
                return self._index_key(sig, target_context.codegen()) in self._cache_file._load_index()  # noqa: SLF001
        except Exception:  # as when it is loaded
            return False

    @contextmanager
    def turn(self, patience: float) -> Iterator[bool]:
        """Be the one process that compiles this kernel; give whether that is so, after so many seconds at most.

        Who calls this holds Numba's lock. A process holds one turn at a time, for kernels that others call are compiled
        into those (`rtseg.linked`): two never wait for each other. Where there is no place for the lock every process
        has its turn.
        """
        descriptor = None
        with suppress(OSError):
            if not self._ours:
                self._impl.locator.ensure_cache_path()
                path = os.path.join(self._cache_path, f".{self._impl.filename_base}.turn")
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if descriptor is None:
            yield True
            return
        try:
            self._ours = _flock_within(descriptor, fcntl.LOCK_EX, patience)
            yield self._ours
        finally:
            self._ours = False
            _unlock(descriptor)

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            self._impl.locator.ensure_cache_path()
            with _locked(self._cache_path, fcntl.LOCK_EX):
                try:
                    super().save_overload(sig, data)
                except OSError:
                    raise
                except Exception:  # an index that cannot be read
                    self.flush()
                    super().save_overload(sig, data)
        except TimeoutError:  # another process holds what is kept
            pass
        except OSError as error:  # no room: it will be compiled again
            _not_kept(os.path.dirname(self._cache_path), error.strerror or str(error))


@cache
def _not_kept(folder: str, reason: str) -> None:
    """Tell it once, whatever the number of kernels."""
    unkept.append(f"compiled kernels cannot be kept in {folder}: {reason}")
    logger.warning("%s; every start compiles them anew; make room, or set NUMBA_CACHE_DIR", unkept[-1])


def _flock_within(descriptor: int, how: int, patience: float) -> bool:
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(_STEP)
        except OSError:  # a file system without locks
            return True
        else:
            return True


def _unlock(descriptor: int) -> None:
    # Closing it would not do where another thread has forked a process meanwhile.
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


@contextmanager
def _locked(folder: str, how: int) -> Iterator[None]:
    writing = how == fcntl.LOCK_EX
    try:
        descriptor = os.open(os.path.join(folder, ".lock"), os.O_RDWR | os.O_CREAT if writing else os.O_RDONLY, 0o666)
    except FileNotFoundError:  # nothing has been kept here yet
        yield
        return
    try:
        if not _flock_within(descriptor, how, _INDEX_PATIENCE):
            raise TimeoutError(f"another process holds {folder}")
        yield
    finally:
        _unlock(descriptor)


def _sources_digest(function: Callable[..., Any]) -> str:
    """Digest of the files that a kernel is made of: its own, and those of the kernels and intrinsics that it calls."""
    waiting, seen = [function], {function}
    while waiting:
        caller = waiting.pop()
        for name in caller.__code__.co_names:
            called = caller.__globals__.get(name)
            if isinstance(called, Dispatcher) and called.py_func not in seen:
                seen.add(called.py_func)
                waiting.append(called.py_func)
            elif isinstance(called, _Intrinsic):
                seen.add(called._defn)  # noqa: SLF001
    files = {__file__, linked.__file__, *(kernel.__code__.co_filename for kernel in seen)}
    return hashlib.sha256("".join(sorted(map(_digest, files))).encode()).hexdigest()


@cache
def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
