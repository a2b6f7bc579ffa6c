"""Tileable noise, made once from fixed seeds: what asphalt, grass, leaves and clouds are textured with."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

TILE = 512  # side of every tile in texels


@lru_cache(maxsize=16)
def fractal(exponent: float, seed: int = 7, low: float = 1.0) -> NDArray[np.float32]:
    """(TILE, TILE) periodic noise of zero mean and unit deviation, amplitude falling as frequency**-exponent.

    Args:
        exponent: 0 white, 1 pink, 2 soft clouds.
        seed: which picture of that spectrum.
        low: frequencies below this many cycles a tile are left out.
    """
    rng = np.random.default_rng([seed, round(exponent * 100), round(low * 100)])
    fy = np.fft.fftfreq(TILE)[:, None] * TILE
    fx = np.fft.rfftfreq(TILE)[None, :] * TILE
    radius = np.hypot(fx, fy)
    amplitude = np.where(radius >= low, np.maximum(radius, 1e-9) ** -exponent, 0.0)
    phase = rng.uniform(0, 2 * np.pi, amplitude.shape)
    tile = np.fft.irfft2(amplitude * np.exp(1j * phase) * rng.rayleigh(1.0, amplitude.shape), s=(TILE, TILE))
    tile = (tile - tile.mean()) / tile.std()
    return np.ascontiguousarray(tile.astype(np.float32))


@lru_cache(maxsize=1)
def ground_tile() -> NDArray[np.float32]:
    """The tile that the ground kernel reads at several scales, clipped to +-3."""
    return np.clip(fractal(0.45, seed=3, low=6.0), -3, 3)


def profile(x: NDArray[np.floating], seed: int, wavelength: float, octaves: int = 4) -> NDArray[np.float64]:
    """Smooth 1-D noise of about unit amplitude at any real `x` (any shape), the same wherever it is seen from."""
    rng = np.random.default_rng([seed, 91])
    total = np.zeros(np.shape(x))
    for octave in range(octaves):
        step = wavelength / 2**octave
        phase, skew = rng.uniform(0, 2 * np.pi, 2)
        ratio = rng.uniform(0.55, 0.8)
        arg = np.asarray(x) * (2 * np.pi / step)
        total += (np.sin(arg + phase) + np.sin(arg * ratio + skew)) * 0.5 / 1.7**octave
    return total
