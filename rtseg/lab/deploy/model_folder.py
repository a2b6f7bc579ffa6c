"""Where a model is to be written: looked at before the work that it takes to make one."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rtseg.errors import ConfigError, MediaError
from rtseg.files import Part
from rtseg.runtime.card import NAME

CARD = "card.yaml"


def model_name(out: Path) -> str:
    """The name of a model in a folder, which is the folder's.

    Raises:
        ConfigError: no model can have it.
    """
    name = os.path.basename(os.path.abspath(out))
    if not re.fullmatch(NAME, name):
        raise ConfigError(
            "expected a folder whose name can be a model's (small letters, digits and hyphens, at most 100), "
            f"got {name!r}; give another --out"
        )
    return name


def check_folder(out: Path) -> None:
    """Make sure that files can be written to a folder, which need not be there; none is made.

    Raises:
        ConfigError: it, or one above it, is a file.
        MediaError: it, or the nearest above it, cannot be written.
    """
    there = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise ConfigError(f"expected a folder to write to, got {out}, but {there} is a file; give another")
    try:
        Part(there / CARD).discard()
    except MediaError as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        raise MediaError(
            f"expected to write to {out}, got {reason} at {there}; check the folder and its disk"
        ) from error
