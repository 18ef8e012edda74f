"""Everything but lungs and bones, in Hounsfield units: chest wall, heart and vessels, neck, arms."""

from dataclasses import dataclass

import numpy as np

from covid19net.phantom.belly import paint_belly
from covid19net.phantom.body_build import Build
from covid19net.phantom.fields import Patch, Plane, cover, mirrored, paint, smooth_min, squircle, texture
from covid19net.phantom.skeleton import paint_girdle, paint_ribs, paint_spine
from covid19net.phantom.thorax import Organs, Shape, spine_block
from covid19net.phantom.trunks import AIRWAYS, VENOUS, WALL

# Outline of the trunk and neck without fat and arms: half width, front, back at depth t.
_OUTLINE = np.array([
    [-140, 58, -72, 62], [-75, 60, -64, 62], [-58, 72, -60, 64], [-44, 118, -60, 66],
    [-30, 170, -64, 70], [-12, 190, -78, 72], [10, 197, -92, 74], [30, 195, -108, 75],
    [60, 186, -132, 76], [92, 176, -150, 78], [128, 169, -163, 79], [182, 172, -166, 76],
    [250, 168, -160, 70], [330, 160, -152, 66], [420, 156, -148, 64],
], np.float64)  # fmt: skip
AIR = -1000.0


@dataclass(frozen=True, eq=False)
class Regions:
    """Distances on one plane: inside of the chest wall, what is under the diaphragm, body; organs between."""

    wall: np.ndarray
    under: np.ndarray
    body: np.ndarray
    middle: Organs


@dataclass(frozen=True, eq=False)
class _Soft:
    """Some pixels of a plane (all 1-D): place, distances to skin and chest wall, textures of 5 to 26 mm."""

    x: np.ndarray
    y: np.ndarray
    body: np.ndarray
    wall: np.ndarray
    fibre: np.ndarray
    streaks: np.ndarray
    broad: np.ndarray


def outline(build: Build, shape: Shape, plane: Plane) -> np.ndarray:
    """Distance to the skin: trunk, neck, shoulders, breasts and arms."""
    t = plane.t
    wide, front, back = (float(np.interp(t, _OUTLINE[:, 0], _OUTLINE[:, k])) for k in (1, 2, 3))
    trunk = float(np.interp(t, [-60, 0, 100, 200, 300], [0.3, 0.6, 0.8, 1.0, 1.3]))
    fat = build.fat * trunk
    front -= fat + shape.barrel * float(np.clip((t - 20) / 100, 0, 1))
    back += 0.8 * fat
    f = squircle(plane.x, plane.y - (front + back) / 2, (wide + fat, (back - front) / 2), 0.3)
    if t < -30:
        neck = squircle(plane.x, plane.y + 2, (58 + 0.4 * build.fat, 66 + 0.3 * build.fat), 0.1)
        flat = squircle(plane.x, plane.y - 8, (wide + fat, float(np.interp(t, [-75, -30], [5, 70]))), 0.2)
        f = smooth_min(neck, flat, 20.0) if wide > 75 else neck
    return _breasts(build, plane, front, _arms(build, plane, f))


def _breasts(build: Build, plane: Plane, front: float, f: np.ndarray) -> np.ndarray:
    rel = (plane.t - 155) / 75
    if build.breast <= 0 or abs(rel) >= 1:
        return f
    rho = (1 - rel * rel) ** 0.5
    wide, deep = 80 * rho + 5, (build.breast + 26) * rho + 1
    edge = _REACH + 98 + wide
    window = plane.window((-edge, edge), (front + 26 - deep - _REACH, front + 26 + deep + _REACH))
    if window is not None:
        aside = np.abs(plane.x[window])
        aside -= 98
        cup = squircle(aside, plane.y[window] - (front + 26), (wide, deep), 0.0)
        f[window] = smooth_min(f[window], cup, 30.0)
    return f


def _arms(build: Build, plane: Plane, f: np.ndarray) -> np.ndarray:
    up = build.arms == "up"
    if build.arms == "none" or (plane.t > 40 if up else plane.t < -40):
        return f
    thick = 40 + 0.5 * build.fat
    for arm in mirrored(plane, _ARM_UP if up else _ARM_DOWN, (thick + (8 if up else 14), thick), _REACH):
        f[arm.window] = smooth_min(f[arm.window], arm.distance, 14.0)
    return f


