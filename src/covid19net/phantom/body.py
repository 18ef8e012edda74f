"""Everything but lungs and bones, in Hounsfield units: chest wall, heart and vessels, neck, arms."""

from dataclasses import dataclass

import numpy as np

from covid19net.phantom.belly import paint_belly
from covid19net.phantom.body_build import Build
from covid19net.phantom.fields import Plane, capsule, cover, paint, smooth_min, squircle, texture, tube
from covid19net.phantom.skeleton import paint_girdle, paint_ribs, paint_spine
from covid19net.phantom.thorax import FAR, Shape, heart, spine_block
from covid19net.phantom.trunks import AIRWAYS, VENOUS, trunks

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
    """Distances on one plane: pleural space, inside of the chest wall, what is under the diaphragm, body."""

    pleura: np.ndarray
    wall: np.ndarray
    under: np.ndarray
    body: np.ndarray


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
    cup = squircle(
        np.abs(plane.x) - 98, plane.y - front - 26, (80 * rho + 5, (build.breast + 26) * rho + 1), 0.0
    )
    return smooth_min(f, cup, 30.0)


def _arms(build: Build, plane: Plane, f: np.ndarray) -> np.ndarray:
    if build.arms == "none":
        return f
    thick = 40 + 0.5 * build.fat
    if build.arms == "up":
        if plane.t > 40:
            return f
        arm = capsule(np.abs(plane.x), plane.y, plane.t, _ARM_UP, (thick + 8, thick))
    else:
        if plane.t < -40:
            return f
        arm = capsule(np.abs(plane.x), plane.y, plane.t, _ARM_DOWN, (thick + 14, thick))
    return smooth_min(f, arm, 14.0)


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
    hu = np.full(plane.x.shape, AIR, np.float32)
    fibre = texture(shape.mottle, 5.0, plane)
    fine = texture(shape.mottle[::-1], 2.2, plane)
    streaks = texture(shape.coarse[::-1], 14.0, plane)
    paint(hu, cover(regions.body, px), -104 + 8 * fibre + 70 * np.clip(fine + streaks - 2.1, 0, 1))
    skin = cover(np.abs(regions.body + 1.2) - 1.2, px)
    paint(hu, skin, 10.0)
    _muscle(
        build, plane, regions, hu, (fibre, streaks, texture(shape.coarse.transpose(1, 0, 2), 26.0, plane))
    )
    paint_ribs(build, plane, regions.wall, hu)
    paint(hu, cover(regions.wall, px), -98 + 10 * fibre)
    if plane.t > -5:  # muscle, ribs' necks and ligaments between the lungs' back edges
        block = np.maximum(spine_block(plane), 8 - plane.y)
        paint(hu, cover(np.maximum(block + 1, regions.wall - 1), px), 45 + 60 * np.clip(streaks - 1, -1.5, 0))
    if plane.t > -5:
        paint_belly(build, shape, plane, hu, np.maximum(regions.under, regions.wall), enhancement)
        _chest_organs(build, shape, plane, hu, enhancement)
    else:
        _neck(build, plane, hu, enhancement)
    paint_spine(build, plane, hu)
    paint_girdle(build, shape, plane, hu)
    return hu


