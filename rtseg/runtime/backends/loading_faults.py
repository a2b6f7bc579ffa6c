"""Why a library does not load a network: the network, or the machine's memory."""

from __future__ import annotations

from pathlib import Path

from rtseg.errors import MORE_MEMORY, BackendError, ModelError, RtsegError, lacks_memory


def cannot_load(library: str, network: Path, error: Exception) -> RtsegError:
    """The error to raise: BackendError where memory does not suffice, which another backend may need less of."""
    if lacks_memory(error):
        return BackendError(f"{library} cannot load {network}: this machine has too little memory left; {MORE_MEMORY}")
    return ModelError(f"{library} cannot load {network}: {error}; export the model again")
