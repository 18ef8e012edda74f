"""The shape of the lungs: inside of the chest wall, less diaphragm, mediastinum, heart and spine.

Anatomical coordinates (mm): x to the patient's left, y to the back from the vertebral bodies' centre, t down
from the top of the lungs. Standard sizes are those of an adult man in deep inspiration, set by hand and
compared with the outlines of two open scans (COVID-CT-MD).
"""

from dataclasses import dataclass, field

import numpy as np

from covid19net.phantom.fields import DEEP, FAR, Patch, Plane, smooth_min, squircle, texture
from covid19net.phantom.trunks import trunks

# Inside of the chest wall at depth t: outer and inner edge of each lung's half (|x|), front and back (y).
_CAGE = np.array([
    # t, outer, inner, front, back
    [-1, 40, 38, 6, 9], [0, 52, 44, -2, 12], [3, 62, 36, -16, 22],
    [8, 73, 30, -30, 31], [20, 89, 22, -48, 40], [38, 107, 12, -80, 44],
    [56, 119, -2, -104, 46], [74, 129, -36, -118, 47], [92, 135, -88, -131, 48],
    [110, 140, -140, -139, 49], [128, 144, -144, -146, 51], [146, 148, -148, -149, 52],
    [164, 152, -152, -151, 53], [182, 156, -156, -151, 52], [200, 158, -158, -150, 50],
    [220, 158, -158, -148, 48], [250, 156, -156, -144, 46], [290, 152, -152, -140, 44],
    [340, 147, -147, -137, 43], [420, 144, -144, -134, 43],
], np.float64)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """Size and form of one chest; every length in mm is anatomical, before scaling.

    Attributes:
        scale: patient over standard size along (x, y, z).
        roll: turn about the long axis, radians.
        lean: shift of x and y for each mm of height.
        kyphosis: depth of the thoracic curve, mm.
        scoliosis: sideways amplitude of the spine, mm.
        apex: extra depth of the right and left lung's top.
        dome: depth of the right and left diaphragm's top.
        flank: half height of the right and left dome.
        barrel: extra depth of the chest in front.
        heart: centre (x, y, t) and half axes (x, y, t) of the heart.
        septum: place of the anterior junction line, and half width of the fat behind the sternum.
        unrest: amplitude of the small irregular warp.
    """

    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    roll: float = 0.0
    lean: tuple[float, float] = (0.0, 0.0)
    kyphosis: float = 38.0
    scoliosis: float = 0.0
    apex: tuple[float, float] = (0.0, 0.0)
    dome: tuple[float, float] = (180.0, 192.0)
    flank: tuple[float, float] = (78.0, 74.0)
    barrel: float = 0.0
    heart: tuple[float, ...] = (22.0, -84.0, 166.0, 62.0, 56.0, 56.0)
    septum: tuple[float, float] = (2.0, 12.0)
    unrest: float = 3.0
    coarse: np.ndarray = field(default_factory=lambda: np.zeros((16, 16, 16), np.float32), repr=False)
    mottle: np.ndarray = field(default_factory=lambda: np.zeros((64, 64, 64), np.float32), repr=False)


def front_of(shape: Shape, t: float) -> float:
    """Front (y) of the chest wall's inside at depth t, at the midline of one lung."""
    front = float(np.interp(t, _CAGE[:, 0], _CAGE[:, 3]))
    return front - shape.barrel * min(max((t - 20) / 100, 0.0), 1.0)


def spine_offset(shape: Shape, t: float) -> tuple[float, float]:
    """Place (x, y) of the spine's centre at depth t, before scaling and roll."""
    y = np.interp(t, [-120, -60, 0, 60, 128, 236, 340, 420], [-0.75, -1.1, -1.0, -0.45, 0, 0.1, -0.25, -0.5])
    return shape.scoliosis * float(np.sin(t / 75.0)), shape.kyphosis * float(y)


