"""Runs a module that ends, in good order as on any SIGTERM, with the process that started it.

``python -m rtseg_ros.demo.child MODULE [ARGUMENT ...]``, with a pipe for standard input.
"""

from __future__ import annotations

import runpy
import sys

from rtseg.parent import end_with_parent


def main() -> None:
    """Watch the pipe, and become the module."""
    end_with_parent()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
