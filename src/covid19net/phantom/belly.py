"""What lies under the diaphragm: liver, spleen, stomach with its gas, kidneys, bowel, fat between them."""

import numpy as np

from covid19net.phantom.body_build import Build
from covid19net.phantom.fields import Plane, cover, extent, paint, squircle, texture
from covid19net.phantom.thorax import Shape


def paint_belly(
    build: Build,
    shape: Shape,
    plane: Plane,
    hu: np.ndarray,
    under: np.ndarray,
    enhancement: tuple[float, float],
) -> None:
    """Paint the organs within the cavity, in place.

    Args:
        build: the body.
        shape: the chest.
        plane: where.
        hu: the picture.
        under: distance to the cavity under the diaphragm and inside the wall.
        enhancement: HU that contrast medium adds to arterial and to venous blood.
    """
    if not (under < 0).any():
        return
    window = extent(under < plane.pixel)
    if window is None:
        return
    plane, hu, under = plane.cut(window), hu[window], under[window]
    inside = cover(under, plane.pixel)
    waves = texture(shape.coarse.transpose(0, 2, 1), 33.0, plane)
    # The diaphragm's own muscle, then fat.
    paint(hu, cover(np.abs(under + 1.5) - 1.5, plane.pixel), 42.0)
    _bowel(build, shape, plane, hu, inside)
    _retroperitoneum(plane, hu, inside, enhancement)
    _spleen(shape, plane, hu, inside, enhancement, waves)
    _stomach(build, shape, plane, hu, inside, waves)
    _liver(shape, plane, hu, under, enhancement, waves)


def _liver(
    shape: Shape,
    plane: Plane,
    hu: np.ndarray,
    under: np.ndarray,
    enhancement: tuple[float, float],
    waves: np.ndarray,
) -> None:
    """Fills the right dome and crosses the midline in front; vessels darker, or brighter with contrast."""
    low = plane.t - shape.dome[0]
    reach = float(np.interp(low, [0, 30, 70, 110, 150, 190], [60, 60, 45, 5, -45, -90]))
    window = plane.window((-250, reach + 40), (-250, 150))
    if window is None:
        return
    near, part, waves = plane.cut(window), hu[window], waves[window]
    slope = np.clip(near.y + 70, 0, 60)
    slope *= np.clip((near.x + 40) / 40, 0, 1)
    slope *= 0.6 * min(max(low, 0) / 40, 1)
    slope += near.x
    slope += 9 * waves
    slope -= reach
    f = np.maximum(slope, under[window] + 2.2, out=slope)
    if low > 50:  # the lower edge
        np.maximum(f, 25 * waves + (low - 175) * 0.8, out=f)
    caval_groove = 22 - np.sqrt(np.square(near.x + 8) + np.square(near.y + 22))
    caval_groove *= 0.6
    whole = cover(np.maximum(f, caval_groove, out=f), plane.pixel * 1.5)
    paint(part, whole, 57 + 0.5 * enhancement[1])
    branches = np.abs(texture(shape.mottle.transpose(1, 0, 2), 9.0, near))
    whole *= cover(branches * 30 - 1.2, 2.0)
    whole *= 0.5
    paint(part, whole, 36 + 0.9 * enhancement[1])


def _spleen(
    shape: Shape,
    plane: Plane,
    hu: np.ndarray,
    inside: np.ndarray,
    enhancement: tuple[float, float],
    waves: np.ndarray,
) -> None:
    rel = (plane.t - shape.dome[1] - 58) / 52
    if abs(rel) >= 1:
        return
    rho = (1 - rel * rel) ** 0.5
    window = plane.window((106 - 50, 106 + 50), (2 - 62, 2 + 62))
    if window is not None:
        f = squircle(plane.x[window] - 106, plane.y[window] - 2, (32 * rho + 1, 44 * rho + 1), 0.1)
        f += 4 * waves[window]
        paint(hu[window], cover(f, plane.pixel) * inside[window], 50 + 0.6 * enhancement[1])