def _muscle(
    build: Build, plane: Plane, regions: Regions, hu: np.ndarray, noise: tuple[np.ndarray, ...]
) -> None:
    """Muscle under the fat, with streaks of fat between the bundles."""
    fibre, streaks, broad = noise
    t = plane.t
    trunk = float(np.interp(t, [-60, 0, 100, 200, 300], [0.3, 0.6, 0.8, 1.0, 1.3]))
    wide, front, back = (float(np.interp(t, _OUTLINE[:, 0], _OUTLINE[:, k])) for k in (1, 2, 3))
    flesh = squircle(plane.x, plane.y - (front + back) / 2, (wide - 3, (back - front) / 2 - 2), 0.3)
    if t < -30:
        flesh = regions.body + 4 + build.fat * trunk
    elif build.arms != "none":
        flesh = np.minimum(
            flesh, np.where(np.abs(plane.x) > wide, regions.body + 6 + 0.5 * build.fat * trunk, FAR)
        )
    flesh = np.maximum(flesh, regions.body + 3)
    meat = 54 + 5 * fibre
    wasted = 0.12 + 0.3 * (
        1 - build.lean_mass
    )  # fat lies in sheets between the muscles and streaks within them
    sheets = cover(wasted - np.abs(broad + 0.12 * streaks), 0.16)
    gaps = np.clip(sheets + 0.25 * build.lean_mass, 0, 1) * np.clip(
        1.5 - wasted * np.maximum(streaks, 0) * 1.5, 0.2, 1
    )
    paint(hu, cover(flesh, plane.pixel) * gaps, meat)
    for side in (-1, 1):  # long muscles of the back beside the spinous processes
        back_muscle = squircle(plane.x - side * 26, plane.y - 46, (23, 17), 0.25)
        paint(hu, cover(back_muscle, plane.pixel), meat)


def _neck(build: Build, plane: Plane, hu: np.ndarray, enhancement: tuple[float, float]) -> None:
    window = plane.window((-100, 100), (-80, 40))
    if window is None:
        return
    px, part = plane.pixel, hu[window]
    x, y = plane.x[window], plane.y[window]
    if -75 < plane.t < -12:
        gland = squircle(np.abs(x) - 17, y + 46, (9, 13), 0.0)
        paint(part, cover(gland, px), 100 + 0.5 * enhancement[1])
    for name, f in trunks(plane, window).items():
        extra = enhancement[1] if name in VENOUS or "vein" in name else enhancement[0]
        paint(part, cover(f, px), 45.0 if name in AIRWAYS or name == "oesophagus" else build.blood + extra)


def _chest_organs(
    build: Build, shape: Shape, plane: Plane, hu: np.ndarray, enhancement: tuple[float, float]
) -> None:
    """Heart and large vessels; airway walls."""
    window = plane.window((-110, 125), (-175, 90))
    if window is None:
        return
    px, part = plane.pixel, hu[window]
    arterial, venous = enhancement
    beat = heart(shape, plane, window)
    if beat is not None:
        blood = build.blood + 0.9 * arterial
        paint(part, cover(np.abs(beat - 3.2) - 0.9, px), 15.0)
        paint(part, cover(beat, px), 46 + 0.35 * arterial)
        chambers = texture(shape.coarse, 24.0, plane)[window]
        paint(part, cover(np.maximum(beat + 9, np.abs(chambers) * -16 + 3), px), blood)
        groove = cover(np.abs(chambers) * 14 - 0.6, 2.0) * cover(np.abs(beat + 5) - 4, 3.0)
        paint(part, 0.7 * groove, -70.0)
    for name, f in trunks(plane, window).items():
        if name in AIRWAYS:
            continue
        extra = venous if name in VENOUS or "vein" in name else arterial
        paint(part, cover(f, px), 38.0 if name == "oesophagus" else build.blood + extra)
        if build.calcium and "aort" in name:
            plaque = texture(shape.coarse, 11.0, plane)[window]
            paint(part, cover(np.abs(f + 1) - 1, px) * np.clip(3 * (plaque - 1), 0, 1), 700.0)
        if name == "oesophagus" and build.oesophagus_air > 0:
            paint(part, cover(f + 7.5 - build.oesophagus_air, px), -800.0)


def paint_airways(plane: Plane, hu: np.ndarray) -> None:
    """Trachea and main bronchi, walls and air, over everything else."""
    window = plane.window((-70, 70), (-80, 10))
    if window is None:
        return
    for path in AIRWAYS.values():
        f = tube(plane.x[window], plane.y[window], plane.t, path)
        if f is not None:
            paint(hu[window], cover(np.abs(f - 0.8) - 0.8, plane.pixel), 30.0)
    for path in AIRWAYS.values():
        f = tube(plane.x[window], plane.y[window], plane.t, path)
        if f is not None:
            paint(hu[window], cover(f, plane.pixel), -995.0)
