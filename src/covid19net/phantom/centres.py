"""Seven synthetic hospitals after Table 1 of Wang et al. 2020: their patients and their scanners.

From the paper: sets, regions, numbers of patients for each class, which sets have no comorbidity data, and
how many have follow-up. Not in the paper, and chosen here: how the training set divides between its two
regions, ages and share of women (near those of Guan 2020 Eur Respir J 55:2000547), and every scanner.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from covid19net.errors import InputError
from covid19net.phantom.room import draw_clutter
from covid19net.phantom.scanner import Scanner, draw_kernel

Protocol = tuple[float, float, bool]  # slice distance and thickness, mm; sharp kernel
THICK, THIN = 8.0, (1.0, 2.0)  # mm; slices of the planted confounder
LARGEST = 100_000  # patients of one class in one centre, at most


@dataclass(frozen=True)
class Centre:
    """A hospital.

    Attributes:
        name: of its region.
        set: which of the paper's sets its patients belong to.
        classes: class -> number of patients: the diseases of `DISEASES`, "mutant" and "wild".
        followed: how many of its COVID-19 patients have follow-up of more than five days.
        comorbidity: whether comorbidity is recorded.
        women: share.
        age: mean and standard deviation, years.
        protocols: how it scans, each equally often.
        noise: standard deviation in soft tissue at 2.5 mm with a soft kernel, HU.
        fov: mean width of the picture, mm.
        contrast: share of scans with contrast medium.
        padding: HU outside the field of view, or None.
        vendor: of its scanner.
    """

    name: str
    set: str
    classes: dict[str, int]
    followed: int
    comorbidity: bool
    women: float
    age: tuple[float, float]
    protocols: tuple[Protocol, ...]
    noise: float
    fov: float
    contrast: float = 0.1
    padding: int | None = None
    vendor: str = "A"


CENTRES = (
    Centre("Sichuan", "auxiliary", {"mutant": 2096, "wild": 2010}, 0, True,
           0.49, (59, 11), ((1.0, 1.0, False), (5.0, 5.0, False), (1.25, 1.25, True)), 17, 370, 0.5),
    Centre("Wuhan", "training", {"covid": 280, "bacterial": 64, "mycoplasma": 5, "fungal": 6}, 151, True,
           0.47, (50, 16), ((1.5, 1.5, True), (5.0, 5.0, False)), 20, 360),
    Centre("Henan", "training", {"covid": 280, "bacterial": 63, "mycoplasma": 6, "fungal": 5}, 150, True,
           0.45, (48, 16), ((1.0, 1.0, False), (8.0, 8.0, False)), 24, 400, padding=-2000, vendor="B"),
    Centre("Anhui", "validation 1", {"covid": 102, "bacterial": 119, "mycoplasma": 5}, 0, False,
           0.43, (47, 16), ((2.0, 2.0, True), (5.0, 5.0, False)), 22, 350, padding=-1024, vendor="B"),
    Centre("Heilongjiang", "validation 2", {"covid": 92, "bacterial": 25, "mycoplasma": 15, "viral": 29},
           0, False, 0.46, (50, 17), ((1.25, 1.25, False), (10.0, 10.0, False)), 15, 390, vendor="C"),
    Centre("Beijing", "validation 3", {"covid": 53}, 53, True,
           0.47, (48, 16), ((1.0, 1.0, True), (5.0, 5.0, False)), 18, 345),
    Centre("Huangshi", "validation 4", {"covid": 117}, 117, True,
           0.48, (52, 15), ((1.5, 1.5, False), (5.0, 5.0, True)), 26, 380, padding=-3024, vendor="C"),
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """One patient of a cohort, before anything of them is drawn.

    Attributes:
        centre: where.
        kind: the class, a key of `Centre.classes`.
        number: in the cohort, from 0; with the seed it fixes the patient.
        followed: whether there is follow-up.
    """

    centre: Centre
    kind: str
    number: int
    followed: bool = False


def plan_case(kind: str, centre: str) -> Plan:
    """One patient of a class in a centre, who has follow-up where the class is COVID-19.

    Raises:
        InputError: no such class or centre.
    """
    kinds = list(dict.fromkeys(kind for c in CENTRES for kind in c.classes))
    found = next((c for c in CENTRES if c.name.lower() == centre.lower()), None)
    if found is None:
        raise InputError(f"centre {centre!r}: there are {', '.join(c.name for c in CENTRES)}")
    if kind not in kinds:
        raise InputError(f"kind {kind!r}: there are {', '.join(kinds)}")
    return Plan(found, kind, kinds.index(kind), kind == "covid")


def plan_cohort(
    scale: float = 1.0, sets: tuple[str, ...] | None = None, scales: Mapping[str, float] | None = None
) -> list[Plan]:
    """Patients of every centre, in the order of the paper's sets.

    Args:
        scale: factor on every number of patients; a class that is there keeps at least one.
        sets: only these; None for all.
        scales: set -> factor of its own.

    Raises:
        InputError: a scale not above zero, or a set that is not there.
    """
    factors = {centre.set: (scales or {}).get(centre.set, scale) for centre in CENTRES}
    if not (scales or {}).keys() <= factors.keys():
        raise InputError(f"scale of {', '.join(scales or {})}: there are {', '.join(factors)}")
    if not all(factor > 0 for factor in factors.values()):
        raise InputError("the scale of a cohort must be above 0")
    if sets is not None and not set(sets) <= factors.keys():
        unknown = ", ".join(sorted(set(sets) - factors.keys()))
        raise InputError(f"set {unknown}: there are {', '.join(factors)}")
    plans: list[Plan] = []
    first = 0  # a patient's number depends neither on the scale nor on the sets chosen
    for centre in CENTRES:
        for kind, count in centre.classes.items():
            chosen = max(1, round(factors[centre.set] * count))
            if chosen > LARGEST:
                raise InputError(f"at most {LARGEST} patients of one class in one centre, not {chosen}")
            if sets is None or centre.set in sets:
                plans += [Plan(centre, kind, first + i, _followed(centre, kind, i)) for i in range(chosen)]
            first += LARGEST
    return plans


def _followed(centre: Centre, kind: str, place: int) -> bool:
    """Whether a patient has follow-up: evenly spread, so that it does not depend on the scale."""
    if kind != "covid":
        return False
    share = centre.followed / centre.classes[kind]
    return int((place + 1) * share + 1e-9) > int(place * share + 1e-9)


def centre_scanner(
    rng: np.random.Generator, centre: Centre, *, ill: bool, confounder: float = 0.0
) -> Scanner:
    """The scanner and settings for one patient of a centre.

    Args:
        rng: random numbers.
        centre: where.
        ill: whether the patient has COVID-19 (or the mutation).
        confounder: chance, 0 to 1, that the label chooses the slices: thick for the ill, thin for the others.
            Then a network can read the label off the scanner. Otherwise the scanner knows nothing of it.
    """
    spacing, thickness, sharp = centre.protocols[rng.integers(len(centre.protocols))]
    planted, thin = rng.random() < confounder, rng.uniform(*THIN)
    if planted:
        spacing = thickness = THICK if ill else thin
    contrast, early = rng.random() < centre.contrast, rng.uniform(0, 1)
    arterial = rng.uniform(90, 330)
    noise = centre.noise * (2.1 if sharp else 1.0) * np.exp(rng.normal(0, 0.25)) / np.sqrt(thickness / 2.5)
    kernel = draw_kernel(rng, sharp=sharp)
    drawn = Scanner(
        spacing=spacing, thickness=thickness, fov=float(rng.normal(centre.fov, 18)),
        centre=(float(rng.normal(0, 9)), float(rng.normal(-42, 10))),
        noise=float(np.clip(noise, 4, 90)), blur=kernel.blur, sharpen=kernel.sharpen, grain=kernel.grain,
        padding=centre.padding, clutter=draw_clutter(rng),
        top=float(rng.uniform(15, 60)), bottom=float(rng.uniform(280, 340)),
    )  # fmt: skip
    return replace(drawn, enhancement=(arterial, 60 + 200 * early)) if contrast else drawn
