"""exp(-x), and the logistic function and softmax by it, in the float32 steps of ``cuda/logistic.cuh``.

Libraries' own differ in the last bit from one to another and between kinds of CPU, which is enough to swap two scores.
"""

from __future__ import annotations

import numpy as np

from rtseg.compiled import compiled, compiled_in_place


@compiled_in_place
def exp_negative(x):  # type: ignore[no-untyped-def]
    """``exp(-x)`` for x >= 0 in float32, to 2e-7 relative; 0 beyond 87."""
    inside = min(x, np.float32(87.0))
    n = np.rint(inside * np.float32(1.44269504))
    r = (n * np.float32(0.693359375) - inside) - n * np.float32(2.12194440e-4)
    p = np.float32(1 / 720) * r + np.float32(1 / 120)
    p = p * r + np.float32(1 / 24)
    p = p * r + np.float32(1 / 6)
    p = p * r + np.float32(0.5)
    p = p * r + np.float32(1.0)
    p = p * r + np.float32(1.0)
    power = np.int32((np.int32(127) - np.int32(n)) << np.int32(23)).view(np.float32)  # 2^-n; a table would be a gather
    return p * power if x <= np.float32(87.0) else np.float32(0.0)


@compiled
def sigmoid(x):  # type: ignore[no-untyped-def]
    """Logistic function in float32."""
    e = exp_negative(abs(x))
    one = np.float32(1.0)
    return one / (one + e) if x >= 0 else e / (one + e)


_BLOCK = 512  # pixels whose channels stay in the first cache


@compiled(error_model="numpy")  # without a check for division by zero, which keeps the loop from vector instructions
def softmax(logits, out):  # type: ignore[no-untyped-def]
    """Write the softmax over channels of (C, n) float32; say whether all logits are finite."""
    channels, n = logits.shape
    best = np.empty(_BLOCK, dtype=np.float32)
    total = np.empty(_BLOCK, dtype=np.float32)
    finite = True
    for start in range(0, n, _BLOCK):
        count = min(_BLOCK, n - start)
        end = start + count
        for i in range(count):
            best[i] = logits[0, start + i]
            total[i] = np.float32(0.0)
        for c in range(1, channels):
            values = logits[c, start:end]
            for i in range(count):
                best[i] = max(best[i], values[i])
        for c in range(channels):
            values, shares = logits[c, start:end], out[c, start:end]
            for i in range(count):
                shares[i] = exp_negative(best[i] - values[i])
            for i in range(count):
                total[i] += shares[i]
                finite &= values[i] - values[i] == 0
        for c in range(channels):
            shares = out[c, start:end]
            for i in range(count):
                shares[i] /= total[i]
    return finite
