"""What Numba has compiled so far in this process."""

from __future__ import annotations

import sys

from numba.core.registry import CPUDispatcher


def compiled_signatures() -> dict[str, int]:
    """For each kernel of rtseg that is compiled, for how many kinds of arguments."""
    found = {}
    for name, module in list(sys.modules.items()):
        if name.startswith("rtseg."):
            for attribute, value in vars(module).items():
                if isinstance(value, CPUDispatcher) and value.signatures:
                    found[f"{name}.{attribute}"] = len(value.signatures)
    return found