_REACH = 60.0  # mm outside breasts and arms where the skin's distance still counts them: blankets lie there
_ARM_UP = (np.array([150.0, 10, 0]), np.array([132.0, -45, -150]))
_ARM_DOWN = (np.array([172.0, 4, 4]), np.array([232.0, 5, 330]))


def paint_body(
    build: Build, shape: Shape, plane: Plane, regions: Regions, enhancement: tuple[float, float]
) -> np.ndarray:
    """Hounsfield units of a plane, the lungs still filled with fat.

    Args:
        build: the body.
        shape: the chest.
        plane: where.
        regions: distances of `lungs` and `outline` on this plane.
        enhancement: HU that contrast medium adds to arterial and to venous blood.
    """
    px = plane.pixel
    hu = _walls(build, shape, plane, regions)
    if plane.t > -5:  # muscle, ribs' necks and ligaments between the lungs' back edges
        _ligaments(shape, plane, regions.wall, hu)
        paint_belly(build, shape, plane, hu, np.maximum(regions.under, regions.wall), enhancement)
        _heart(build, shape, plane, regions.middle.heart, hu, enhancement[0])
    elif -75 < plane.t < -12:
        window = plane.window((-26, 26), (-60, -32))
        if window is not None:
            gland = squircle(np.abs(plane.x[window]) - 17, plane.y[window] + 46, (9, 13), 0.0)
            paint(hu[window], cover(gland, px), 100 + 0.5 * enhancement[1])
    for name, patch in regions.middle.trunks.items():
        _trunk(build, shape, plane, (name, patch), hu, enhancement)
    paint_spine(build, plane, hu)
    paint_girdle(build, shape, plane, hu)
    return hu


def _walls(build: Build, shape: Shape, plane: Plane, regions: Regions) -> np.ndarray:
    """Skin, fat, muscle and ribs; within the chest wall fat."""
    px = plane.pixel
    fibre = texture(shape.mottle, 5.0, plane)
    outside = regions.wall > -0.5 * px
    fat = fibre * 10
    fat -= 98
    hu = np.where(outside, np.float32(AIR), fat)
    outside &= regions.body < 0.5 * px
    spots = np.flatnonzero(outside)
    fine = texture(shape.mottle[::-1], 2.2, plane).take(spots)
    streaks = texture(shape.coarse[::-1], 14.0, plane)
    broad = texture(shape.coarse.transpose(1, 0, 2), 26.0, plane)
    every = plane.x, plane.y, regions.body, regions.wall, fibre, streaks, broad
    soft = _Soft(*(values.take(spots) for values in every))
    values = np.full(len(spots), AIR, np.float32)
    fine += soft.streaks
    fine -= 2.1
    paint(values, cover(soft.body, px), -104 + 8 * soft.fibre + 70 * np.clip(fine, 0, 1, out=fine))
    paint(values, cover(np.abs(soft.body + 1.2) - 1.2, px), 10.0)
    _muscle(build, plane, soft, values)
    paint_ribs(build, plane, (soft.x, soft.y, soft.wall), values)
    paint(values, cover(soft.wall, px), 10 * soft.fibre - 98)
    hu.reshape(-1)[spots] = values
    return hu


