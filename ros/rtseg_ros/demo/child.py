"""Runs a module that ends with the process that started it: also where that is killed, and can end nobody any more.

``python -m rtseg_ros.demo.child MODULE [ARGUMENT ...]``, with a pipe for standard input.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def _end_with_parent() -> None:
    while os.read(0, 1024):  # until the other end is closed, whatever the parent dies of
        pass
    os.kill(os.getpid(), signal.SIGTERM)  # by which all modules of the demo end in good order


def main() -> None:
    """Watch the pipe, and become the module."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
