"""Loads a node's models in a thread of its own, beside which the process hears signals and tells how far it is."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import rtseg
from rtseg.errors import ModelError
from rtseg_ros.parameters import NodeParameters

if TYPE_CHECKING:
    from rtseg.runtime import Pipeline

STEP_SECONDS = 0.1
TELLING_SECONDS = 1.0
COMPILING = "compiling kernels, once"
UNKEPT_CURE = "every start compiles them anew; make room, or set NUMBA_CACHE_DIR, and start the node again"
THREAD_NAME = "rtseg"
"""Of all threads that work for a node: one that is left when the node has been closed hangs, and is not waited for."""


class Stopped(BaseException):
    """The process was asked to end while it loads; no ``except Exception`` on the way holds it up."""


class Loading:
    """What the loading of models is at.

    Args:
        logger: of the node.
        report: publishes the diagnostics, which no timer does while a transition is under way.

    Attributes:
        progress: what is being done, or empty.
        busy_for: seconds for which that has been so.
        unkept: why kernels that were compiled will be compiled again, or empty.
        check_for_end: is called ten times a second, and raises Stopped to break off.
    """

    def __init__(self, logger: Any, report: Callable[[], None]) -> None:
        self._progress, self._since = "", 0.0
        self.unkept = ""
        self.check_for_end: Callable[[], None] = lambda: None
        self._logger = logger
        self._report = report

    @property
    def progress(self) -> str:
        return self._progress

    @progress.setter
    def progress(self, progress: str) -> None:
        self._since = time.monotonic()
        self._progress = progress

    @property
    def busy_for(self) -> float:
        return time.monotonic() - self._since if self._progress else 0.0

    def load(self, models: Sequence[tuple[str, str]], parameters: NodeParameters) -> list[Pipeline]:
        """Load models and warm them up.

        Args:
            models: task and name of the parameter that names the model.
            parameters: of the node.

        Raises:
            RtsegError: one cannot be loaded; those before it have been closed.
            Stopped: what was begun is left alone.
        """
        pipelines: list[Pipeline] = []
        faults: list[Exception] = []

        def work() -> None:
            try:
                for task, parameter in models:
                    self._load(task, parameter, parameters, pipelines)
            except Exception as fault:
                faults.append(fault)

        thread = threading.Thread(target=work, name=THREAD_NAME, daemon=True)
        thread.start()
        try:
            self._wait(thread)
        finally:
            self.progress = ""
        if faults:
            for pipeline in pipelines:
                pipeline.close()
            raise faults[0]
        return pipelines

    def _load(self, task: str, parameter: str, parameters: NodeParameters, pipelines: list[Pipeline]) -> None:
        model = getattr(parameters, parameter)
        self.progress = f"loading {model}"
        self._logger.info(self.progress)
        pipeline = rtseg.load(
            model,
            device=parameters.device,
            backend=parameters.backend,
            threads=parameters.threads or None,
            ignore=os.path.expanduser(parameters.ignore) or None,
        )
        if pipelines:
            pipeline.share_camera(pipelines[0])
        pipelines.append(pipeline)
        if pipeline.card.task != task:
            raise ModelError(
                f"expected a model for {task}, got {pipeline.card.name} for {pipeline.card.task}; set parameter "
                f"{parameter}"
            )
        from rtseg.compiled import unkept  # Numba, with the model and not with the node
        from rtseg.runtime.compilation import warm_up_told

        warm_up_told(pipeline, self._note_kernel)
        self.unkept = "; ".join(f"{reason}; {UNKEPT_CURE}" for reason in unkept)

    def _note_kernel(self, compiled: int, kernel: str) -> None:
        if not self.progress.startswith(COMPILING):
            self._logger.info("kernels are compiled, once: later starts find them; `rtseg prepare` does it ahead")
        self.progress = f"{COMPILING}: {compiled} done, now {kernel}"

    def _wait(self, thread: threading.Thread) -> None:
        told, logged = time.monotonic(), self.progress
        while thread.is_alive():
            self.check_for_end()
            if time.monotonic() - told >= TELLING_SECONDS:
                told = time.monotonic()
                if self.progress != logged:
                    logged = self.progress
                    self._logger.info(logged)
                self._report()
            thread.join(STEP_SECONDS)