def _stomach(
    build: Build, shape: Shape, plane: Plane, hu: np.ndarray, inside: np.ndarray, waves: np.ndarray
) -> None:
    """A bag with food and fluid behind and gas in front (the patient lies on the back)."""
    x, y, t, wide, deep, high, level = build.stomach
    rel = (plane.t - t) / high
    if abs(rel) >= 1:
        return
    rho = (1 - rel * rel) ** 0.5
    x -= 35 * max(rel, 0)
    window = plane.window((x - wide - 22, x + wide + 22), (y - deep - 22, y + deep + 22))
    if window is None:
        return
    near, part, inside, px = plane.cut(window), hu[window], inside[window], plane.pixel
    f = squircle(near.x - x, near.y - y, (wide * rho + 2, deep * rho + 2), 0.1)
    f += 5 * waves[window]
    paint(part, cover(f, px) * inside, 45.0)
    crumbs = texture(shape.mottle[:, ::-1], 3.0, near)
    food = 28 + 18 * crumbs - 500 * np.clip(crumbs - (2.2 - build.gas), 0, 1)
    f += 4
    paint(part, cover(f, px) * inside, food)
    surface = y - deep + 2 * deep * level
    paint(part, cover(np.maximum(f, near.y - surface), px) * inside, -985.0)


def _bowel(build: Build, shape: Shape, plane: Plane, hu: np.ndarray, inside: np.ndarray) -> None:
    """Loops of gut: thin wall, gas in front, stool or fluid behind."""
    for x, y, t, radius, high, gas in build.bowel:
        rel = (plane.t - t) / high
        window = plane.window((x - radius, x + radius), (y - radius, y + radius))
        if abs(rel) >= 1 or window is None:
            continue
        rho = (1 - rel * rel) ** 0.5
        near, part, room, px = plane.cut(window), hu[window], inside[window], plane.pixel
        stool = texture(shape.mottle[:, :, ::-1], 2.6, near)
        f = squircle(near.x - x, near.y - y, (radius * rho + 1, 0.8 * radius * rho + 1), 0.2)
        f += stool * (2.5 * (1 - gas))
        paint(part, cover(f, px) * room, 40.0)
        filling = 20 + 30 * stool
        if gas < 0.7:
            filling -= 420 * np.clip(stool - 0.7, 0, 2)
        f += 2
        paint(part, cover(f, px) * room, np.clip(filling, -900, 150))
        surface = y - 0.8 * radius * (1 - 2 * gas)
        paint(part, cover(np.maximum(f, near.y - surface), px) * room, -970.0)


def _retroperitoneum(
    plane: Plane, hu: np.ndarray, inside: np.ndarray, enhancement: tuple[float, float]
) -> None:
    """Kidneys, psoas and the crura of the diaphragm, pancreas."""
    for side, top in ((-1, 262.0), (1, 250.0)):
        rel = (plane.t - top - 55) / 58
        if abs(rel) < 1:
            rho = (1 - rel * rel) ** 0.5
            kidney = side * (56 + 6 * rel), 2, 27 * rho, 25 * rho + 1
            _oval(plane, hu, kidney, 34 + 0.8 * enhancement[0])
            if abs(rel) < 0.6:
                _oval(plane, hu, (side * 46, -4, 13 * rho, 8 * rho + 0.5), -70.0)
        for crus in (-16, 16):  # both, each time: their edges are twice as dense
            _oval(plane, hu, (crus, -14, 9, 16), 48.0, inside)
        if plane.t > 320:
            _oval(plane, hu, (side * 30, -2, 14, 16), 55.0)
    window = plane.window((18 - 60, 18 + 60), (-62 - 30, -62 + 30))
    if 270 < plane.t < 320 and window is not None:
        x, y = plane.x[window], plane.y[window]
        pancreas = squircle(x - 18, y + 62 - 0.2 * x, (55, 11), 0.2)
        paint(hu[window], cover(pancreas, plane.pixel) * inside[window], 42 + 0.4 * enhancement[1])


def _oval(
    plane: Plane,
    hu: np.ndarray,
    place: tuple[float, float, float, float],
    value: float,
    inside: np.ndarray | None = None,
) -> None:
    """Paint an ellipse: centre x and y, half axes x and y, mm; within `inside` only, where it is given."""
    x, y, wide, deep = place
    window = plane.window((x - wide, x + wide), (y - deep, y + deep), 8 + plane.pixel)
    if window is not None:
        part = cover(squircle(plane.x[window] - x, plane.y[window] - y, (wide, deep), 0.0), plane.pixel)
        paint(hu[window], part if inside is None else part * inside[window], value)
