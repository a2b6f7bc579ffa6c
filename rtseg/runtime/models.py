"""Where models are: the bundled ones by name, one's own by path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rtseg.errors import ModelError
from rtseg.runtime.card import ModelCard, verified_model_file

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Model:
    """A card and the verified network file beside it."""

    card: ModelCard
    path: Path


def bundled_models_folder() -> Path:
    """The folder of bundled models: inside an installed wheel, or ``engines/`` of a source checkout."""
    installed = _PACKAGE / "_engines"
    return installed if installed.is_dir() else _PACKAGE.parent / "engines"


def bundled_models() -> list[str]:
    """Names of the bundled models, sorted."""
    return sorted(card.parent.name for card in bundled_models_folder().glob("*/card.yaml"))


def find_model(name_or_path: str | Path, network: str | None = None) -> Model:
    """Find a model by bundled name, or by the path of its folder or card, and check its file against the card.

    Args:
        name_or_path: bundled name, folder or card. A text without a separator is a bundled name first: a folder of that
            name is ``./name``.
        network: file name of one of the card's alternatives; the card's preferred network by default.

    Raises:
        ModelError: if there is no such model or network, its card does not validate, or its file has another hash.
    """
    folder = _folder_of(name_or_path)
    card = ModelCard.load(folder / "card.yaml")
    wanted = network or card.model.file
    for file in card.files:
        if file.file == wanted:
            return Model(card, verified_model_file(folder, file))
    raise ModelError(
        f"expected a network of {card.name}: {', '.join(file.file for file in card.files)}, got {wanted!r}"
    )


def _folder_of(name_or_path: str | Path) -> Path:
    path, bundled = Path(name_or_path), bundled_models()
    if isinstance(name_or_path, str) and name_or_path in bundled:
        return bundled_models_folder() / name_or_path
    if path.name == "card.yaml":
        return path.parent
    if str(name_or_path) and _is_folder(path):
        return path
    if str(name_or_path) in bundled:
        return bundled_models_folder() / name_or_path
    raise ModelError(
        f"expected a bundled model ({', '.join(bundled) or 'none found'}) or a folder with card.yaml "
        f"and its network, got {str(name_or_path)!r}"
    )


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, or beneath a folder that this user may not look into
        return False


def float_network(model: Model) -> Path:
    """The model's fp32 network, which others are made of, checked against the card.

    Raises:
        ModelError: if the card names none, or the file has another hash.
    """
    for file in model.card.files:
        if file.precision == "fp32":
            return verified_model_file(model.path.parent, file)
    raise ModelError(f"the card of {model.card.name} names no fp32 network; export the model again")
