"""Pneumonias as radiologists describe them, drawn at random and laid into the lungs.

Sources of the patterns:
    COVID-19: bilateral, multifocal, peripheral, posterior-basal rounded or patchy ground glass, later crazy
        paving and consolidation (Bernheim 2020 Radiology 295:200463; Chung 2020 Radiology 295:202; Ng 2020
        Radiol Cardiothorac Imaging 2:e200034).
    Bacterial: segmental or lobar consolidation with air bronchograms, mostly one-sided, sometimes effusion
        (Franquet 2001 Eur Respir J 18:196; Reittner 2003 Eur Radiol 13:515).
    Mycoplasma: thick bronchial walls, centrilobular nodules, tree-in-bud, patchy haze (Reittner 2003).
    Other viruses: diffuse or perihilar, more symmetric ground glass (Koo 2018 Radiographics 38:719).
    Fungal: nodules with a halo of ground glass, some with a crescent of air (Kuhlman 1985 Radiology 157:611;
        Greene 2007 Clin Infect Dis 44:373).

The classes overlap: some patients show the picture of another disease (`PASSES_FOR`). The table is the whole
of what is known of a patient's class from the planted lesions, so it also gives the best area under the ROC
curve that any reader can reach, about 0.9 (`log_likelihood_ratio`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from covid19net.phantom.lesions import CONSOLIDATION, GROUND_GLASS, NODULE, Disease, Lesion, Point, lobe_of
from covid19net.phantom.tree import Tree

DISEASES = ("covid", "bacterial", "mycoplasma", "viral", "fungal")
OTHERS = DISEASES[1:]
# How often a disease (row) shows the picture of another (columns in the order of DISEASES). Set by hand so
# that the best possible AUC against the paper's mix of pneumonias is about 0.9; other viruses are the hardest
# to tell from COVID-19, as for radiologists (Bai 2020 Radiology 296:E46).
PASSES_FOR = {
    "covid": (0.81, 0.06, 0.04, 0.07, 0.02),
    "bacterial": (0.11, 0.81, 0.03, 0.04, 0.01),
    "mycoplasma": (0.11, 0.06, 0.77, 0.05, 0.01),
    "viral": (0.15, 0.03, 0.03, 0.78, 0.01),
    "fungal": (0.09, 0.05, 0.02, 0.03, 0.81),
}


@dataclass(frozen=True, eq=False)
class Sites:
    """Places in the lungs for lesions: points (n, 3) x, y, t; their depth (n,) under the chest wall, mm."""

    points: np.ndarray
    depth: np.ndarray

    def pick(self, rng: np.random.Generator, weight: np.ndarray) -> Point:
        """One point, with a probability that follows the weight."""
        x, y, t = self.points[rng.choice(len(self.points), p=weight / weight.sum())].tolist()
        return x, y, t


def draw_disease(rng: np.random.Generator, name: str | None, sites: Sites, twigs: Tree) -> Disease:
    """Draw a disease; some patients show the pattern of another one.

    Args:
        rng: random numbers.
        name: one of DISEASES, or None.
        sites: where lesions can lie.
        twigs: the arteries, whose ends lie in the middle of the lobules.
    """
    if name is None:
        return Disease()
    pattern = str(rng.choice(DISEASES, p=PASSES_FOR[name]))
    return replace(_PATTERNS[pattern](rng, sites, twigs), name=name, pattern=pattern)


def log_likelihood_ratio(pattern: str, others: Mapping[str, float]) -> float:
    """How much likelier a pattern is with COVID-19 than with other pneumonias, as a natural logarithm.

    Everything else about a patient's lesions is drawn alike whatever the class, so no function of the picture
    separates the classes better than this number (Neyman and Pearson 1933).

    Args:
        pattern: one of DISEASES.
        others: pneumonia -> its share among the patients without COVID-19.
    """
    at = DISEASES.index(pattern)
    total = sum(others.values())
    without = sum(share / total * PASSES_FOR[name][at] for name, share in others.items())
    return float(np.log(PASSES_FOR["covid"][at] / without))


def _covid(rng: np.random.Generator, sites: Sites, _: Tree) -> Disease:
    severity = float(rng.beta(1.4, 2.2))
    x, y, t = sites.points.T
    weight = np.exp(-sites.depth / 9) * np.exp(y / 45) * np.exp((t - 150) / 80)
    if rng.random() < 0.15:
        weight = weight * (np.sign(x) == rng.choice([-1, 1]))  # one-sided, mostly early
    lesions = []
    for _k in range(int(2 + rng.poisson(3 + 14 * severity))):
        size = rng.uniform(7, 16) + rng.uniform(0, 20) * severity
        dense = rng.random() < 0.12 + 0.3 * severity
        half = (size, size * rng.uniform(0.6, 1.1), size * rng.uniform(0.7, 1.4))
        lesions.append(Lesion(
            CONSOLIDATION if dense else GROUND_GLASS, sites.pick(rng, weight), half,
            rng.uniform(-180, 30) if dense else rng.uniform(-720, -400),
            rng.uniform(2.5, 7), rng.uniform(5, 11),
            rng.uniform(3, 8), rng.random() * (rng.random() < 0.5), rng.uniform(12, 35),
        ))  # fmt: skip
        if dense:
            around = (1.4 * half[0] + 3, 1.4 * half[1] + 3, 1.4 * half[2] + 3)
            lesions.insert(
                0, replace(lesions[-1], kind=GROUND_GLASS, half=around, hu=rng.uniform(-650, -450))
            )
    return Disease(lesions=tuple(lesions), severity=severity)


def _bacterial(rng: np.random.Generator, sites: Sites, _: Tree) -> Disease:
    severity = float(rng.beta(1.8, 2.0))
    side = int(rng.choice([-1, 1]))
    both = rng.random() < 0.2
    lesions = []
    for _k in range(int(1 + rng.poisson(0.3 + severity))):
        weight = np.exp((sites.points[:, 2] - 150) / 120) * ((np.sign(sites.points[:, 0]) == side) | both)
        centre = sites.pick(rng, weight)
        lobe = lobe_of(centre)
        half = tuple((18 + 46 * severity * rng.uniform(0.6, 1.2, 3)).tolist())
        shape = Lesion(
            CONSOLIDATION, centre, half, rng.uniform(-30, 50), rng.uniform(5, 12), rng.uniform(9, 18),
            rng.uniform(3, 10), lobe=lobe,
        )  # fmt: skip
        wider = rng.uniform(1.1, 1.4)
        fringe = tuple(wider * h for h in half)
        lesions += [
            replace(shape, kind=GROUND_GLASS, half=fringe, hu=rng.uniform(-600, -350), soft=12.0),
            shape,
        ]
    fluid = rng.uniform(8, 35) * (rng.random() < 0.2 + 0.3 * severity)
    effusion = (fluid * (side < 0), fluid * (side > 0))
    return Disease(lesions=tuple(lesions), wall=rng.uniform(1, 1.4), effusion=effusion, severity=severity)


def _mycoplasma(rng: np.random.Generator, sites: Sites, twigs: Tree) -> Disease:
    severity = float(rng.beta(2.0, 2.4))
    lesions, chosen = [], []
    ends = twigs.end[twigs.level == twigs.level.max()][
        ::2
    ]  # neighbours in the list are neighbours in the lung
    side = int(rng.choice([-1, 1]))
    both = rng.random() < 0.5
    for _k in range(int(1 + rng.poisson(0.8 + 1.8 * severity))):
        weight = np.exp((sites.points[:, 2] - 150) / 100) * ((np.sign(sites.points[:, 0]) == side) | both)
        centre = sites.pick(rng, weight)
        reach = 22 + 30 * severity * rng.uniform(0.6, 1.2)
        near = ends[np.linalg.norm(ends - centre, axis=1) < reach]
        chosen.append(near[rng.random(len(near)) < rng.uniform(0.5, 0.95)])
        haze = rng.random() < 0.75
        half = tuple((rng.uniform(0.5, 1.0, 3) * reach).tolist())
        lesions.append(Lesion(
            GROUND_GLASS, centre, half, rng.uniform(-720, -520) if haze else -780, rng.uniform(6, 14),
            rng.uniform(7, 12), rng.uniform(6, 12),
        ))  # fmt: skip
        if rng.random() < 0.35:
            small = tuple(0.45 * h for h in half)
            lesions.append(replace(lesions[-1], kind=CONSOLIDATION, half=small, hu=rng.uniform(-150, 20)))
    buds = _buds(rng, np.concatenate(chosen))
    return Disease(lesions=tuple(lesions), buds=buds, wall=rng.uniform(1.6, 2.8), severity=severity)


def _buds(rng: np.random.Generator, places: np.ndarray) -> Tree | None:
    """Two or three short tubes with swollen ends around each place."""
    if not len(places):
        return None
    start = np.repeat(places, 2, axis=0) + rng.normal(0, 2.0, (2 * len(places), 3))
    end = start + rng.normal(0, 2.2, start.shape)
    thick = rng.uniform(0.9, 2.4, len(start))
    return Tree(start, end, np.stack([thick * 0.6, thick], 1), np.zeros(len(start), int))


def _viral(rng: np.random.Generator, sites: Sites, _: Tree) -> Disease:
    severity = float(rng.beta(2, 2.5))
    lesions = []
    level, hu = rng.uniform(110, 170), rng.uniform(-760, -560)
    for side in (-1, 1):
        centre = (side * rng.uniform(55, 80), rng.uniform(-55, -25), level + rng.normal(0, 12))
        half = tuple((rng.uniform(0.6, 1.0, 3) * (40 + 50 * severity)).tolist())
        lesions.append(Lesion(
            GROUND_GLASS, centre, half, hu + rng.normal(0, 25), rng.uniform(10, 22), rng.uniform(10, 20),
            rng.uniform(10, 22), rng.random() * 0.5,
        ))  # fmt: skip
    for _k in range(rng.poisson(2 + 6 * severity)):
        centre = sites.pick(rng, np.exp(-np.abs(sites.depth - 30) / 20))
        size = rng.uniform(6, 18)
        lesions.append(
            Lesion(GROUND_GLASS, centre, (size, size, size), hu + rng.normal(0, 60), 5.0, 8.0, 8.0)
        )
    return Disease(lesions=tuple(lesions), wall=rng.uniform(1.0, 1.7), severity=severity)


def _fungal(rng: np.random.Generator, sites: Sites, _: Tree) -> Disease:
    severity = float(rng.beta(1.8, 2.2))
    lesions = []
    for _k in range(int(1 + rng.poisson(1 + 5 * severity))):
        centre = sites.pick(rng, np.ones(len(sites.points)))
        size = rng.uniform(4, 9) + rng.uniform(0, 8) * severity
        halo = size + rng.uniform(4, 11)
        lesions.append(Lesion(GROUND_GLASS, centre, (halo,) * 3, rng.uniform(-680, -450), 2.5, 7.0, 5.0))
        hollow = 0.55 * size * (rng.random() < 0.2)
        lesions.append(Lesion(NODULE, centre, (size,) * 3, rng.uniform(0, 55), 1.5, 6.0, 2.0, hollow=hollow))
    return Disease(lesions=tuple(lesions), severity=severity)


_PATTERNS: dict[str, Callable[[np.random.Generator, Sites, Tree], Disease]] = {
    "covid": _covid,
    "bacterial": _bacterial,
    "mycoplasma": _mycoplasma,
    "viral": _viral,
    "fungal": _fungal,
}
