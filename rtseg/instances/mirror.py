"""What a mirror does to head maps: which can be averaged with those of the mirrored frame, and how."""

from __future__ import annotations

from rtseg.errors import ModelError
from rtseg.grouping import GMIS_OFFSETS
from rtseg.grouping.cascade import FOUR_NEIGHBORS
from rtseg.runtime.card import ModelCard

_OFFSETS = {len(GMIS_OFFSETS): GMIS_OFFSETS, len(FOUR_NEIGHBORS): FOUR_NEIGHBORS}


def mirrored_channels(card: ModelCard) -> dict[str, list[int] | None]:
    """Say for each output in what order its channels are in a mirror, None where a mirror does not change them.

    Affinities of a mirrored image join pixels in mirrored directions, so their channels change places; all other maps
    must mean the same when mirrored, as semantics do.

    Raises:
        ModelError: if an output has a meaning that a mirror changes.
    """
    orders: dict[str, list[int] | None] = {}
    for output in card.outputs:
        if output.kind == "semantic":
            orders[output.name] = None
        elif output.kind == "affinity" and output.channels in _OFFSETS:
            offsets = _OFFSETS[output.channels]
            orders[output.name] = [offsets.index((dy, -dx)) for dy, dx in offsets]
        else:
            raise ModelError(
                f"the card of {card.name} does not fit: grouping.parameters.flip: expected semantics and affinities "
                f"to average, got an output {output.name} of kind {output.kind}; set it to false"
            )
    return orders