def _muscle(build: Build, plane: Plane, soft: _Soft, values: np.ndarray) -> None:
    """Muscle under the fat, with streaks of fat between the bundles."""
    t = plane.t
    trunk = float(np.interp(t, [-60, 0, 100, 200, 300], [0.3, 0.6, 0.8, 1.0, 1.3]))
    wide, front, back = (float(np.interp(t, _OUTLINE[:, 0], _OUTLINE[:, k])) for k in (1, 2, 3))
    if t < -30:
        flesh = soft.body + (4 + build.fat * trunk)
    else:
        flesh = squircle(soft.x, soft.y - (front + back) / 2, (wide - 3, (back - front) / 2 - 2), 0.3)
        if build.arms != "none":
            arms = np.flatnonzero(np.abs(soft.x) > wide)
            flesh[arms] = np.minimum(flesh[arms], soft.body[arms] + (6 + 0.5 * build.fat * trunk))
    np.maximum(flesh, soft.body + 3, out=flesh)
    meat = 54 + 5 * soft.fibre
    # Fat lies in sheets between the muscles and streaks within them.
    wasted = 0.12 + 0.3 * (1 - build.lean_mass)
    gaps = cover(wasted - np.abs(soft.broad + 0.12 * soft.streaks), 0.16)
    gaps += 0.25 * build.lean_mass
    np.minimum(gaps, 1, out=gaps)
    gaps *= np.clip(1.5 - (wasted * 1.5) * np.maximum(soft.streaks, 0), 0.2, 1)
    gaps *= cover(flesh, plane.pixel)
    paint(values, gaps, meat)
    spots = np.flatnonzero((soft.y > 46 - 18 - plane.pixel) & (np.abs(soft.x) < 50 + plane.pixel))
    x, y, part = soft.x[spots], soft.y[spots] - 46, values[spots]
    for side in (-1, 1):  # long muscles of the back beside the spinous processes
        paint(part, cover(squircle(x - side * 26, y, (23, 17), 0.25), plane.pixel), meat[spots])
    values[spots] = part


def _ligaments(shape: Shape, plane: Plane, wall: np.ndarray, hu: np.ndarray) -> None:
    window = plane.window((-35, 35), (5, 82))
    if window is not None:
        near = plane.cut(window)
        f = np.maximum(spine_block(near), 8 - near.y)
        f = np.maximum(f + 1, wall[window] - 1)
        streaks = texture(shape.coarse[::-1], 14.0, near)
        paint(hu[window], cover(f, plane.pixel), 45 + 60 * np.clip(streaks - 1, -1.5, 0))


def _heart(
    build: Build, shape: Shape, plane: Plane, heart: Patch | None, hu: np.ndarray, arterial: float
) -> None:
    """Pericardium, muscle, blood in the chambers, fat in the grooves."""
    if heart is None:
        return
    px, part, beat = plane.pixel, hu[heart.window], heart.distance
    paint(part, cover(np.abs(beat - 3.2) - 0.9, px), 15.0)
    paint(part, cover(beat, px), 46 + 0.35 * arterial)
    chambers = np.abs(texture(shape.coarse, 24.0, plane.cut(heart.window)))
    paint(part, cover(np.maximum(beat + 9, chambers * -16 + 3), px), build.blood + 0.9 * arterial)
    groove = cover(chambers * 14 - 0.6, 2.0) * cover(np.abs(beat + 5) - 4, 3.0)
    paint(part, 0.7 * groove, -70.0)


def _trunk(
    build: Build,
    shape: Shape,
    plane: Plane,
    trunk: tuple[str, Patch],
    hu: np.ndarray,
    enhancement: tuple[float, float],
) -> None:
    """One large vessel, airway (in the neck) or the gullet."""
    name, patch = trunk
    px, part, f, in_neck = plane.pixel, hu[patch.window], patch.distance, plane.t <= -5
    if name in AIRWAYS or name == "oesophagus":
        if in_neck or name == "oesophagus":
            paint(part, cover(f, px), 45.0 if in_neck else 38.0)
        if name == "oesophagus" and not in_neck and build.oesophagus_air > 0:
            paint(part, cover(f + (7.5 - build.oesophagus_air), px), -800.0)
        return
    extra = enhancement[1] if name in VENOUS or "vein" in name else enhancement[0]
    paint(part, cover(f, px), build.blood + extra)
    if build.calcium and "aort" in name:
        plaque = texture(shape.coarse, 11.0, plane.cut(patch.window))
        paint(part, cover(np.abs(f + 1) - 1, px) * np.clip(3 * (plaque - 1), 0, 1), 700.0)


def paint_airways(middle: Organs, plane: Plane, hu: np.ndarray) -> None:
    """Trachea and main bronchi, walls and air, over everything else."""
    airways = [patch for name, patch in middle.trunks.items() if name in AIRWAYS]
    for patch in airways:
        paint(hu[patch.window], cover(np.abs(patch.distance + (WALL - 0.8)) - 0.8, plane.pixel), 30.0)
    for patch in airways:
        paint(hu[patch.window], cover(patch.distance + WALL, plane.pixel), -995.0)
