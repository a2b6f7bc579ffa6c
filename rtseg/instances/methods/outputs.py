"""Outputs of a network, found in its card by what they mean."""

from __future__ import annotations

from collections.abc import Mapping

from rtseg.errors import ModelError
from rtseg.runtime.card import ModelCard, ModelOutput


def strides_of(card: ModelCard, kind: str) -> list[int]:
    """Strides at which a card has outputs of a kind, in its order."""
    return [output.stride for output in card.outputs if output.kind == kind]


def wanted_outputs(card: ModelCard, wanted: Mapping[str, int | None], stride: int | None = None) -> list[ModelOutput]:
    """Find the outputs that a method reads at one stride.

    Args:
        card: of the network.
        wanted: kind to channels, None where any number will do.
        stride: of the outputs; by default the finest of the first kind.

    Raises:
        ModelError: if one is missing, has other channels or another stride, is there twice, or its stride does not
            divide the input.
    """
    strides = strides_of(card, next(iter(wanted)))
    if stride is None and strides:
        stride = min(strides)
    found: list[ModelOutput] = []
    for kind, channels in wanted.items():
        fitting = [o for o in card.outputs if o.kind == kind and o.stride == stride]
        if len(fitting) != 1 or fitting[0].channels != (channels or fitting[0].channels):
            count = "" if channels is None else f" of {channels} channels"
            at = "" if stride is None else f" with stride {stride}"
            raise ModelError(
                f"the card of {card.name} asks for {card.grouping.method}, expected one output of kind {kind}{count}"
                f"{at}, got {listed_outputs(card)}"
            )
        found += fitting
    if stride is None or card.input.width % stride or card.input.height % stride:
        raise ModelError(
            f"the card of {card.name} gives {found[0].name} stride {stride}, expected one that divides the input's "
            f"{card.input.width}x{card.input.height}"
        )
    return found


def embedding_output(card: ModelCard, stride: int) -> ModelOutput | None:
    """Find the embedding that tells instances apart at a stride: the finest that is not finer; None without one.

    Raises:
        ModelError: if it is there twice, or its stride is no multiple or does not divide the input.
    """
    fitting = [o for o in card.outputs if o.kind == "embedding" and o.stride >= stride]
    nearest = [o for o in fitting if o.stride == min(other.stride for other in fitting)]
    if not nearest:
        return None
    sides = card.input.width, card.input.height
    if len(nearest) > 1 or nearest[0].stride % stride or any(side % nearest[0].stride for side in sides):
        raise ModelError(
            f"the card of {card.name} asks for {card.grouping.method}, expected one embedding at stride {stride}, or "
            f"at the next multiple of it that divides the input's {sides[0]}x{sides[1]}, got {listed_outputs(card)}"
        )
    return nearest[0]


def listed_outputs(card: ModelCard) -> str:
    """Say what outputs a card has."""
    return ", ".join(
        f"{o.name} ({o.kind}, {o.channels} channels, stride {o.stride})"
        if o.shape is None
        else f"{o.name} ({o.kind}, shape {o.shape})"
        for o in card.outputs
    )


def pixels_of(area: int, stride: int) -> int:
    """Map pixels that an area of input pixels makes, at least one."""
    return max(1, -(-area // stride**2))
