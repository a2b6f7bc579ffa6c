"""Tracked objects as rows of a table, and the compiled steps that take them from one frame to the next.

A row holds the box that is expected at the time of the frame, whole, (x0, y0, x1, y1) in pixels; the box of the time
when the mask was taken; the velocities of its sides in pixels a second; the seconds since it was seen, and since it was
measured; how often it was measured; its id; and the votes for each class.
"""

from __future__ import annotations

import numpy as np

from rtseg.compiled import compiled, compiled_in_place
from rtseg.instances.masks import lay_over

BOX, ANCHOR, VELOCITY, UNSEEN, SINCE, AGE, ID, VOTES = 0, 4, 8, 12, 13, 14, 15, 16
"""First columns of what a row holds."""

CLASS_DOUBT = 0.1
"""What a pair of unlike classes costs more than one of like ones, which costs 1 at most."""

_COVERED = 0.05  # an object of which others cover more than this share,
_WHOLE = 0.9  # and which shows less than this share of what is expected of it, is followed by one side only
_HIDDEN = 0.5  # and one of which they cover this much may show any small part of itself
_OVERLAP = 0.8  # of the cost is the overlap that lacks; the rest is distance, which tells parts of a split mask less
_LIKE_SIZE = 3.0  # how much larger or smaller a box may be that does not overlap
_STRETCH = 2.0  # how much wider, or narrower, a mask is made on the way to its next frame
_GAIN = 0.35
_VOTE_DECAY = 0.9


@compiled
def advance(tracks, elapsed, memory, height, width):  # type: ignore[no-untyped-def]
    """Move tracks to the time of a frame, so many seconds after the last; give (n,) bool those not yet to be forgotten.

    A track that was seen in the frame before this one has been unseen for one frame, however long that took.
    """
    keep = np.empty(len(tracks), np.bool_)
    patience = max(memory, 1.5 * elapsed)
    for i in range(len(tracks)):
        track = tracks[i]
        gone = track[UNSEEN] > 0
        track[UNSEEN] += elapsed
        track[SINCE] += elapsed
        for side in range(4):
            track[BOX + side] += track[VELOCITY + side] * elapsed
        inside = True
        for low in range(2):  # no side runs far from the other
            high = low + 2
            length = track[ANCHOR + high] - track[ANCHOR + low]
            middle = 0.5 * (track[BOX + low] + track[BOX + high])
            half = 0.5 * min(max(track[BOX + high] - track[BOX + low], length / _STRETCH), length * _STRETCH)
            track[BOX + low], track[BOX + high] = middle - half, middle + half
            middle = 0.5 * (track[BOX + low] + track[BOX + high])
            inside &= 0 <= middle <= (height if low else width)
        keep[i] = track[UNSEEN] <= patience and (inside or not gone)
    return keep


@compiled_in_place
def _voted(track):  # type: ignore[no-untyped-def]
    best = VOTES
    for k in range(VOTES + 1, track.size):
        best = k if track[k] > track[best] else best
    return best - VOTES


@compiled_in_place
def _on_labels(points):  # type: ignore[no-untyped-def]
    total = 0
    for j in range(1, points.size):
        total += points[j]
    return total


@compiled
def compare(tracks, starts, runs, grid, step, sizes, present, class_ids, min_overlap, gate, drift):  # type: ignore[no-untyped-def]
    """Lay the masks of tracks over the labels of a frame, and say what it would cost to take each label for each track.

    Args:
        tracks: (T, columns).
        starts: of their masks, as :func:`rtseg.instances.masks.mask_runs` gives them.
        runs: likewise.
        grid: (h, w) int32 labels, sampled.
        step: pixels from sample to sample.
        sizes: (N,) int32 samples of each label.
        present: (N, 4) float64 boxes of the labels.
        class_ids: (N,) int64 of the labels.
        min_overlap: as in the tracker's settings, as are the next two.
        gate: likewise.
        drift: likewise.

    Returns:
        (T, N) float64 cost, infinite where a pair is impossible; (T, N + 1) int32 points of each track on nothing and
        on each label; and (T,) float64 how many points of the grid each of those covers.
    """
    count = len(present)
    cost, scales = np.empty((len(tracks), count)), np.empty(len(tracks))
    shared = np.empty((len(tracks), count + 1), np.int32)
    for i in range(len(tracks)):
        track, points = tracks[i], shared[i]
        before, after = track[ANCHOR : ANCHOR + 4], track[BOX : BOX + 4]
        scale = lay_over(runs[starts[i] : starts[i + 1]], before, after, step, grid, points)
        on_others, background, scales[i] = _on_labels(points) * scale, points[0] * scale, scale
        hidden = on_others > 0 and on_others >= _HIDDEN * (on_others + background)
        area = (after[2] - after[0]) * (after[3] - after[1])
        x, y = 0.5 * (after[0] + after[2]), 0.5 * (after[1] + after[3])
        reach, voted = gate + drift * track[SINCE], _voted(track)
        for j in range(count):
            # Of the union, what other objects cover is left out.
            own, size = points[j + 1] * scale, float(sizes[j])
            overlap = own / max(background + max(size, own), 1.0)
            other = (present[j, 2] - present[j, 0]) * (present[j, 3] - present[j, 1])
            radius = np.sqrt(max(area, min(other, _LIKE_SIZE * area))) * reach
            dx = 0.5 * (present[j, 0] + present[j, 2]) - x
            dy = 0.5 * (present[j, 1] + present[j, 3]) - y
            apart = np.sqrt(dx * dx + dy * dy) / max(radius, 1e-9)
            like = other <= _LIKE_SIZE * area and (hidden or _LIKE_SIZE * other >= area)
            unlike = class_ids[j] != voted
            if (overlap > 0 and overlap >= min_overlap) or (apart <= 1 and like and not unlike):
                cost[i, j] = _OVERLAP * (1 - overlap) + (1 - _OVERLAP) * min(apart, 1.0) + CLASS_DOUBT * unlike
            else:
                cost[i, j] = np.inf
    return cost, shared, scales


