"""The interfaces that backends have."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Backend(Protocol):
    """Runs one network on the CPU.

    Attributes:
        name: as in a card.
        takes_pixels: whether it is given the resized picture itself and normalizes that as it computes.
    """

    name: str
    takes_pixels: bool

    def infer(self, tensor: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Run the network.

        Args:
            tensor: (1, 3, h, w) float32, as the card's input says; where it takes pixels (1, h, w, 3) uint8, channels
                in the card's order.

        Returns:
            each output's (1, C, h', w') float32 by name; the caller's own, the next call does not overwrite it.

        Raises:
            BackendError: if the library fails.
        """
        ...

    def warm_up(self) -> None:
        """Run once on a blank input so that the first real frame is not the slow one."""
        ...

    def describe(self) -> dict[str, str]:
        """Facts for a person: library version, device, threads, precision."""
        ...

    def close(self) -> None:
        """Give back what the backend holds."""
        ...


class DeviceBackend(Protocol):
    """Runs one network on a device: the four methods of :class:`Backend` over arrays that stay there.

    Attributes:
        name: as in a card.
        input_dtype: type of the input, ``float32`` or ``float16``.
        capturable: whether a run may be captured in a CUDA graph after one that was not.
    """

    name: str
    input_dtype: Any

    @property
    def capturable(self) -> bool:
        """Whether a run may be captured in a CUDA graph after one that was not."""
        ...

    def infer(self, tensor: Any) -> dict[str, Any]:
        """Enqueue the network on CuPy's current stream.

        Args:
            tensor: (1, 3, h, w) of `input_dtype` on the device; kept, so that its address stays its own.

        Returns:
            each output's (1, C, h', w') float32 on the device by name. The first run with a tensor allocates them, and
            every further run with that tensor writes to the same: frames in flight on several streams do not disturb
            each other when each has a tensor of its own.

        Raises:
            BackendError: if memory runs out or the library fails.
        """
        ...

    def warm_up(self) -> None:
        """Run once on a blank input and wait for it."""
        ...

    def describe(self) -> dict[str, str]:
        """Facts about it: library and version, device, precision."""
        ...

    def close(self) -> None:
        """Release memory and files; nothing else is called afterwards."""
        ...
