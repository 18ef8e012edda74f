"""A patient drawn at random: every choice is made here; what is made of it elsewhere is without chance."""

from dataclasses import dataclass, field, replace

import numpy as np

from covid19net.errors import InputError
from covid19net.phantom.body_build import Build
from covid19net.phantom.lesions import Disease
from covid19net.phantom.pneumonias import DISEASES, Sites, draw_disease
from covid19net.phantom.thorax import Shape, lungs, plane_at
from covid19net.phantom.tree import BRONCHI, HILA, LEVELS, Tree, bronchi, grow
from covid19net.phantom.tumour import STATUSES, draw_tumour

CANCER = "cancer"
YOUNGEST, OLDEST = 18, 92  # years; adults


@dataclass(frozen=True, eq=False)
class Patient:
    """A person on the table.

    Attributes:
        sex: "F" or "M".
        age: years.
        shape: size and form of the chest.
        build: the body around the lungs.
        disease: what is wrong with the lungs.
        vessels: arteries and veins of both lungs.
        airways: bronchi within both lungs.
        parenchyma: HU of lung tissue without visible vessels, mid chest.
        gravity: HU by which the back of the lungs is denser than the front.
        mottle: standard deviation of lung tissue on a scale of millimetres, HU.
    """

    sex: str
    age: int
    shape: Shape
    build: Build
    disease: Disease = field(default_factory=Disease)
    vessels: tuple[Tree, ...] = ()
    airways: tuple[Tree, ...] = ()
    parenchyma: float = -860.0
    gravity: float = 60.0
    mottle: float = 14.0


def draw_patient(
    rng: np.random.Generator,
    *,
    disease: str | None,
    sex: str | None = None,
    age: int | None = None,
    egfr: str | None = None,
) -> Patient:
    """Draw a patient.

    Args:
        rng: random numbers; equal states give equal patients.
        disease: None (healthy), "covid", "bacterial", "mycoplasma", "viral", "fungal" or "cancer".
        sex: "F" or "M"; drawn where not given.
        age: years, 18 to 92; drawn where not given.
        egfr: "mutant" or "wild", with cancer and only with it.

    Raises:
        InputError: another disease, sex or status.
    """
    _check(disease, sex, age, egfr)
    drawn_sex, drawn_age = str(rng.choice(["F", "M"])), int(np.clip(rng.normal(55, 17), YOUNGEST, OLDEST))
    sex, age = sex or drawn_sex, drawn_age if age is None else age
    shape = _draw_shape(rng, sex)
    inflation = (sum(shape.dome) / 2 - 180) / 30  # deep breath: low domes, thin lung
    patient = Patient(
        sex, age, shape, _draw_build(rng, sex, age, shape),
        parenchyma=float(rng.normal(-864 - 14 * np.clip(inflation, -2, 2), 14)),
        gravity=float(rng.uniform(10, 85)), mottle=float(rng.uniform(13, 27)),
    )  # fmt: skip
    sites = _find_sites(rng, shape)
    vessels, airways = _grow_trees(rng, sites)
    twigs = vessels[0] if rng.random() < 0.5 else vessels[2]
    sick = draw_tumour(rng, egfr, sites) if egfr else draw_disease(rng, disease, sites, twigs)
    return replace(patient, vessels=vessels, airways=airways, disease=sick)


def _check(disease: str | None, sex: str | None, age: int | None, egfr: str | None) -> None:
    if disease not in (None, CANCER, *DISEASES):
        raise InputError(f"disease {disease!r} is not one of {', '.join(DISEASES)}, {CANCER} or None")
    if sex not in (None, "F", "M"):
        raise InputError(f"sex must be F or M, got {sex!r}")
    if age is not None and not YOUNGEST <= age <= OLDEST:
        raise InputError(f"a synthetic patient is {YOUNGEST} to {OLDEST} years old, not {age}")
    if (disease == CANCER) != (egfr is not None) or egfr not in (None, *STATUSES):
        raise InputError(
            f"egfr is {' or '.join(STATUSES)} with {CANCER} and not given otherwise, got {egfr!r}"
        )