@compiled
def pair_alone(cost):  # type: ignore[no-untyped-def]
    """Pair rows and columns of finite cost that have only each other, as most do.

    Returns:
        (T,) int64 column of each row, -1 where it has none or several; and (T,) and (N,) bool, which rows and columns
        are still to be paired.
    """
    rows, columns = np.zeros(cost.shape[0], np.int32), np.zeros(cost.shape[1], np.int32)
    pairs = np.full(cost.shape[0], -1, np.int64)
    for i in range(cost.shape[0]):
        for j in range(cost.shape[1]):
            if cost[i, j] < np.inf:
                rows[i] += 1
                columns[j] += 1
                pairs[i] = j
    open_rows, open_columns = rows > 0, columns > 0
    for i in range(cost.shape[0]):
        j = pairs[i]
        if j >= 0 and rows[i] == 1 and columns[j] == 1:
            open_rows[i] = open_columns[j] = False
        else:
            pairs[i] = -1
    return pairs, open_rows, open_columns


@compiled
def take(tracks, pairs, shared, scales, sizes, present, class_ids, weights, memory, size):  # type: ignore[no-untyped-def]
    """Let tracks follow the labels that they were paired with.

    Args:
        tracks: (T, columns), changed in place.
        pairs: (T,) int64 label of each track from 0 on, -1 where it has none.
        shared: from :func:`compare`, as is the next.
        scales: likewise.
        sizes: (N,) int32 samples of each label.
        present: (N, 4) float64 boxes of the labels.
        class_ids: (N,) int64 of the labels.
        weights: (N,) float64 of their votes.
        memory: as in the tracker's settings.
        size: (height, width) of the frame.

    Returns:
        (N,) int32 ids of the labels, 0 where they are new; (N,) int32 classes; and (T,) int64 where the mask of each
        track is from: label j, or -1 - i for what it was.
    """
    ids, classes = np.zeros(len(present), np.int32), class_ids.astype(np.int32)
    source = np.empty(len(tracks), np.int64)
    for i in range(len(tracks)):
        source[i] = -1 - i
        j = pairs[i]
        if j < 0:
            continue
        track = tracks[i]
        track[UNSEEN] = 0.0
        for k in range(VOTES, track.size):
            track[k] *= _VOTE_DECAY
        track[VOTES + class_ids[j]] += weights[j]
        ids[j], classes[j] = int(track[ID]), _voted(track)
        points, scale = shared[i], scales[i]
        by_others = (_on_labels(points) - points[j + 1]) * scale
        expected = by_others + points[j + 1] * scale + points[0] * scale
        covered = by_others > _COVERED * expected and sizes[j] < _WHOLE * expected
        if covered and track[SINCE] <= memory:
            _follow(track, present[j])
        else:
            _measure(track, present[j], size)
            source[i] = j
    return ids, classes, source


@compiled_in_place
def _measure(track, box, size):  # type: ignore[no-untyped-def]
    """Take the box of an object that is seen whole, or cut off by the image's edge only."""
    gain = (1.0 if track[AGE] == 1 else _GAIN) / track[SINCE]
    for low in range(2):
        high = low + 2
        low_change, high_change = box[low] - track[BOX + low], box[high] - track[BOX + high]
        # A side at the edge of the image tells nothing: it goes with the other one, and stays where both are.
        cut_low, cut_high = box[low] <= 0, box[high] >= size[1 - low]
        if cut_low and cut_high:
            low_change = high_change = 0.0
        elif cut_low:
            low_change = high_change
        elif cut_high:
            high_change = low_change
        track[VELOCITY + low] += gain * low_change
        track[VELOCITY + high] += gain * high_change
        # Never smaller than what is seen of it.
        track[BOX + low] = min(track[BOX + low] + low_change, box[low])
        track[BOX + high] = max(track[BOX + high] + high_change, box[high])
        track[ANCHOR + low], track[ANCHOR + high] = track[BOX + low], track[BOX + high]
    track[SINCE] = 0.0
    track[AGE] += 1


@compiled_in_place
def _follow(track, box):  # type: ignore[no-untyped-def]
    """Move the whole box of an object that others cover in part with the side that is nearer to where it should be.

    The other one is where the cover begins.
    """
    for low in range(2):
        high = low + 2
        low_change, high_change = box[low] - track[BOX + low], box[high] - track[BOX + high]
        moved = low_change if abs(low_change) < abs(high_change) else high_change
        track[BOX + low] += moved
        track[BOX + high] += moved
