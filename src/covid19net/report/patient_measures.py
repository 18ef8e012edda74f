"""What was measured in the lungs and in the map, for a patient's page."""

from typing import Any

from covid19net.explain import MapEvidence
from covid19net.quantify import CONSOLIDATION, GROUND_GLASS, Quantification, Region
from covid19net.report.patient_words import SPACE, TIMES, percent, signed

THIRDS = ("upper", "middle", "lower")
HEADER = ("", "Volume", "Mean density", "Ground-glass density", "Consolidation density")


def quantity_of(quantification: Quantification) -> dict[str, Any]:
    """Caption, header and rows of the table: both lungs, then each lung and its thirds.

    A row is what it is ("whole", "" or "part"), its name, and its cells. A region without lung has no row;
    where the sides are not known there are the thirds of both lungs.
    """
    regions = quantification.regions
    names = {"both": ("whole", "Both lungs")}
    sides = [side for side in ("right", "left") if side in regions]
    for side in sides:
        names[side] = ("", f"{side.capitalize()} lung")
        names |= {f"{side}-{third}": ("part", f"{third} third") for third in THIRDS}
    if not sides:
        names |= {third: ("part", f"{third} thirds") for third in THIRDS}
    rows = [(kind, name, _cells(regions[key])) for key, (kind, name) in names.items() if key in regions]
    caption = (
        f"Counted within the outline of the lungs; the diagnosis network has no part in it. Ground-glass "
        f"density is {_window(GROUND_GLASS)}, consolidation density {_window(CONSOLIDATION)}, as a share of "
        f"the region. Vessels, airway walls and the edge of the lung count too: healthy lungs have a few "
        f"percent of either. Thirds are of each lung's height."
    )
    return {"caption": caption, "header": HEADER, "rows": rows}


def _window(window: tuple[int, int]) -> str:
    low, high = (signed(limit, 0) for limit in window)
    return f"{low} to {high}{SPACE}HU"


def _cells(region: Region) -> tuple[str, ...]:
    return (
        f"{10 * round(region.millilitres / 10)}{SPACE}ml",
        f"{signed(region.mean_hu, 0)}{SPACE}HU",
        percent(region.ground_glass),
        percent(region.consolidation),
    )


def evidence_of(found: MapEvidence | None) -> dict[str, Any]:
    """Verdict and facts on the map of marked areas, rounded; no facts on an empty one."""
    if found is None:
        return {"verdict": "The map is empty: no place of the scan argues for COVID-19.", "facts": []}
    verdict = "The map passed its checks, which say where it lies, not whether it is right."
    if found.failures:
        verdict = f"The map failed a check and is struck through: {'; '.join(found.failures)}."
    dense = (
        f"Chance: what a map spread evenly would have there. Dense lung lies above this patient's own normal "
        f"range, here {signed(found.normal_up_to_hu, 0)}{SPACE}HU: {percent(found.dense_lung)} of the lungs."
    )
    inside = f"{percent(found.inside_lungs)} ({_times(found.inside_lungs_over_chance)} chance)"
    thirds = " / ".join(map(percent, (found.upper, found.middle, found.lower)))
    sides = " / ".join(percent(share) for share in (found.right, found.left) if share is not None)
    stable = found.stability
    correlations = stable and f"{stable.flip:.2f} / {stable.noise:.2f} correlation"
    facts = [
        ("In the lungs", inside),
        ("Right / left lung", sides or "sides not known"),
        ("Upper / middle / lower thirds", thirds),
        ("In dense lung", f"{_times(found.dense_over_chance)} chance"),
        ("Mirrored / with noise", correlations or "not tested"),
    ]
    return {"verdict": verdict, "meaning": dense, "facts": facts}


def _times(factor: float) -> str:
    return f"{factor:.1f}{SPACE}{TIMES}"
