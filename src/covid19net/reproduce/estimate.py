"""How long steps take and how much disk, from measured unit costs; what was not measured is said to be so."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from covid19net.reproduce.step import Cost, Step


@dataclass(frozen=True)
class Unit:
    """Seconds that one thing takes.

    Attributes:
        cpu: on two cores of a Xeon, see docs/performance.md.
        gpu: with an H200, or the CPU's where the GPU has no part in it; None where it was not measured, and
            the figure of the CPU is taken.
        source: where the figures stand.
    """

    cpu: float
    gpu: float | None
    source: str


PAGE = "docs/performance.md"
UNITS: Mapping[str, Unit] = {
    "header": Unit(0.002, 0.002, f"{PAGE}, The recipe of public data"),
    "mask from a structure set": Unit(15.0, 15.0, f"{PAGE}, The recipe of public data"),
    "mask from a segmentation": Unit(2.7, 2.7, f"{PAGE}, The recipe of public data"),
    "scan hashed": Unit(0.06, 0.06, f"{PAGE}, The recipe of public data"),
    "scan and mask read": Unit(1.25, 1.25, f"{PAGE}, A study"),
    "lung image": Unit(4.6, None, f"{PAGE}, Stage by stage: reading, chest or not, lungs, lung image"),
    "lung step": Unit(3.1, None, f"{PAGE}, The recipe of public data"),
    "sample at 24 x 60 x 90": Unit(1 / 23.9, None, f"{PAGE}, Synthetic patients and training"),
    "sample at 24 x 120 x 180": Unit(1 / 6.0, None, f"{PAGE}, Synthetic patients and training"),
    "sample at 48 x 240 x 360": Unit(1 / 0.36, 1 / 86.2, f"{PAGE}, Synthetic patients and training"),
    "image scored": Unit(0.72, None, f"{PAGE}, The networks alone"),
    "scan analyzed": Unit(6.2, None, f"{PAGE}, The whole command"),
    "study": Unit(33.0, 33.0, f"{PAGE}, A study: everything but scans and bootstrap"),
}
SAMPLE, WHOLE = "sample at ", "48 x 240 x 360"
IMAGE = 8 << 20  # bytes of a lung image, 48 x 240 x 360 in half precision
SLICES = 10 << 20  # bytes of a patient's slices for the lung network
LUNG_WEIGHTS = 16 << 20
LUNG_STATE = 200 << 20  # checkpoint: weights, moments, averages, best ones
STATE = 32 << 20  # the same of COVID-19Net


def unit_of(name: str) -> Unit:
    """A unit; one of a sample's size that was not measured by voxels from the whole size."""
    if name in UNITS:
        return UNITS[name]
    whole = UNITS[SAMPLE + WHOLE]
    share = _voxels(name.removeprefix(SAMPLE)) / _voxels(WHOLE)
    return Unit(whole.cpu * share, None, f"{whole.source}, by voxels")


def _voxels(size: str) -> int:
    return prod(int(n) for n in size.split(" x "))


def hours_of(cost: Cost, *, gpu: bool = False) -> float:
    """Hours of a step; what was not measured on a GPU is counted as on a CPU."""
    seconds = 0.0
    for name, count in cost.units.items():
        unit = unit_of(name)
        seconds += count * (unit.gpu if gpu and unit.gpu is not None else unit.cpu)
    return seconds / 3600


def not_measured(steps: Iterable[Step]) -> list[str]:
    """Units of steps that were not measured on a GPU."""
    names = dict.fromkeys(name for step in steps for name, count in step.cost.units.items() if count)
    return [name for name in names if unit_of(name).gpu is None]


def total(steps: Iterable[Step], *, gpu: bool = False) -> float:
    """Hours of several steps."""
    return sum(hours_of(step.cost, gpu=gpu) for step in steps)


def sources(steps: Iterable[Step]) -> list[str]:
    """Where the figures of steps stand."""
    names = dict.fromkeys(name for step in steps for name, count in step.cost.units.items() if count)
    return list(dict.fromkeys(unit_of(name).source for name in names))
