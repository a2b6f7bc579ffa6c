"""The errors rtseg raises on bad input: one sentence each, saying what was expected, what came and how to mend it.

The command line turns every :class:`RtsegError` into that sentence and exit code 2; the ROS node turns it into a
counted drop and a diagnostic.
"""

from __future__ import annotations

import errno

_LACKING = ("bad_alloc", "cannot allocate memory", "failed to allocate", "out of memory", "insufficient memory")
MORE_MEMORY = "end other programs, or take a smaller model or smaller pictures"
"""What helps where memory does not suffice."""


class RtsegError(Exception):
    """Base of every error that rtseg raises on purpose."""


class ImageError(RtsegError):
    """A frame that cannot be used: zero size, truncated data, wrong step, unknown encoding."""


class MediaError(RtsegError):
    """A bag, video or image folder that cannot be read or written."""


class ModelError(RtsegError):
    """A model that cannot be loaded: unknown name, bad card, wrong hash, outputs that do not fit the card."""


class BackendError(RtsegError):
    """A backend that is not installed, cannot run this model, or failed while running it."""


class HeadMapsError(BackendError):
    """Head maps of a frame that no sound network gives, as where half precision overflows; the backend may be well."""


class CalibrationError(RtsegError):
    """Camera parameters or calibration pictures that do not fit."""


class DatasetError(RtsegError):
    """Labels or data set folders that do not parse."""


class ArgumentError(RtsegError, ValueError):
    """An argument or setting of a function that does not fit: a shape, a type, a number out of its range."""


class GroupingError(RtsegError, ValueError):
    """Head maps that cannot be grouped: values that no sound network gives."""


class ConfigError(RtsegError):
    """A training or evaluation configuration that does not validate."""


class TrainingError(RtsegError):
    """A training that does not learn any more."""


class WeakSupervisionError(RtsegError, ValueError):
    """Keywords, proposals or a retention ratio from which no labels can be made."""


def lacks_memory(error: BaseException) -> bool:
    """Whether an error means that memory does not suffice, as Python, the system and the libraries say it.

    Example:
        >>> lacks_memory(RuntimeError("Exception from core.cpp: std::bad_alloc"))
        True
        >>> lacks_memory(RuntimeError("unknown operator"))
        False
    """
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return any(words in str(error).lower() for words in _LACKING)
