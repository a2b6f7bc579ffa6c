"""Load a model: the one place that knows every part."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rtseg.errors import ArgumentError
from rtseg.runtime.card import ModelCard
from rtseg.runtime.ignore import IgnoreMask, LearnedMask, ignore_mask
from rtseg.runtime.interpreter import AnyInterpreter
from rtseg.runtime.models import find_model
from rtseg.runtime.selection import open_ahead, select

if TYPE_CHECKING:
    from rtseg.runtime.pipeline import Pipeline

__all__ = ["interpreter_for", "load"]

MOST_THREADS = 1024
"""What no machine has more cores than; libraries crash over numbers beyond 32 bits."""


def load(
    name_or_path: str | Path,
    device: str = "auto",
    backend: str = "auto",
    threads: int | None = None,
    network: str | None = None,
    ignore: str | Path | IgnoreMask | None = None,
) -> Pipeline:
    """Load a model and what turns its outputs into lanes or instances.

    Args:
        name_or_path: a bundled model's name, or the folder of one's own (``card.yaml`` beside the network).
        device: ``auto`` (a CUDA device if there is one, else the CPU), ``cpu``, ``cuda`` (the first), ``cuda:N``, or
            ``dla`` (TensorRT on a Jetson's accelerator, what that cannot do on the GPU). With the last three loading
            fails where no backend opens on the device; a later fault moves on to the next best all the same.
        backend: ``auto``, or ``tensorrt``, ``torch``, ``onnxruntime`` or ``openvino``; with ``auto`` a failing backend
            is left for the next best.
        threads: threads of the network on a CPU; all cores by default.
        network: file name of one of the card's networks; the best for the backend by default. For TensorRT an int8
            network gives an int8 engine, any other an fp16 engine.
        ignore: what of the camera's frames is not road, a mask or a file of one; nothing is found there
            (:class:`rtseg.runtime.ignore.IgnoreMask`). ``auto`` learns what stands still while the road moves.

    Raises:
        ArgumentError: on another number of threads.
        ModelError: if the model cannot be found, or its card or file does not fit.
        BackendError: if the device or backend is not to be had.
        MediaError, ImageError, ConfigError: if the ignore mask cannot be read.
    """
    if threads is not None and not 0 <= threads <= MOST_THREADS:
        raise ArgumentError(f"expected 1 to {MOST_THREADS} threads, or 0 for all cores, got {threads}")
    mask = ignore_mask(ignore)
    model = find_model(name_or_path, network)
    wanted = device, backend, threads or os.cpu_count() or 1, network
    ahead = open_ahead(model, *wanted)
    # What takes Numba is imported while the network is opened.
    from rtseg.runtime.pipeline import Pipeline

    interpreter = interpreter_for(model.card, mask)
    selection = select(model, interpreter, *wanted, ahead)
    return Pipeline(model.card, interpreter, selection, mask if isinstance(mask, LearnedMask) else None)


def interpreter_for(card: ModelCard, ignored: IgnoreMask | None = None) -> AnyInterpreter:
    """Make what turns a model's head maps into results.

    Args:
        card: of the model.
        ignored: what of the frames is not looked at; None looks at all.

    Raises:
        ModelError: if the card's grouping does not fit.
    """
    if card.task == "lanes":
        from rtseg.lanes.interpreter import LaneInterpreter

        return LaneInterpreter(card, ignored)
    from rtseg.instances.interpreter import InstanceInterpreter

    return InstanceInterpreter(card, ignored)