def _draw_shape(rng: np.random.Generator, sex: str) -> Shape:
    size = rng.normal(0.90 if sex == "F" else 0.99, 0.05)
    dome = float(rng.normal(176, 18))
    heart = np.array([20.0, -84, 166, 60, 55, 54])
    heart += rng.normal(0, [7, 3, 5, 0, 0, 0])
    heart[3:] *= rng.normal(1.02, 0.09)
    heart[2] += 0.4 * (dome - 178)
    barrel = float(rng.normal(0, 9))
    heart[[1, 4]] += -0.55 * barrel, 0.35 * barrel
    return Shape(
        scale=tuple((size * rng.normal([1, 1, 1], [0.035, 0.05, 0.05])).tolist()),
        roll=float(rng.normal(0, 0.035)),
        lean=tuple(rng.normal(0, 0.02, 2).tolist()),
        kyphosis=float(rng.normal(38, 9)),
        scoliosis=float(rng.normal(0, 3.5)),
        apex=tuple(rng.uniform(-4, 7, 2).tolist()),
        dome=(dome, dome + float(rng.normal(11, 6))),
        flank=tuple(rng.normal([76, 72], 7).tolist()),
        barrel=barrel,
        heart=tuple(heart.tolist()),
        septum=(float(rng.normal(2, 4)), float(rng.uniform(3, 20))),
        unrest=float(rng.uniform(1.0, 3.0)),
        coarse=rng.standard_normal((16, 16, 16), np.float32),
        mottle=rng.standard_normal((64, 64, 64), np.float32),
    )


def _draw_build(rng: np.random.Generator, sex: str, age: int, shape: Shape) -> Build:
    fat = float(np.clip(rng.gamma(3, 5) + (4 if sex == "F" else 0), 3, 50))
    dome = shape.dome[1]
    loops = []
    for _ in range(rng.integers(4, 14)):
        along = rng.uniform(-120, 120)
        front = -125 + 0.0035 * along * along + rng.uniform(0, 45)
        gas = float(np.clip(rng.normal(0.45, 0.3), 0.02, 1))
        place = (along, front, dome + rng.uniform(25, 170), rng.uniform(11, 27), rng.uniform(14, 40), gas)
        loops.append(place)
    if rng.random() < 0.5:  # the left bend of the colon, high under the dome
        loops.append(
            (
                rng.uniform(75, 112),
                rng.uniform(-90, -40),
                dome + rng.uniform(18, 40),
                24.0,
                24.0,
                rng.uniform(0.3, 1),
            )
        )
    depth = rng.uniform(26, 48)
    stomach = (
        rng.uniform(50, 76), rng.uniform(-75, -45), dome + rng.uniform(45, 75), rng.uniform(26, 48), depth,
        rng.uniform(38, 68), float(np.clip(rng.normal(0.3, 0.2), 0, 0.95)),
    )  # fmt: skip
    return Build(
        fat=fat,
        breast=float(np.clip(rng.normal(20 + 0.5 * fat, 11), 5, 50)) if sex == "F" else 0.0,
        arms=str(rng.choice(["up", "down", "none"], p=[0.65, 0.2, 0.15])),
        bone=float(np.clip(rng.normal(220 - 1.8 * (age - 50), 35), 60, 330)),
        lean_mass=float(rng.uniform(0.2, 1.0)),
        gas=float(rng.uniform(0, 1)),
        oesophagus_air=float(rng.uniform(1.5, 4.5) * (rng.random() < 0.35)),
        calcium=bool(rng.random() < np.clip((age - 45) / 40, 0, 0.8)),
        blood=float(rng.normal(42, 5)),
        bowel=tuple(loops),
        stomach=stomach,
    )


def _find_sites(rng: np.random.Generator, shape: Shape) -> Sites:
    """Points inside the lungs, evenly spread, with their depth under the chest wall."""
    reach = 1.15 * max(shape.scale)
    x, y = np.arange(-165, 166, 6.0) * reach, np.arange(-215, 95, 6.0) * reach
    points, depths = [], []
    for t in np.arange(4, 320, 6.0):
        plane = plane_at(shape, (x, y), -t * shape.scale[2])
        inside, wall, under = lungs(shape, plane)
        rows, columns = np.nonzero(inside < -2.5)
        points.append(np.stack([plane.x[rows, columns], plane.y[rows, columns], np.full(len(rows), t)], 1))
        depths.append(np.minimum(-wall, under)[rows, columns])
    places = np.concatenate(points)
    return Sites(places + rng.uniform(-2.5, 2.5, places.shape), np.concatenate(depths))


def _grow_trees(rng: np.random.Generator, sites: Sites) -> tuple[tuple[Tree, ...], tuple[Tree, ...]]:
    vessels, airways = [], []
    for side, sign in enumerate((-1, 1)):
        inside = np.flatnonzero(np.sign(sites.points[:, 0]) == sign)
        for which, root in enumerate(HILA[side]):
            twigs = sites.points[rng.choice(inside, 2**LEVELS, replace=len(inside) < 2**LEVELS)]
            vessels.append(
                grow(rng, np.array(root), twigs, rng.uniform(5.0, 6.5) if which else rng.uniform(5.5, 7.0))
            )
        airways.append(bronchi(rng, vessels[-2], np.array(BRONCHI[side]), 3))
    return tuple(vessels), tuple(airways)
