"""Processes that end with the one that started them."""

from __future__ import annotations

import signal
import subprocess
import sys

WAITING = "import time; from rtseg.parent import end_with_parent; end_with_parent(); print(flush=True); time.sleep(60)"


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_a_process_whose_parent_lets_go_of_it_ends() -> None:
    with _start("-c", WAITING) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        process.stdin.write(b"what comes is nothing to it\n")
        process.stdin.flush()
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(timeout=20) == -signal.SIGTERM


def test_one_that_is_done_first_ends_in_order() -> None:
    # Watched by the thread while it waits for nothing, which takes Python's own end in its stride.
    with _start("-c", WAITING.replace("60", "0.2")) as process:
        assert process.wait(timeout=20) == 0
        assert process.stderr
        assert process.stderr.read() == b""
    with _start("-m", "rtseg.runtime.kernels", "of somebody else") as process:  # which has nothing to compile
        assert process.wait(timeout=60) == 0
        assert process.stderr
        assert process.stderr.read() == b""
