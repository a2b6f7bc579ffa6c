"""Where models are: bundled and fetched ones by name, one's own by path.

The package brings the cards of all models that it was released with, and the networks of those that most use first.
The other networks come as wheels (``rtseg-models-NAME``) or are fetched (``rtseg models get``); what they must be is
said by the hashes in the package's own cards.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from rtseg.errors import ModelError
from rtseg.runtime.card import ModelCard, verified_model_file

WHEEL_FOLDER = "rtseg_models"
"""What a wheel of a model holds its folder in."""
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


def user_models_folder() -> Path:
    """Where fetched models go: ``$RTSEG_MODELS``, or ``rtseg/models`` in the user's data folder."""
    chosen = os.environ.get("RTSEG_MODELS")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "rtseg" / "models"


def bundled_models() -> list[str]:
    """Names that :func:`find_model` finds on this machine, sorted: bundled models, installed and fetched ones."""
    return sorted(name for name, folder in known_models().items() if folder is not None)


def known_models() -> dict[str, Path | None]:
    """Every model that has a name here, sorted; None where only its card came with the package.

    Returns:
        Folder with card and network by name. A model that is in several places is taken from the package, then from an
        installed wheel, then from the user's folder.
    """
    found: dict[str, Path | None] = {}
    for place in (bundled_models_folder(), *_installed_wheels(), user_models_folder()):
        for folder in _folders_with_cards(place):
            if found.get(folder.name) is None:
                found[folder.name] = folder if any(folder.glob("*.onnx")) else None
    return dict(sorted(found.items()))


def _folders_with_cards(place: Path) -> list[Path]:
    try:
        return [card.parent for card in place.glob("[a-z0-9]*/card.yaml")]
    except PermissionError:  # a container's user whose home is another's
        return []


def released_card(name: str) -> ModelCard | None:
    """The card that the package brings for a model, with or without its networks; None for others.

    Raises:
        ModelError: the package's card does not validate.
    """
    card = bundled_models_folder() / name / "card.yaml"
    return ModelCard.load(card) if card.is_file() else None


def _installed_wheels() -> list[Path]:
    """Folders of models that wheels brought, wherever Python finds packages."""
    spec = PathFinder.find_spec(WHEEL_FOLDER)
    return [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []


def find_model(name_or_path: str | Path, network: str | None = None) -> Model:
    """Find a model by name, or by the path of its folder or card, and check its file against the card.

    Args:
        name_or_path: name of a bundled, installed or fetched model, folder or card. A text without a separator is a
            name first: a folder of that name is ``./name``.
        network: file name of one of the card's alternatives; the card's preferred network by default.

    Raises:
        ModelError: if there is no such model or network, it has not been fetched, it was fetched for another release,
            its card does not validate, or its file has another hash.
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
    path, known = Path(name_or_path), known_models()
    name = str(name_or_path)
    if isinstance(name_or_path, str) and name in known:
        return _folder_by_name(name, known[name])
    if path.name == "card.yaml":
        return path.parent
    if name and _is_folder(path):
        return path
    if name in known:
        return _folder_by_name(name, known[name])
    here = ", ".join(each for each, folder in known.items() if folder is not None)
    raise ModelError(
        f"expected a bundled model ({here or 'none found'}) or a folder with card.yaml and its network, "
        f"got {name!r}{meant_model(name)}"
    )


def meant_model(name: str) -> str:
    """What to add to an error about a name that no model has: the known one that it is nearly, if there is one."""
    meant = difflib.get_close_matches(name, known_models(), n=1)
    return f"; did you mean {meant[0]}?" if meant else ""


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, or beneath a folder that this user may not look into
        return False


def _folder_by_name(name: str, folder: Path | None) -> Path:
    if folder is None:
        raise ModelError(f"{name} is not on this machine; fetch it: rtseg models get {name}")
    if folder.parent != bundled_models_folder():
        card = released_card(name)
        if card is not None and card.files != ModelCard.load(folder / "card.yaml").files:
            raise ModelError(
                f"{name} in {folder.parent} belongs to another release of rtseg; fetch this one's: rtseg models get "
                f"{name} (or give the folder's path to use it as it is)"
            )
    return folder


def float_network(model: Model) -> Path:
    """The model's fp32 network, which others are made of, checked against the card.

    Raises:
        ModelError: if the card names none, or the file has another hash.
    """
    for file in model.card.files:
        if file.precision == "fp32":
            return verified_model_file(model.path.parent, file)
    raise ModelError(f"the card of {model.card.name} names no fp32 network; export the model again")
