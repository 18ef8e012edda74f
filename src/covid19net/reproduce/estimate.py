"""How long steps take and how much disk, from measured unit costs; what was not measured is said to be so."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from covid19net.reproduce.step import Cost, Step

SCAN = 150  # slices, as many as those of the measured scans have


@dataclass(frozen=True)
class Unit:
    """Seconds that one thing takes.

    Attributes:
        cpu: on two cores of a Xeon, see docs/performance.md.
        gpu: with a GPU; None where it was not measured. What runs on the CPU anyway has its figure of there.
        source: where the figures stand.
    """

    cpu: float
    gpu: float | None
    source: str


PAGE = "docs/performance.md"
UNITS: Mapping[str, Unit] = {
    "header": Unit(0.001, 0.001, f"{PAGE}, The recipe of public data"),
    "scan and mask read": Unit(1.25, 1.25, f"{PAGE}, A study"),
    "lung image": Unit(4.6, None, f"{PAGE}, Stage by stage: reading, chest or not, lungs, lung image"),
    "lung step": Unit(4.0, None, f"{PAGE}, The recipe of public data"),
    "sample at 24 x 60 x 90": Unit(1 / 23.9, None, f"{PAGE}, Synthetic patients and training"),
    "sample at 24 x 120 x 180": Unit(1 / 6.0, None, f"{PAGE}, Synthetic patients and training"),
    "sample at 48 x 240 x 360": Unit(1 / 0.36, None, f"{PAGE}, Synthetic patients and training"),
    "image scored": Unit(0.72, None, f"{PAGE}, The networks alone"),
    "scan analyzed": Unit(6.2, None, f"{PAGE}, The whole command"),
    "study": Unit(60.0, 60.0, f"{PAGE}, A study: everything but scans and bootstrap"),
    "bootstrap of the selection": Unit(180.0, 180.0, f"{PAGE}, A study"),
}
IMAGE = 8 << 20  # bytes of a lung image, 48 x 240 x 360 in half precision
SLICES = 10 << 20  # bytes of a patient's slices for the lung network
LUNG_WEIGHTS = 16 << 20
LUNG_STATE = 200 << 20  # checkpoint: weights, moments, averages, best ones
STATE = 32 << 20  # the same of COVID-19Net


def hours_of(cost: Cost, *, gpu: bool = False) -> float | None:
    """Hours of a step; None where a figure it needs was not measured."""
    seconds = 0.0
    for name, count in cost.units.items():
        each = UNITS[name].gpu if gpu else UNITS[name].cpu
        if each is None and count:
            return None
        seconds += (each or 0.0) * count
    return seconds / 3600


def total(steps: Iterable[Step]) -> tuple[float, int]:
    """Hours on the CPU and bytes on disk of several steps."""
    costs = [step.cost for step in steps]
    return sum(hours_of(cost) or 0.0 for cost in costs), sum(cost.disk for cost in costs)