def plane_at(shape: Shape, room: tuple[np.ndarray, np.ndarray], z: float) -> Plane:
    """Anatomical coordinates of an axial plane.

    Args:
        shape: the patient.
        room: columns' x and rows' y in the room, mm, rising.
        z: height in the room, mm; the top of the lungs is near 0.
    """
    t = -z / shape.scale[2]
    sx, sy = spine_offset(shape, t)
    cos, sin = float(np.cos(shape.roll)), float(np.sin(shape.roll))
    room = np.asarray(room[0], np.float64), np.asarray(room[1], np.float64)
    across, down = room[0] - shape.lean[0] * z, room[1] - shape.lean[1] * z
    x = _outer_sum(cos / shape.scale[0] * across - sx, sin / shape.scale[0] * down)
    y = _outer_sum(-sin / shape.scale[1] * across - sy, cos / shape.scale[1] * down)
    a = np.array(
        [[shape.scale[0] * cos, shape.scale[0] * sin], [-shape.scale[1] * sin, shape.scale[1] * cos]]
    )
    shift = np.array([sx, sy]) @ a + np.array(shape.lean) * z
    pixel = float(np.diff(room[0][:2]).item()) / shape.scale[0]
    plane = Plane(x, y, t, room, z, pixel, np.vstack([a, shift]))
    if shape.unrest:
        x += shape.unrest * texture(shape.coarse, 45.0, plane)
        y += shape.unrest * texture(shape.coarse[::-1, ::-1].transpose(2, 0, 1), 51.0, plane)
    return plane


