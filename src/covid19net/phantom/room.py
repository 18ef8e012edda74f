"""What surrounds the patient in a scan: the table, blankets, cables."""

from dataclasses import dataclass

import numpy as np

from covid19net.phantom.anatomy import Patient
from covid19net.phantom.fields import Plane, cover, paint
from covid19net.phantom.thorax import spine_offset

TABLES = ("curved", "trough", "flat", "none")


@dataclass(frozen=True)
class Clutter:
    """Things in the picture that are not the patient.

    Attributes:
        table: one of TABLES.
        gap: mattress between back and table, mm.
        depth: thickness of the table, mm.
        shell: HU of the table's shell.
        blanket: number of cloth layers over the patient.
        waves: phases of the cloth's folds.
        leads: rows (x, radius, HU, side): cables on the skin at x, mm; side -1 in front, 1 behind.
    """

    table: str = "curved"
    gap: float = 6.0
    depth: float = 30.0
    shell: float = -150.0
    blanket: int = 0
    waves: tuple[float, ...] = (0.0, 1.0, 2.0)
    leads: tuple[tuple[float, ...], ...] = ()


def draw_clutter(rng: np.random.Generator) -> Clutter:
    """Draw a table and what lies on the patient."""
    leads = tuple(
        (
            rng.uniform(-140, 140),
            rng.uniform(1.0, 4.5),
            rng.uniform(200, 3000),
            float(rng.choice([-1, -1, 1])),
        )
        for _ in range(rng.poisson(1.2))
    )
    return Clutter(
        str(rng.choice(TABLES, p=[0.45, 0.2, 0.25, 0.1])), float(rng.uniform(0, 18)),
        float(rng.uniform(12, 45)), float(rng.uniform(-500, 150)),
        int(rng.choice([0, 1, 2], p=[0.4, 0.35, 0.25])), tuple(rng.uniform(0, 6.28, 3)), leads,
    )  # fmt: skip


def back_of(patient: Patient) -> float:
    """Lowest (most posterior) y of the patient's back in the room, mm."""
    depths = [
        (spine_offset(patient.shape, t)[1] + 77 + 0.75 * patient.build.fat) for t in (60.0, 128.0, 200.0)
    ]
    return patient.shape.scale[1] * max(depths)


def paint_room(clutter: Clutter, hu: np.ndarray, plane: Plane, body: np.ndarray, back: float) -> None:
    """Paint table, blankets and cables in the air around the body, in place.

    Args:
        clutter: what.
        hu: the picture.
        plane: where.
        body: distance to the skin, mm.
        back: y of the patient's back, mm.
    """
    if clutter.table != "none":
        _table(clutter, hu, plane, body, back)
    for layer in range(clutter.blanket):
        _blanket(clutter, hu, plane, body, (9 + 8 * layer, float(layer), back))
    for lead in clutter.leads:
        _lead(hu, plane, body, lead)


def _table(clutter: Clutter, hu: np.ndarray, plane: Plane, body: np.ndarray, back: float) -> None:
    x, y = plane.room[0].astype(np.float32), plane.room[1]
    sag = _sag(clutter.table, x)
    ends = back - float(sag.max()) - 2, back + clutter.gap + clutter.depth + 2
    rows = slice(*(int(y.searchsorted(end)) for end in ends))
    if rows.start >= rows.stop:
        return
    part, air = hu[rows], cover(-body[rows], 1.0)
    top = (y[rows] - back - clutter.gap).astype(np.float32)[:, None] + sag
    wide = np.abs(x) - 215
    mattress = np.maximum(np.maximum(-top - clutter.gap, top), wide)
    paint(part, cover(mattress, 1.5) * air, -930.0)
    bottom = top - 0.6 * clutter.depth if clutter.table == "trough" else top - clutter.depth - 0.4 * sag
    inside = np.maximum(np.maximum(-top, bottom), wide)
    paint(part, cover(inside, 1.5) * air, -955.0)
    shell = np.maximum(np.minimum(np.abs(top - 1.3), np.abs(bottom)) - 1.3, wide)
    paint(part, cover(shell, 1.2) * air, clutter.shell)


def _blanket(
    clutter: Clutter, hu: np.ndarray, plane: Plane, body: np.ndarray, place: tuple[float, float, float]
) -> None:
    """A cloth over the patient: `place` is its distance from the skin, its number, the y of the back."""
    away, layer, back = place
    a, b, c = clutter.waves
    rise = 5 * float(np.sin(plane.z / 23 + c))
    spots = np.flatnonzero(np.abs(body - (away - rise)) < 13)
    row, column = np.divmod(spots, body.shape[1])
    x, y = (room.astype(np.float32) for room in plane.room)
    folds = (7 * np.sin(x / 37 + (a + layer)))[column] + 4 * np.sin((x / 11)[column] + (b / 40 * y)[row])
    skin = body.take(spots)
    cloth = np.abs(skin + folds - (away - rise)) - 0.7
    part = hu.take(spots)
    paint(part, cover(np.maximum(cloth, (y - back)[row]), 1.2) * cover(-skin, 1.0), -780.0)
    hu.reshape(-1)[spots] = part


def _sag(table: str, x: np.ndarray) -> np.ndarray:
    """How much higher than its middle the table's surface is at x, mm."""
    if table == "curved":
        return np.asarray(x * x / 700)
    if table == "trough":
        return np.asarray(np.maximum(np.abs(x) - 60, 0) * 0.25)
    return np.asarray(0 * x)


def _lead(hu: np.ndarray, plane: Plane, body: np.ndarray, lead: tuple[float, ...]) -> None:
    x, radius, value, side = lead
    column = int(np.searchsorted(plane.room[0], x + 6 * np.sin(plane.z / 40)))
    if not 0 < column < len(plane.room[0]):
        return
    rows = np.flatnonzero(body[:, column] < radius + 0.5)
    if not len(rows):
        return
    row = rows[0] if side < 0 else rows[-1]
    x0, y0 = plane.room[0][column], plane.room[1][row]
    reach = radius + plane.pixel
    spans = (plane.room[1], y0), (plane.room[0], x0)
    window = tuple(slice(*r.searchsorted((v - reach, v + reach))) for r, v in spans)
    near = plane.cut((window[0], window[1])).room
    f = np.sqrt((near[0][None] - x0) ** 2 + (near[1][:, None] - y0) ** 2) - radius
    paint(hu[window], cover(f.astype(np.float32), plane.pixel), value)
