"""A model folder as a wheel ``rtseg-models-NAME``, for a package index; it holds data alone, no code."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib.metadata import version
from pathlib import Path

from rtseg.files import replacing
from rtseg.runtime.card import ModelCard
from rtseg.runtime.models import WHEEL_FOLDER, find_model

_DATE = (1980, 1, 1, 0, 0, 0)  # the same model gives the same wheel


def write_model_wheel(folder: Path, out: Path) -> Path:
    """Write the wheel of a model, at the version of the installed rtseg.

    Args:
        folder: of the model.
        out: folder for the wheel; made if missing.

    Returns:
        The wheel.

    Raises:
        ModelError: the folder holds no model, or its files do not match its card.
        MediaError: the wheel cannot be written.
    """
    card = ModelCard.load(folder / "card.yaml")
    files = [find_model(folder, file.file).path for file in card.files]
    release = version("rtseg")
    name = f"rtseg_models_{card.name.replace('-', '_')}"
    info = f"{name}-{release}.dist-info"
    contents = {f"{WHEEL_FOLDER}/{card.name}/{path.name}": path.read_bytes() for path in (folder / "card.yaml", *files)}
    contents[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: rtseg-models-{card.name}\nVersion: {release}\n"
        f"Summary: A model for rtseg. {card.summary}\nLicense: {card.licence}\n"
        "Requires-Python: >=3.10\nDescription-Content-Type: text/plain\n\n"
        f"{card.summary}. With this package installed, rtseg knows it as {card.name}.\n"
    ).encode()
    contents[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: rtseg\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = [f"{path},sha256={_digest(content)},{len(content)}" for path, content in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    wheel = out / f"{name}-{release}-py3-none-any.whl"
    with replacing(wheel) as partial, zipfile.ZipFile(partial, "w") as archive:
        for path, content in contents.items():
            entry = zipfile.ZipInfo(path, _DATE)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)
    return wheel


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
