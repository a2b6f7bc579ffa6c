"""Start the three processes, watch them, and end them, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtseg.errors import RtsegError
from rtseg.media import open_frames
from rtseg.printing import progress_console
from rtseg.progress import Bars
from rtseg_ros.demo.tasks import INSTANCES, LANES, DemoTask

STARTING_SECONDS = 180.0
STALL_SECONDS = 60.0
ENDING_SECONDS = 60.0
GRACE_SECONDS = 10.0
SETTLE_SECONDS = 3.0
"""How long no mask must have come, after the last frame was sent, for those that are missing to be lost."""
REMAPPINGS = ("-r", "image:=/camera/image_raw", "-r", "camera_info:=/camera/camera_info")


@dataclass(frozen=True)
class LiveRun:
    """What a run over DDS leaves.

    Attributes:
        recording: the recorder's folder.
        stamps: nanoseconds given to frame i of the input, in order.
        rate: frames a second at which they were sent.
        late: frames that left more than half a period after their time.
        diagnostics: the node's last status: level, message and its values.
        topic: of the input that was played, where it was named.
    """

    recording: Path
    stamps: list[int]
    rate: float
    late: int
    diagnostics: dict[str, str]
    topic: str | None = None


class Process:
    """A Python module in a process of its own, with its log, which does not outlive this one."""

    def __init__(self, name: str, arguments: Sequence[str], environment: dict[str, str], folder: Path) -> None:
        self.name = name
        self._log = folder / f"{name.replace(' ', '-')}.log"
        with self._log.open("wb") as log:
            command = [sys.executable, "-m", "rtseg_ros.demo.child", *arguments]
            self._child = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def ended(self) -> bool:
        """Whether the process is over; one that failed raises.

        Raises:
            RtsegError: with the end of its log.
        """
        code = self._child.poll()
        if code:
            raise RtsegError(f"the {self.name} ended with code {code}:\n{self.tail()}")
        return code is not None

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-12:])

    def stop(self) -> None:
        """Ask it to end and wait for that.

        Raises:
            RtsegError: if it does not end in time, or not with code 0.
        """
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(timeout=ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            raise RtsegError(f"the {self.name} does not end when asked to:\n{self.tail()}") from None
        self.ended()

    def end(self) -> None:
        """Make sure that it is gone, in good order if it can: Fast DDS leaves the shared memory of who is killed."""
        if self._child.poll() is None:
            self._child.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout=GRACE_SECONDS)
        with self._child:  # which closes the pipe, too
            self._child.kill()


def run_live(
    source: Path,
    folder: Path,
    models: Mapping[str, str],
    camera: Path | None,
    task: DemoTask = LANES,
    topic: str | None = None,
) -> LiveRun:
    """Play `source` to the task's node and record its masks.

    Args:
        source: recording.
        folder: for logs and the recording of masks.
        models: the node's parameters that name models.
        camera: calibration file.
        task: what to run.
        topic: image topic of a bag.

    Raises:
        RtsegError: if a process ends early or nothing moves any more, or shared memory is full.
    """
    from rtseg_ros.shared_memory import why_none_starts
    from rtseg_ros.transport import private_environment

    if reason := why_none_starts():
        raise RtsegError(reason)
    environment = private_environment(os.environ)
    recording, log = folder / "recording", folder / "player.json"
    with open_frames(source, topic) as frames:
        total = frames.count
    with ExitStack() as stack:

        def start(name: str, *arguments: str) -> Process:
            process = Process(name, arguments, environment, folder)
            stack.callback(process.end)
            return process

        recorder = start(
            "recorder", "rtseg_ros.recorder", str(recording), "--node", f"/{task.node}", "--masks", *task.masks
        )
        # That the drive is over is no fault of the camera's.
        settings = {
            "silence_warning": str(STALL_SECONDS),
            **models,
            **({"camera": str(camera)} if camera and task is not INSTANCES else {}),
        }
        parameters = [word for name, value in settings.items() for word in ("-p", f"{name}:={value}")]
        node = start(f"{task.node} node", f"rtseg_ros.{task.node}", "--ros-args", *REMAPPINGS, *parameters)
        running = [recorder, node]
        with progress_console.status("loading the model"):
            _wait(lambda: (recording / "ready").exists(), running, STARTING_SECONDS, f"the {node.name} did not come up")
        wanted = [*(["--camera", str(camera)] if camera else []), *(["--topic", topic] if topic else [])]
        player = start("player", "rtseg_ros.player", str(source), "--log", str(log), *wanted, "--ros-args", *REMAPPINGS)
        with Bars() as bar:
            driven = bar.add_task("driving", total=total)
            last, moved = 0, time.monotonic()
            played: dict[str, Any] | None = None
            while played is None or (last < len(played["stamps"]) and time.monotonic() - moved < SETTLE_SECONDS):
                _check(running)
                if played is None and player.ended():
                    played, moved = json.loads(log.read_text()), time.monotonic()
                masks = _lines(recording / "masks.jsonl") // len(task.masks)
                if masks > last:
                    last, moved = masks, time.monotonic()
                    bar.update(driven, completed=masks)
                elif time.monotonic() - moved > STALL_SECONDS:
                    logs = "\n".join(process.tail() for process in (*running, player))
                    raise RtsegError(f"no mask came for {STALL_SECONDS:.0f} s:\n{logs}")
                time.sleep(0.1)
        for process in running:
            process.stop()
    diagnostics = json.loads((recording / "diagnostics.json").read_text())
    return LiveRun(recording, played["stamps"], played["rate"], played["late"], diagnostics, topic)


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _check(processes: Sequence[Process]) -> None:
    for process in processes:
        if process.ended():
            raise RtsegError(f"the {process.name} ended before its time:\n{process.tail()}")


def _wait(done: Callable[[], bool], processes: Sequence[Process], seconds: float, message: str) -> None:
    end = time.monotonic() + seconds
    while not done():
        _check(processes)
        if time.monotonic() > end:
            logs = "\n".join(process.tail() for process in processes)
            raise RtsegError(f"{message} within {seconds:.0f} s:\n{logs}")
        time.sleep(0.05)
