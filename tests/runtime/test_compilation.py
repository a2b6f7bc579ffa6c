from __future__ import annotations

import numba

from rtseg.runtime.compilation import compilation_told


def test_each_kernel_that_a_caller_waits_for_is_told_once() -> None:
    @numba.njit
    def _inner(value: int) -> int:
        return value + 1

    @numba.njit
    def outer(value: int) -> int:
        return int(_inner(value)) * 2

    told: list[tuple[int, str]] = []
    with compilation_told(lambda count, kernel: told.append((count, kernel))):
        outer(3)
        outer(4)
        _inner(3.5)
        _inner(3)
    assert told == [(0, "outer"), (1, "inner")]
    outer(3.5)
    assert len(told) == 2


def test_a_listener_that_breaks_off_leaves_the_next_one_sound() -> None:
    @numba.njit
    def kernel(value: int) -> int:
        return value

    def refuse(count: int, name: str) -> None:
        raise KeyboardInterrupt

    try:
        with compilation_told(refuse):
            kernel(1)
    except KeyboardInterrupt:
        pass
    told: list[str] = []
    with compilation_told(lambda count, name: told.append(name)):
        assert kernel(2) == 2
    assert told == ["kernel"]
