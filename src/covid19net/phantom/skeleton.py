"""Bones and cartilage: ribs, spine, breastbone, collar bones, shoulder blades, upper arms."""

import numpy as np

from covid19net.phantom.body_build import Build
from covid19net.phantom.fields import Plane, capsule, cover, mirrored, paint, squircle
from covid19net.phantom.thorax import Shape, front_of

RIB_STEP = 25.0  # mm from one rib to the next


def paint_ribs(
    build: Build, plane: Plane, places: tuple[np.ndarray, np.ndarray, np.ndarray], hu: np.ndarray
) -> None:
    """Ribs, their cartilages and the muscle between them; below the ribs the muscle of the belly.

    Args:
        build: the body.
        plane: where the pixels come from.
        places: x, y and distance to the inside of the chest wall of some pixels, mm.
        hu: their values, painted in place.
    """
    t, px = plane.t, plane.pixel
    near = np.flatnonzero(np.abs(places[2] - 5.5) < 6.5 + px)
    if t < -4 or not len(near):
        return
    x, y, wall = (place[near] for place in places)
    x = np.abs(x)
    part = hu[near]
    paint(part, cover(np.abs(wall - 5.5) - 4.5, px), 44.0)
    paint(part, cover(np.abs(wall - 1.6) - 1.0, px), -40.0)
    # Angle around the chest, 0 at the spine, 1 at the breastbone; ribs descend by about 75 mm on the way.
    around = 1 - np.arctan2(x / 150, (y + 45) / -100) / np.float32(np.pi)
    below = 50 * np.cos(np.clip(around, 0, 0.75) * 4.19) + 60 * np.clip(around - 0.75, 0, 1) + (t - 56)
    count = np.clip(np.round(below / RIB_STEP), 0, np.where(around < 0.5, np.float32(11), np.float32(9)))
    off = below - count * RIB_STEP
    section = np.sqrt(np.square(off / 6.8) + np.square((wall - 6.0) / 4.2))
    f = np.maximum((section - 1) * 3.6, 22 - x)
    bone = 1 - np.clip((around - 0.80) * 30, 0, 1)  # the rest is cartilage
    paint(part, cover(f, px), bone * (build.bone - 35) + 95)
    shell = cover(np.abs(f + 0.8) - 0.9, px) * bone
    paint(part, shell * min(max(1.3 - 0.02 * t, 0.75), 1.0), build.bone + 620)
    hu[near] = part


def paint_spine(build: Build, plane: Plane, hu: np.ndarray) -> None:
    """Vertebra or disc, canal, arch, processes, in place."""
    window = plane.window((-44, 44), (-24, 80))
    if window is None:
        return
    x, y, px, part = plane.x[window], plane.y[window], plane.pixel, hu[window]
    size = float(np.interp(plane.t, [-120, -20, 60, 250, 420], [11, 13, 15.5, 20, 22]))
    step = float(np.interp(plane.t, [-60, 0, 300], [17, 21, 27]))
    phase = (plane.t / step) % 1.0
    body = squircle(x, y + 1, (size, size * 0.82), 0.05)
    disc = phase > 0.82
    paint(part, cover(body, px), 85.0 if disc else build.bone)
    if not disc:
        edge = 2.4 if phase < 0.08 or phase > 0.74 else 1.1
        paint(part, cover(np.abs(body + edge / 2) - edge / 2, px), build.bone + 330)
    arch = 0.2 < phase < 0.75
    canal = plane.window((-13, 13), (size * 0.82 - 5, size * 0.82 + 21), 8 + px)
    if canal is None:
        return
    cx, cy, inner = plane.x[canal], plane.y[canal] - (size * 0.82 + 8), hu[canal]
    if arch:
        paint(inner, cover(squircle(cx, cy, (13, 12.5), 0.1), px), build.bone + 330)
        length = 24 + 18 * phase
        process = capsule(
            x, y, 0.0, (np.array([0, size + 14, 0.0]), np.array([0, size + 8 + length, 0.0])), (4.0, 2.6)
        )
        paint(part, cover(process, px), build.bone + 260)
    if phase < 0.55:
        top = np.array([10.0, size + 4, 0]), np.array([36.0, size + 12, 0])
        wing = capsule(np.abs(x), y, 0.0, top, (5.0, 3.4))
        paint(part, cover(wing, px), build.bone + 220)
        paint(part, cover(np.abs(wing + 0.7) - 0.7, px), build.bone + 480)
    paint(inner, cover(squircle(cx, cy, (9.0, 8.5), 0.1), px), 12.0)
    paint(inner, cover(squircle(cx, cy, (5.6, 4.6), 0.0), px), 38.0)


