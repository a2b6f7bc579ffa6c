"""GAS: unlabelled pixels follow their strongest labelled neighbor (DaffNet, appendix A, algorithm 4)."""

from __future__ import annotations

import numpy as np

from rtseg.compiled import compiled


@compiled
def follow_strongest(labels, weights, steps, mask, limit):  # type: ignore[no-untyped-def]  # noqa: C901
    """Algorithm 4 in place on labels (H, W); weights and steps as from `quantize_affinity`.

    Every unlabelled pixel gets the label of the labelled pixel it is most strongly joined to, until nothing changes.
    The paper visits pixels in random order; here the first pass goes in raster order, the next in reverse, and so on,
    which is deterministic. A pixel labelled in a pass counts for those visited after it. Of equal affinities the first
    channel wins, along its offset before against it. Pixels that nothing reaches stay 0.
    """
    channels, height, width = weights.shape
    waiting = np.empty(labels.size, dtype=np.int32)
    count = 0
    for y in range(height):
        for x in range(width):
            if labels[y, x] == 0 and mask[y, x]:
                waiting[count] = y * width + x
                count += 1
    backward = False
    while count > 0:
        kept = 0
        for i in range(count):
            p = waiting[count - 1 - i] if backward else waiting[i]
            y = p // width
            x = p % width
            best = limit - 1
            label = 0
            for j in range(channels):
                for sign in range(1, -2, -2):
                    qy = y + sign * steps[j, 0]
                    qx = x + sign * steps[j, 1]
                    if qy < 0 or qy >= height or qx < 0 or qx >= width or labels[qy, qx] == 0:
                        continue
                    weight = weights[j, y, x] if sign > 0 else weights[j, qy, qx]
                    if weight > best:
                        best = weight
                        label = labels[qy, qx]
            if label > 0:
                labels[y, x] = label
        for i in range(count):  # those left keep raster order
            if labels[waiting[i] // width, waiting[i] % width] == 0:
                waiting[kept] = waiting[i]
                kept += 1
        if kept == count:
            break
        count = kept
        backward = not backward
