"""A file of any origin, read as an ONNX network, or told for what it is instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rtseg.errors import ModelError

_BIGGEST = 2**31 - 1  # bytes of a protobuf message
_PYTORCH = "a file of PyTorch; export it first (torch.onnx.export, or yolo export format=onnx)"
_OTHERS = (
    (0, b"PK\x03\x04", _PYTORCH),
    (0, b"\x80\x02", _PYTORCH),
    (4, b"TFL3", "a TensorFlow Lite file; export the network to ONNX (tf2onnx)"),
    (0, b"\x89HDF", "a Keras file; export the network to ONNX (tf2onnx)"),
    (0, b"ftrt", "a TensorRT engine; import the ONNX file that it was built of"),
    (0, b"version https://git-lfs", "a pointer of Git LFS; fetch the file itself (git lfs pull)"),
    (0, b"<", "a web page or XML; download the ONNX file itself"),
)
"""Files that people take for a network: where in them stands what, and what they are."""


def read_network(path: Path) -> Any:
    """Read the ``onnx.ModelProto`` of a file, with weights that lie in files beside it.

    Raises:
        ModelError: it is none, or its weights are missing or are no numbers; the message says what to do.
    """
    import onnx

    expected = f"expected an ONNX network in {path}"
    if path.exists() and not path.is_file() and not path.is_dir():  # which would be waited for, or read for ever
        raise ModelError(f"{expected}, got a pipe or a device; write the network to a file first")
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise ModelError(f"{expected}, which cannot be read: {error.strerror}") from error
    if not start:
        raise ModelError(f"{expected}, got an empty file")
    for at, mark, what in _OTHERS:
        if start[at:].startswith(mark):
            raise ModelError(f"{expected}, got {what}")
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf raises kinds of its own
        raise ModelError(f"{expected}, got a file that is none: {error}") from error
    if not model.graph.node or not model.graph.output:
        raise ModelError(f"{expected}, got a file without operators or outputs")
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        if model.ByteSize() > _BIGGEST:
            raise ValueError("together they are larger than 2 GB")
    except Exception as error:
        raise ModelError(
            f"{expected} with its weights beside it ({', '.join(_weight_files(model)) or 'as its nodes name them'}): "
            f"{error}; copy all files of the export into one folder"
        ) from error
    _refuse_nan(path, model.graph)
    return model


def text_of(value: str | bytes) -> str:
    """A text in a network's file, which protobuf gives as bytes where it is no UTF-8."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _refuse_nan(path: Path, graph: Any) -> None:
    """Check that the weights are numbers: an argmax at the end would hide that they are none."""
    import onnx

    for tensor in graph.initializer:
        of_numbers = tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
        if of_numbers and np.isnan(onnx.numpy_helper.to_array(tensor)).any():
            raise ModelError(
                f"expected weights that are numbers, {path.name} has NaN in {tensor.name}; its training or its "
                "conversion went wrong, export an earlier state of it"
            )


def _weight_files(model: Any) -> list[str]:
    """Names of the files in which a network's weights lie, as it has them."""
    entries = (entry for tensor in model.graph.initializer for entry in tensor.external_data)
    return sorted({entry.value for entry in entries if entry.key == "location"})
