"""Compiled engines on disk: one file and one JSON sidecar each, named by all that they depend on.

Metadata lives beside the engine, not inside it, so that other tools read the engine too.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from rtseg.errors import ModelError
from rtseg.files import write_bytes, write_text
from rtseg.runtime.card import Precision, sha256_of
from rtseg.settings import Settings


class EngineTensor(Settings):
    """One input or output of an engine."""

    name: str
    mode: Literal["input", "output"]
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class EngineKey:
    """All that an engine depends on; its file is named by it.

    Attributes:
        model: name of the model.
        onnx_sha256: hash of the ONNX file it was compiled from.
        target: compute capability, ``sm89``.
        library: TensorRT's version tag.
        precision: ``fp32``, ``fp16`` or ``int8``.
        shape: (1, 3, height, width) of the input.
        dla: whether layers were placed on a deep learning accelerator.
        card: the card it was tuned on, as :func:`rtseg.runtime.tensorrt.library.current_card` names it; empty for
            TensorRT for RTX, whose engines are for every card of a compute capability.
    """

    model: str
    onnx_sha256: str
    target: str
    library: str
    precision: Precision
    shape: tuple[int, ...]
    dla: bool = False
    card: str = ""

    @property
    def file_name(self) -> str:
        """``<model>-<onnx sha8>-sm<cc>[dla][-<card>]-trt<version>-<precision>-<shape>.engine``."""
        shape = "x".join(str(size) for size in self.shape)
        target = f"{self.target}{'dla' * self.dla}{f'-{self.card}' * bool(self.card)}"
        return f"{self.model}-{self.onnx_sha256[:8]}-{target}-trt{self.library}-{self.precision}-{shape}.engine"


class EngineRecord(Settings):
    """The sidecar: what an engine is, how it was built, and the hash of its bytes.

    `layers` are those of the network, `dla_layers` those of them that a deep learning accelerator takes; the rest of
    such an engine runs on the GPU.
    """

    engine_sha256: str
    engine_bytes: int
    model: str
    onnx_sha256: str
    target: str
    library: str
    precision: Precision
    dla: bool
    card: str = ""
    layers: int = 0
    dla_layers: int = 0
    tensors: tuple[EngineTensor, ...]
    builder_flags: tuple[str, ...]
    workspace_mib: int | None
    cuda: str
    driver: str
    metric_change: float | None
    build_seconds: float
    built: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first input."""
        return next(tensor.shape for tensor in self.tensors if tensor.mode == "input")

    @property
    def key(self) -> EngineKey:
        """What the engine depends on, as the sidecar says."""
        depends = self.model, self.onnx_sha256, self.target, self.library, self.precision, self.shape, self.dla
        return EngineKey(*depends, self.card)


def cache_folder() -> Path:
    """``$RTSEG_ENGINE_CACHE``, or ``rtseg/engines`` in the user's cache folder."""
    chosen = os.environ.get("RTSEG_ENGINE_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rtseg" / "engines"


def sidecar_of(engine: Path) -> Path:
    """The sidecar beside an engine file."""
    return engine.with_suffix(".json")


def runtime_cache_of(engine: Path) -> Path:
    """Where TensorRT for RTX keeps the kernels it compiled for an engine on this device."""
    return engine.with_suffix(".runtime")


def discard_engine(engine: Path) -> None:
    """Delete an engine and what lies beside it."""
    for path in (sidecar_of(engine), runtime_cache_of(engine), engine):
        path.unlink(missing_ok=True)


def store_engine(engine: Path, content: bytes, record: EngineRecord) -> None:
    """Write an engine and its sidecar, each under a temporary name and then renamed; the sidecar comes last.

    A build that is cut off leaves no sidecar or one that does not match, and is built again.
    """
    engine.parent.mkdir(parents=True, exist_ok=True)
    sidecar_of(engine).unlink(missing_ok=True)
    write_bytes(engine, content)
    write_text(sidecar_of(engine), record.model_dump_json(indent=1) + "\n")
    for path in (engine, sidecar_of(engine)):  # whatever the umask is
        path.chmod(path.stat().st_mode & ~stat.S_IWOTH)


def check_engine(engine: Path, key: EngineKey | None = None) -> EngineRecord:
    """Read an engine's sidecar and check the engine against it.

    Args:
        engine: the engine file.
        key: what the engine must have been built from; the name of the file alone proves nothing.

    Raises:
        ModelError: one sentence that says why the engine cannot be used.
    """
    if not engine.is_file():
        raise ModelError(f"there is no engine {engine.name}")
    for path in (engine, sidecar_of(engine), runtime_cache_of(engine)):
        _expect_own(path)
    try:
        record = EngineRecord.model_validate_json(sidecar_of(engine).read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{engine.name} has no sidecar, so its build did not finish: {error}") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise ModelError(f"the sidecar of {engine.name} does not validate: {error}") from error
    if engine.stat().st_size != record.engine_bytes:
        raise ModelError(f"{engine.name} is {engine.stat().st_size} bytes, its sidecar says {record.engine_bytes}")
    if sha256_of(engine) != record.engine_sha256:
        raise ModelError(f"{engine.name} was changed after it was built: its hash is not the sidecar's")
    wanted = key.file_name if key else engine.name
    if record.key.file_name != wanted or (key and record.key != key):
        raise ModelError(f"{engine.name} was built as {record.key.file_name}: another model, card or TensorRT")
    if record.dla and not record.dla_layers:
        raise ModelError(f"{engine.name} is for an accelerator, and its sidecar counts no layer that runs there")
    return record


def _expect_own(path: Path) -> None:
    """Refuse what lies elsewhere, or may have been written by others than the user, root or the folder's owner.

    An engine is a program. Whoever may write in the folder can put another there, but not in the user's name.
    """
    try:
        found = path.lstat()
    except OSError:  # what is missing is told by whoever reads it
        return
    trusted = {os.getuid(), 0, path.parent.stat().st_uid}
    if not stat.S_ISREG(found.st_mode):
        raise ModelError(f"{path.name} is a link to another file")
    if found.st_mode & stat.S_IWOTH or found.st_uid not in trusted:
        raise ModelError(
            f"{path.name} may have been written by others than the owner of its folder: keep engines where files have "
            "owners, and nobody else may write them (chmod o-w)"
        )


@dataclass(frozen=True)
class EngineState:
    """An engine in the cache, and what is wrong with it if anything."""

    path: Path
    record: EngineRecord | None
    fault: str | None


def list_engines(folder: Path | None = None) -> list[EngineState]:
    """Every engine in the cache (`folder`, by default :func:`cache_folder`), checked."""
    states = []
    for path in sorted((folder or cache_folder()).glob("*.engine")):
        try:
            states.append(EngineState(path, check_engine(path), None))
        except ModelError as error:
            states.append(EngineState(path, None, str(error)))
    return states


def prune_engines(wanted: set[str], folder: Path | None = None) -> list[Path]:
    """Delete engines that are broken or that nobody wants.

    Args:
        wanted: SHA-256 of the ONNX files whose engines are kept.
        folder: the cache; :func:`cache_folder` by default.

    Returns:
        What was deleted.
    """
    deleted = []
    for state in list_engines(folder):
        if state.record is None or state.record.onnx_sha256 not in wanted:
            discard_engine(state.path)
            deleted.append(state.path)
    return deleted


def sha256_of_bytes(content: bytes) -> str:
    """Hex SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()
