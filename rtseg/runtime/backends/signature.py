"""A network's inputs and outputs must be those its card names."""

from __future__ import annotations

from collections.abc import Mapping

from rtseg.errors import ModelError
from rtseg.runtime.card import ModelCard

Shape = tuple[int | str | None, ...]
"""Sides of a tensor; a name, None or a number below 1 where the network leaves one open."""


def check_signature(
    card: ModelCard,
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
    types: Mapping[str, str] | None = None,
) -> None:
    """Compare tensor names, shapes and types read from a network with its card.

    Args:
        card: of the network.
        inputs: shape by name.
        outputs: likewise.
        types: by name, of a library that gives and takes no other than the network's; all have to be ``float32``.

    Raises:
        ModelError: naming the first tensor that differs.
    """
    wanted: Shape = (1, 3, card.input.height, card.input.width)
    if list(inputs) != [card.input.name]:
        raise ModelError(
            f"the card of {card.name} names one input {card.input.name} {wanted}, the network has {dict(inputs)}; "
            "export the model again so that the card fits"
        )
    _check(card, "input", card.input.name, wanted, inputs, types)
    for output in card.outputs:
        _check(card, "output", output.name, output.sides(card.input), outputs, types)


def _check(
    card: ModelCard,
    what: str,
    name: str,
    wanted: Shape,
    found: Mapping[str, Shape],
    types: Mapping[str, str] | None,
) -> None:
    shape = found.get(name)
    if shape is not None and any(not isinstance(side, int) or side < 1 for side in shape):
        sides = ", ".join(str(side) for side in shape)
        raise ModelError(
            f"the network of {card.name} leaves sides of its {what} {name} open ({sides}), expected {wanted}; "
            "export it without dynamic axes"
        )
    if shape != wanted:
        raise ModelError(
            f"the card of {card.name} names an {what} {name} {wanted}, the network has {dict(found)}; "
            "export the model again so that the card fits"
        )
    if types is not None and types[name] != "float32":
        raise ModelError(
            f"the network of {card.name} has an {what} {name} of {types[name]}, expected float32; "
            "export it with float32 inputs and outputs (half precision inside is fine)"
        )