def _outer_sum(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return across.astype(np.float32)[None, :] + down.astype(np.float32)[:, None]


def cage(shape: Shape, plane: Plane) -> np.ndarray:
    """Distance to the inside of the chest wall, both halves; below the lungs it bounds the belly."""
    halves = [_cage_numbers(shape, plane.t, side) for side in (0, 1)]
    if plane.t < -6 or all(h is None for h in halves):
        return np.full(plane.x.shape, FAR, np.float32)
    right, left = (h if h is not None else (50.0, 0.0, 1e-2, 1e-2) for h in halves)
    is_left = (plane.x >= 0).astype(np.float32)
    centre, middle, wide, deep = (
        np.float32(a) if a == b else is_left * np.float32(b - a) + np.float32(a)
        for a, b in zip(right, left, strict=True)
    )
    y = plane.y - middle
    aside = np.abs(plane.x)
    # The back of each lung is round: the wall comes forward beside the spine and toward the flank.
    gutter = 11 * min(max(plane.t / 80, 0.0), 1.0)
    bow = np.square((aside - 74) / 74)
    bow -= 0.3
    part = y / deep
    bow *= np.clip(part, 0, 1, out=part)
    bow *= gutter
    y += bow
    np.divide(y, deep, out=part)
    np.clip(part, -1, 1, out=part)
    part *= 0.05
    part += 1
    part *= wide
    aside -= centre
    return squircle(aside, y, (part, np.asarray(deep)), 0.35)


def _cage_numbers(shape: Shape, t: float, side: int) -> tuple[float, float, float, float] | None:
    """Centre |x|, centre y and half axes of one side's outline at depth t; None above it."""
    t = t - shape.apex[side] * max(1 - t / 120, 0)
    if t <= -1:
        return None
    outer, inner, back = (float(np.interp(t, _CAGE[:, 0], _CAGE[:, k])) for k in (1, 2, 4))
    front = front_of(shape, t)
    return (outer + inner) / 2, (front + back) / 2, (outer - inner) / 2, (back - front) / 2


def diaphragm(shape: Shape, plane: Plane) -> np.ndarray:
    """Distance to the domes and what lies under them."""
    best = np.full(plane.x.shape, FAR, np.float32)
    if plane.t <= min(shape.dome):
        return best
    waves = texture(shape.coarse.transpose(1, 2, 0), 38.0, plane)
    for side, (x, wide) in enumerate(((-54.0, 92.0), (60.0, 86.0))):
        depth = (plane.t - shape.dome[side]) / shape.flank[side]
        if depth <= 0:
            continue
        rho = ellipsoid_radius(depth)
        y = -54 - 12 * min(depth, 1.0)
        f = squircle(plane.x - x, plane.y - y, (max(wide * rho, 1.0), max(86 * rho, 1.0)), 0.15)
        f -= 3.5 * min(rho * 2, 1.0) * waves
        np.minimum(best, f, out=best)
    return best


def ellipsoid_radius(depth: float) -> float:
    """Relative radius of a dome at a relative depth: an ellipsoid that spreads on below its equator."""
    return float(np.sqrt(1 - (1 - depth) ** 2)) if depth < 1 else 1 + 0.75 * (depth - 1)


def spine_block(plane: Plane) -> np.ndarray:
    """Distance to the spine and the tissue beside it, as the lungs see it."""
    body = squircle(plane.x, plane.y, (20.0, 17.5), 0.1)
    behind = squircle(plane.x, plane.y - 46, (33.0, 32.0), 0.0)
    return smooth_min(body, behind, 10.0)


@dataclass(frozen=True, eq=False)
class Organs:
    """What of the organs between the lungs a plane meets: large vessels and airways by name, the heart."""

    trunks: dict[str, Patch]
    heart: Patch | None


def organs(shape: Shape, plane: Plane) -> Organs:
    """The organs between the lungs on a plane."""
    return Organs(trunks(plane), _heart(shape, plane))


def _heart(shape: Shape, plane: Plane) -> Patch | None:
    """The heart, its long axis toward the left and front; None clear of it."""
    x, y, t, wide, deep, high = shape.heart
    rel = (plane.t - t) / high
    if abs(rel) >= 1:
        return None
    rho = (1 - abs(rel) ** 2.6) ** 0.5
    x, y = x + 12 * rel, y - 6 * rel
    reach = max(wide, deep) * rho + DEEP
    window = plane.window((x - reach, x + reach), (y - reach, y + reach))
    if window is None:
        return None
    near = plane.cut(window)
    dx, dy = near.x - x, near.y - y
    u, v = 0.87 * dx - 0.5 * dy, 0.5 * dx + 0.87 * dy
    f = squircle(u, v, (max(wide * rho, 1), max(deep * rho * 0.95, 1)), 0.1)
    f -= 4 * texture(shape.coarse.transpose(2, 1, 0), 30.0, near)
    return Patch(window, f)


def mediastinum(shape: Shape, plane: Plane, middle: Organs) -> np.ndarray:
    """Distance to everything between the lungs: heart, vessels, airways, the fat between them, the septum.

    Farther than DEEP from a part, that part does not count.
    """
    out = np.full(plane.x.shape, FAR, np.float32)
    if plane.t < -10:
        return out
    window = plane.window((-33 - DEEP, 33 + DEEP), (-18 - DEEP, 78 + DEEP))
    if window is not None:
        out[window] = spine_block(plane.cut(window))
    for patch in middle.trunks.values():
        out[patch.window] = smooth_min(out[patch.window], patch.distance - 1.0, 9.0)
    if middle.heart is not None:
        part = out[middle.heart.window]
        part[...] = smooth_min(part, middle.heart.distance - 2.5, 9.0)
    if plane.t < 150:
        _join_fat(plane, out)
    _join_septum(shape, plane, out)
    return out


def _join_fat(plane: Plane, out: np.ndarray) -> None:
    """Fat and lymph nodes fill the space between the great vessels and the trachea."""
    y, wide, deep = (
        float(np.interp(plane.t, [0, 20, 60, 95, 125, 150], row))
        for row in ([-40, -44, -50, -55, -55, -60], [17, 21, 25, 28, 26, 16], [24, 30, 34, 34, 32, 20])
    )
    window = plane.window((-1 - wide - DEEP, wide + DEEP), (y - deep - DEEP, y + deep + DEEP))
    if window is not None:
        f = squircle(plane.x[window] + 1, plane.y[window] - y, (wide, deep), 0.1)
        out[window] = smooth_min(out[window], f, 9.0)


def _join_septum(shape: Shape, plane: Plane, out: np.ndarray) -> None:
    """Fat from the vessels to the breastbone: a wedge that narrows to the junction line of the two lungs."""
    thickness = shape.septum[1] * float(
        np.interp(plane.t, [0, 25, 60, 110, 170, 240], [2.4, 2.2, 0.9, 0.25, 1.4, 3.0])
    )
    line = shape.septum[0] + 0.04 * plane.t
    reach = 2 + thickness + DEEP
    window = plane.window((line - reach, line + reach), (-175, max(DEEP - 40, 0)))
    if window is not None:
        y = plane.y[window]
        wedge = np.abs(plane.x[window] - line)
        wedge -= 2.0 + thickness * np.clip((y + 160) / 90, 0.1, 1)
        out[window] = smooth_min(out[window], np.maximum(wedge, y + 40), 8.0)


def lungs(
    shape: Shape, plane: Plane, middle: Organs | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances to the pleural space, the chest wall's inside and the diaphragm's contents.

    Args:
        shape: the chest.
        plane: where.
        middle: the organs between the lungs, where they are known already.
    """
    wall = cage(shape, plane)
    under = diaphragm(shape, plane)
    inside = np.maximum(wall, -under)
    if not (inside < 2).any():  # no lung that the mediastinum could displace
        return inside, wall, under
    between = mediastinum(shape, plane, middle or organs(shape, plane))
    return np.maximum(inside, np.negative(between, out=between), out=inside), wall, under
