"""Whether slices are missing between those that have come."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from covid19net.io.header import Slice

FEWEST = 3  # slices that show how far apart slices are
WIDER = 1.5  # times the usual distance; one missing slice makes it 2


def has_gap(planes: Sequence[Slice]) -> bool:
    """Whether the image planes of a series are too few or unevenly spaced.

    Only the planes of the most frequent orientation count: a series may hold a localizer. Where planes do not
    tell their place, nothing is known to be missing.

    Args:
        planes: in any order, some perhaps more than once.
    """
    if any(plane.position is None or plane.orientation is None for plane in planes):
        return False
    turns = [tuple(np.round(plane.orientation or (), 2)) for plane in planes]
    usual, _ = Counter(turns).most_common(1)[0]
    normal = np.cross(usual[:3], usual[3:])
    places = [plane.position for plane, turn in zip(planes, turns, strict=True) if turn == usual]
    along = np.unique(np.round(np.array(places, float) @ normal, 1))  # mm
    if len(along) < FEWEST:
        return True
    steps = np.diff(along)
    return bool(steps.max() > WIDER * np.median(steps))
