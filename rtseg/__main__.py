"""``python -m rtseg`` is ``rtseg``, for where the script is not on the PATH."""

from __future__ import annotations

from rtseg.cli import main

if __name__ == "__main__":
    main()
