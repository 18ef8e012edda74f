"""Lung cancer for the auxiliary task: one nodule whose texture depends on a planted EGFR status.

Tumours with an EGFR mutation hold more ground glass, are more often spiculated, and are commoner in women:
odds ratios 1.86, 1.42 and 2.33 in a meta-analysis of 34 studies (Herrera Ortiz 2022 Eur J Radiol Open 9).
With odds so close to one, only thousands of patients teach a network anything. The differences planted here
are larger: the best possible AUC is 0.92; a network on real tumours reached 0.81 (Wang 2019 Eur Respir J 53).
"""

import numpy as np
from scipy import stats

from covid19net.phantom.lesions import GROUND_GLASS, NODULE, Disease, Lesion, lobe_of
from covid19net.phantom.pneumonias import Sites

STATUSES = ("mutant", "wild")
# Share of ground glass along the radius: Beta(a, b). Radius, mm: log-normal, median and sigma. Then the
# chance of spicules.
GLASS = {"mutant": (3.2, 3.4), "wild": (1.3, 5.0)}
RADIUS = {"mutant": (11.5, 0.30), "wild": (15.0, 0.34)}
SPICULATED = {"mutant": 0.70, "wild": 0.40}
DEPTH = 25.0  # mm; adenocarcinomas lie in the periphery, their density falls with depth at about this scale


def draw_tumour(rng: np.random.Generator, egfr: str, sites: Sites) -> Disease:
    """Draw a tumour.

    Args:
        rng: random numbers.
        egfr: one of STATUSES.
        sites: where it can lie.
    """
    glass = float(rng.beta(*GLASS[egfr]))
    median, sigma = RADIUS[egfr]
    radius = float(np.clip(median * np.exp(sigma * rng.standard_normal()), 6, 32))
    spiculated = bool(rng.random() < SPICULATED[egfr])
    weight = (
        np.exp(-sites.depth / DEPTH) * np.exp((150 - sites.points[:, 2]) / 220) * (sites.depth > 0.5 * radius)
    )
    centre = sites.pick(rng, weight)
    stretch = rng.uniform(0.85, 1.2, 3)
    half = tuple((radius * stretch).tolist())
    core = tuple((radius * stretch * (1 - glass)).tolist())
    spicules = float(rng.uniform(0.45, 0.8) * radius) if spiculated else 0.0
    lobe = lobe_of(centre)
    rim = Lesion(
        GROUND_GLASS, centre, half, rng.uniform(-650, -480), 1.5, 7.0, 3.0, lobe=lobe, spicules=spicules * 0.5
    )
    solid = Lesion(NODULE, centre, core, rng.uniform(15, 60), 1.2, 6.0, 1.5, lobe=lobe, spicules=spicules)
    lesions = (rim, solid) if min(core) > 1.5 else (rim,)
    odds = log_odds(glass, radius, spiculated=spiculated)
    return Disease("cancer", "cancer", min(radius / 32, 1.0), lesions, log_odds=odds)


def log_odds(glass: float, radius: float, *, spiculated: bool) -> float:
    """Natural logarithm of the likelihood with the mutation over that without.

    Everything else about a tumour is drawn alike, so nothing separates the two better.

    Args:
        glass: share of ground glass along the radius, 0 to 1.
        radius: mm; at the ends of the range drawn radii pile up, which this leaves out.
        spiculated: whether there are spicules.
    """
    total = 0.0
    for sign, egfr in ((1, "mutant"), (-1, "wild")):
        median, sigma = RADIUS[egfr]
        total += sign * float(
            stats.beta.logpdf(glass, *GLASS[egfr])
            + stats.lognorm.logpdf(radius, sigma, scale=median)
            + np.log(SPICULATED[egfr] if spiculated else 1 - SPICULATED[egfr])
        )
    return total
