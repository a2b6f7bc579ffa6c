"""A live Rerun viewer, on this machine or elsewhere, for which nobody waits (needs the extra ``rerun``)."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Full, Queue
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from rtseg.errors import ConfigError
from rtseg.printing import visible

HERE = "rerun"
URLS = ("rerun+http://", "rerun+https://")
_PATIENCE = 5.0  # seconds for a viewer to take the last frames
_WAITING = 60  # frames
_log = logging.getLogger(__name__)


def open_sink(recording: Any, view: str) -> Any:
    """Where a recording goes to be seen while it is made.

    Args:
        recording: a ``rerun.RecordingStream``.
        view: ``rerun`` for the viewer of this machine, which is started if none runs yet and there is a display, or the
            URL of one elsewhere.

    Returns:
        A ``rerun.GrpcSink``, or None where no viewer can be started, which is told.

    Raises:
        ConfigError: nobody listens at the URL.
    """
    import rerun

    if view != HERE:
        _reached(view)
        return rerun.GrpcSink(view)
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        _log.warning("there is no display for the viewer; what it would show is in the file alone")
        return None
    # Beside this Python, whether or not its environment is active.
    program = Path(sys.executable).with_name("rerun")
    place = str(program) if program.exists() else None
    try:
        with _silent():
            rerun.spawn(connect=False, hide_welcome_screen=True, executable_path=place, recording=recording)
    except Exception as error:  # the SDK raises RuntimeError, and documents nothing
        _log.warning("the viewer did not start: %s; what it would show is in the file alone", visible(error))
        return None
    return rerun.GrpcSink()


class LiveViewer:
    """Gives frames to a viewer in a thread of its own: one that hangs, or is slow, lacks frames and ends nothing.

    Args:
        recording: a ``rerun.RecordingStream`` whose one sink is the viewer.
    """

    def __init__(self, recording: Any) -> None:
        self._recording = recording
        self._waiting: Queue[Callable[[Any], None] | None] = Queue(_WAITING)
        self._complete = True
        self._thread = Thread(target=self._show, name="viewer", daemon=True)
        self._thread.start()

    def show(self, write: Callable[[Any], None]) -> None:
        """Let `write` log to the recording, soon, or never where too much waits already, which is told once."""
        try:
            self._waiting.put_nowait(write)
        except Full:
            if self._complete:
                _log.warning("the viewer is slower than the frames come; it lacks some, the file has all")
            self._complete = False

    def _show(self) -> None:
        while (write := self._waiting.get()) is not None:
            write(self._recording)
        with suppress(Exception):  # it is gone
            self._recording.flush(timeout_sec=_PATIENCE)
        self._recording.disconnect()

    def close(self) -> None:
        """Wait for the viewer to take what it was given, but not for long."""
        with suppress(Full):
            self._waiting.put(None, timeout=_PATIENCE)
            self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            import rerun

            rerun.unregister_shutdown()  # which would wait without end
            _log.warning("the viewer does not answer; the file has all frames")


@contextmanager
def _silent() -> Iterator[None]:
    """The viewer tells this terminal of nothing but errors, unless it was asked to."""
    told = os.environ.get("RUST_LOG")
    os.environ["RUST_LOG"] = told or "error"
    try:
        yield
    finally:
        if told is None:
            del os.environ["RUST_LOG"]
        else:
            os.environ["RUST_LOG"] = told


def _reached(url: str) -> None:
    """Raise ConfigError if nobody listens there: the SDK would only log that, at the end."""
    try:
        place = urlsplit(url)
        socket.create_connection((place.hostname or "", place.port or 9876), _PATIENCE).close()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"expected a Rerun viewer at {url}, got {visible(error)}; start `rerun` there, and open its port"
        ) from error