def _bone(
    build: Build,
    plane: Plane,
    hu: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    radii: tuple[float, float],
) -> None:
    """A pair of long bones with a hard shell, mirrored left and right."""
    reach = max(radii) + 2
    if not min(ends[0][2], ends[1][2]) - reach < plane.t < max(ends[0][2], ends[1][2]) + reach:
        return
    for bone in mirrored(plane, ends, radii, 2.0 + plane.pixel):
        part, f = hu[bone.window], bone.distance
        paint(part, cover(f, plane.pixel), build.bone - 20)
        paint(part, cover(np.abs(f + 1.3) - 1.3, plane.pixel), build.bone + 700)


def paint_girdle(build: Build, shape: Shape, plane: Plane, hu: np.ndarray) -> None:
    """Breastbone, collar bones, shoulder blades, upper arms."""
    t = plane.t
    front = front_of(shape, t) - 9
    if 14 < t < 205:
        wide = float(np.interp(t, [14, 25, 50, 60, 80, 150, 175, 205], [22, 30, 24, 16, 16, 21, 12, 5]))
        window = plane.window((-wide, wide), (front - 6, front + 6), 8 + plane.pixel)
        if window is not None:
            part, f = hu[window], squircle(plane.x[window], plane.y[window] - front, (wide, 6.0), 0.5)
            paint(part, cover(f, plane.pixel), build.bone - 10)
            paint(part, cover(np.abs(f + 0.9) - 0.9, plane.pixel), build.bone + 330)
    up = -22.0 if build.arms != "down" else 0.0
    inner, outer = np.array([24.0, -62, 12]), np.array([138.0, -18 + up / 2, -14 + up])
    middle = np.array([78.0, -66, -2 + up / 2])
    _bone(build, plane, hu, (inner, middle), (8.5, 6.0))
    _bone(build, plane, hu, (middle, outer), (6.0, 6.5))
    _blade(build, plane, hu)
    if build.arms == "none":
        return
    head = np.array([162.0, 4, 0 + up / 3])
    end = np.array([135.0, -45, -160]) if build.arms == "up" else np.array([232.0, 8, 330])
    _bone(build, plane, hu, (head, head + 0.05 * (end - head)), (23, 16))
    _bone(build, plane, hu, (head, end), (13, 11))


def _blade(build: Build, plane: Plane, hu: np.ndarray) -> None:
    """Shoulder blade: a thin plate, thicker at its outer border, and its spine above."""
    t = plane.t
    if not -18 < t < 165:
        return
    medial = np.array(
        [float(np.interp(t, [-18, 30, 165], [88, 78, 112])), float(np.interp(t, [-18, 165], [52, 60])), t]
    )
    lateral = np.array(
        [
            float(np.interp(t, [-18, 30, 165], [148, 140, 122])),
            float(np.interp(t, [-18, 30, 165], [12, 24, 56])),
            t,
        ]
    )
    for blade in mirrored(plane, (medial, lateral), (2.2, 4.4), plane.pixel):
        paint(hu[blade.window], cover(blade.distance, plane.pixel), build.bone + 400)
    if t < 35:
        ends = (medial + lateral) / 2, np.array([138.0, 58 - t / 3, t])
        for ridge in mirrored(plane, ends, (2.5, 5.5), plane.pixel):
            paint(hu[ridge.window], cover(ridge.distance, plane.pixel), build.bone + 330)
