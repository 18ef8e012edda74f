"""The large vessels, the airways outside the lungs and the gullet, as bent tubes."""

from functools import lru_cache
from itertools import groupby, pairwise

import numpy as np

from covid19net.phantom.fields import DEEP, Patch, Plane, capsule, nearest, stretch

# Centre lines of the large vessels and airways: x, y, t, radius.
TRUNKS: dict[str, np.ndarray] = {
    "ascending aorta": np.array([
        [4, -78, 140, 15], [-14, -80, 118, 16.5], [-19, -76, 92, 16],
        [-14, -68, 72, 14.5],
    ]),
    "aortic arch": np.array([
        [-14, -68, 72, 14.5], [-2, -56, 63, 14], [12, -36, 61, 13.5],
        [20, -14, 66, 13],
    ]),
    "descending aorta": np.array([
        [20, -14, 66, 13], [23, -6, 85, 13], [23, -6, 150, 12.5], [18, -12, 200, 12], [8, -26, 250, 11],
        [6, -32, 290, 10], [4, -33, 420, 9],
    ]),
    "pulmonary trunk": np.array([[26, -100, 142, 14], [24, -92, 118, 14], [16, -66, 99, 13]]),
    "left pulmonary artery": np.array([[16, -66, 99, 13], [36, -48, 92, 11.5], [47, -34, 98, 9.5]]),
    "right pulmonary artery": np.array([
        [16, -66, 100, 12], [-14, -52, 104, 11], [-38, -50, 107, 10],
        [-50, -44, 113, 8],
    ]),
    "superior vena cava": np.array([
        [-26, -66, 34, 9], [-28, -70, 70, 9], [-26, -72, 105, 9.5],
        [-24, -70, 128, 11],
    ]),
    "left brachiocephalic vein": np.array([
        [-26, -68, 36, 8], [4, -84, 32, 7], [26, -72, 20, 7],
        [34, -50, 0, 7],
    ]),
    "right brachiocephalic vein": np.array([[-26, -66, 36, 8], [-29, -58, 14, 7.5], [-33, -48, -8, 7]]),
    "brachiocephalic artery": np.array([
        [-10, -62, 58, 7], [-17, -56, 28, 6.5], [-24, -46, 0, 5.5],
        [-26, -38, -40, 4],
    ]),
    "left carotid artery": np.array([
        [3, -54, 56, 4.5], [14, -50, 20, 4], [24, -40, -20, 4],
        [26, -32, -90, 3.5],
    ]),
    "left subclavian artery": np.array([
        [13, -36, 54, 5.5], [24, -26, 20, 5], [36, -26, 0, 4.5],
        [80, -40, -8, 4],
    ]),
    "right carotid artery": np.array([[-24, -46, 0, 4.5], [-27, -38, -30, 4], [-28, -32, -90, 3.5]]),
    "inferior vena cava": np.array([
        [-20, -60, 178, 13], [-23, -52, 200, 13], [-22, -38, 250, 12],
        [-18, -26, 420, 10],
    ]),
    "left inferior pulmonary vein": np.array([[8, -44, 138, 10], [30, -32, 136, 7.5], [46, -24, 138, 6]]),
    "right inferior pulmonary vein": np.array([[-4, -46, 142, 10], [-30, -36, 140, 7.5], [-48, -26, 144, 6]]),
    "left superior pulmonary vein": np.array([[10, -62, 126, 9], [34, -66, 118, 7.5], [48, -66, 110, 6]]),
    "right superior pulmonary vein": np.array([[-6, -60, 130, 10], [-36, -64, 122, 8], [-50, -62, 114, 6.5]]),
    "azygos vein": np.array([
        [-10, -20, 300, 3], [-8, -21, 150, 4], [-8, -22, 80, 4.5],
        [-16, -34, 74, 4.5], [-25, -58, 78, 5],
    ]),
    "oesophagus": np.array([
        [4, -26, -60, 6.5], [6, -24, 40, 6.5], [3, -26, 90, 6.5], [2, -28, 150, 7.5],
        [8, -34, 200, 8], [22, -50, 228, 9],
    ]),
}  # fmt: skip
AIRWAYS: dict[str, np.ndarray] = {  # radius of the lumen
    "trachea": np.array([
        [0, -42, -120, 7.5], [0, -44, -60, 8], [0, -40, 0, 8.2],
        [1, -38, 45, 8.5], [2, -38, 84, 9.2],
    ]),
    "right main bronchus": np.array([
        [0, -38, 83, 7.5], [-15, -37, 94, 7], [-30, -36, 102, 6],
        [-40, -34, 116, 5],
    ]),
    "left main bronchus": np.array([
        [4, -38, 83, 7.5], [18, -35, 96, 6.3], [38, -30, 112, 5.6],
        [44, -26, 120, 5],
    ]),
}  # fmt: skip
WALL = 1.5  # mm; wall of trachea and main bronchi
VENOUS = frozenset({"superior vena cava", "left brachiocephalic vein", "right brachiocephalic vein"})


@lru_cache(maxsize=1)
def _pieces() -> tuple[list[str], np.ndarray, np.ndarray]:
    """All straight pieces: names, and rows (x, y, t, radius) of their first and second ends."""
    walls = {name: path + np.array([0, 0, 0, WALL]) for name, path in AIRWAYS.items()}
    pieces = [(name, *ends) for name, path in (TRUNKS | walls).items() for ends in pairwise(path)]
    names, starts, ends = zip(*pieces, strict=True)
    return list(names), np.array(starts, float), np.array(ends, float)


def trunks(plane: Plane) -> dict[str, Patch]:
    """Distances to the large vessels and the airways' outer walls that the plane meets."""
    names, a, b = _pieces()
    radius = np.maximum(a[:, 3], b[:, 3])
    low, high = np.minimum(a[:, 2], b[:, 2]) - radius - 6, np.maximum(a[:, 2], b[:, 2]) + radius + 6
    met = np.flatnonzero((low < plane.t) & (plane.t < high))
    lows, highs = stretch(plane, a[met], b[met], radius[met] + DEEP)
    found = {}
    for name, group in groupby(range(len(met)), key=lambda k: names[met[k]]):
        ks = list(group)
        (x0, y0), (x1, y1) = lows[ks].min(axis=0).tolist(), highs[ks].max(axis=0).tolist()
        window = plane.window((x0, x1), (y0, y1))
        if window is None:
            continue
        x, y = plane.x[window], plane.y[window]
        ends = [(a[k], b[k]) for k in met[ks]]
        shapes = [capsule(x, y, plane.t, (p[:3], q[:3]), (float(p[3]), float(q[3]))) for p, q in ends]
        found[name] = Patch(window, nearest(shapes))
    return found
