"""What lies under the diaphragm: liver, spleen, stomach with its gas, kidneys, bowel, fat between them."""

import numpy as np

from covid19net.phantom.body_build import Build
from covid19net.phantom.fields import Plane, cover, paint, squircle, texture
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
    px = plane.pixel
    inside = cover(under, px)
    waves = texture(shape.coarse.transpose(0, 2, 1), 33.0, plane)
    # The diaphragm's own muscle, then fat.
    paint(hu, cover(np.abs(under + 1.5) - 1.5, px), 42.0)
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
    slope = (
        plane.x
        - reach
        + 0.6 * np.clip(plane.y + 70, 0, 60) * np.clip((plane.x + 40) / 40, 0, 1) * min(max(low, 0) / 40, 1)
        + 9 * waves
    )
    bottom = (low - 175) * 0.8 + 25 * waves
    f = np.maximum(np.maximum(slope, under + 2.2), bottom)
    notch = 22 - np.sqrt((plane.x + 8) ** 2 + (plane.y + 22) ** 2)  # the caval groove
    part = cover(np.maximum(f, notch * 0.6), plane.pixel * 1.5)
    paint(hu, part, 57 + 0.5 * enhancement[1])
    branches = texture(shape.mottle.transpose(1, 0, 2), 9.0, plane)
    paint(hu, part * cover(np.abs(branches) * 30 - 1.2, 2.0) * 0.5, 36 + 0.9 * enhancement[1])


def _spleen(
    shape: Shape,
    plane: Plane,
    hu: np.ndarray,
    inside: np.ndarray,
    enhancement: tuple[float, float],
    waves: np.ndarray,
) -> None:
    rel = (plane.t - shape.dome[1] - 58) / 52
    if abs(rel) < 1:
        rho = (1 - rel * rel) ** 0.5
        f = squircle(plane.x - 106, plane.y - 2, (32 * rho + 1, 44 * rho + 1), 0.1) + 4 * waves
        paint(hu, cover(f, plane.pixel) * inside, 50 + 0.6 * enhancement[1])


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
    f = squircle(plane.x - x, plane.y - y, (wide * rho + 2, deep * rho + 2), 0.1) + 5 * waves
    px = plane.pixel
    paint(hu, cover(f, px) * inside, 45.0)
    crumbs = texture(shape.mottle[:, ::-1], 3.0, plane)
    food = 28 + 18 * crumbs - 500 * np.clip(crumbs - 2.2 + build.gas, 0, 1)
    paint(hu, cover(f + 4, px) * inside, food)
    surface = y - deep + 2 * deep * level
    paint(hu, cover(np.maximum(f + 4, plane.y - surface), px) * inside, -985.0)


def _bowel(build: Build, shape: Shape, plane: Plane, hu: np.ndarray, inside: np.ndarray) -> None:
    """Loops of gut: thin wall, gas in front, stool or fluid behind."""
    stool = texture(shape.mottle[:, :, ::-1], 2.6, plane)
    for x, y, t, radius, high, gas in build.bowel:
        rel = (plane.t - t) / high
        window = plane.window((x - radius, x + radius), (y - radius, y + radius))
        if abs(rel) >= 1 or window is None:
            continue
        rho = (1 - rel * rel) ** 0.5
        f = squircle(
            plane.x[window] - x, plane.y[window] - y, (radius * rho + 1, 0.8 * radius * rho + 1), 0.2
        )
        f = f + 2.5 * stool[window] * (1 - gas)
        part, px = hu[window], plane.pixel
        paint(part, cover(f, px) * inside[window], 40.0)
        filling = 20 + 30 * stool[window] - 420 * np.clip(stool[window] - 0.7, 0, 2) * (gas < 0.7)
        paint(part, cover(f + 2, px) * inside[window], np.clip(filling, -900, 150))
        surface = y - 0.8 * radius * (1 - 2 * gas)
        paint(part, cover(np.maximum(f + 2, plane.y[window] - surface), px) * inside[window], -970.0)


def _retroperitoneum(
    plane: Plane, hu: np.ndarray, inside: np.ndarray, enhancement: tuple[float, float]
) -> None:
    """Kidneys, psoas and the crura of the diaphragm, pancreas, aorta and caval vein."""
    px = plane.pixel
    for side, top in ((-1, 262.0), (1, 250.0)):
        rel = (plane.t - top - 55) / 58
        if abs(rel) < 1:
            rho = (1 - rel * rel) ** 0.5
            f = squircle(plane.x - side * (56 + 6 * rel), plane.y - 2, (27 * rho, 25 * rho + 1), 0.0)
            paint(hu, cover(f, px), 34 + 0.8 * enhancement[0])
            sinus = squircle(plane.x - side * 46, plane.y + 4, (13 * rho, 8 * rho + 0.5), 0.0)
            paint(hu, cover(sinus, px) * (abs(rel) < 0.6), -70.0)
        crus = squircle(np.abs(plane.x) - 16, plane.y + 14, (9, 16), 0.0)
        paint(hu, cover(crus, px) * inside, 48.0)
        if plane.t > 320:
            psoas = squircle(plane.x - side * 30, plane.y + 2, (14, 16), 0.0)
            paint(hu, cover(psoas, px), 55.0)
    if 270 < plane.t < 320:
        pancreas = squircle(plane.x - 18, plane.y + 62 - 0.2 * plane.x, (55, 11), 0.2)
        paint(hu, cover(pancreas, px) * inside, 42 + 0.4 * enhancement[1])
