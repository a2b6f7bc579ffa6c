"""A network's inputs and outputs must be those its card names."""

from __future__ import annotations

from collections.abc import Mapping

from rtseg.errors import ModelError
from rtseg.runtime.card import ModelCard


def check_signature(card: ModelCard, inputs: Mapping[str, tuple], outputs: Mapping[str, tuple]) -> None:
    """Compare tensor names and shapes read from a network with its card.

    Raises:
        ModelError: naming the first tensor that differs.
    """
    wanted = (1, 3, card.input.height, card.input.width)
    if list(inputs) != [card.input.name] or inputs[card.input.name] != wanted:
        raise ModelError(
            f"the card of {card.name} names one input {card.input.name} {wanted}, the network has {dict(inputs)}; "
            "export the model again so that the card fits"
        )
    for output in card.outputs:
        shape = (1, output.channels, card.input.height // output.stride, card.input.width // output.stride)
        if outputs.get(output.name) != shape:
            raise ModelError(
                f"the card of {card.name} names an output {output.name} {shape}, the network has {dict(outputs)}; "
                "export the model again so that the card fits"
            )
