from __future__ import annotations

import numpy as np

from rtseg.ops import is_device_array


def test_host_arrays_stay_on_the_host() -> None:
    assert not is_device_array(np.zeros(3))
    assert not is_device_array([1, 2])
    assert not is_device_array(None)


def test_the_cuda_array_interface_counts() -> None:
    class Device:
        __cuda_array_interface__ = {"shape": (3,), "typestr": "<f4", "data": (0, False), "version": 3}  # noqa: RUF012

    class HostTensor:
        @property
        def __cuda_array_interface__(self) -> dict[str, object]:
            raise TypeError("not on a device")

    assert is_device_array(Device())
    assert not is_device_array(HostTensor())
