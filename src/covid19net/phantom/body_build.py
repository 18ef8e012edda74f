"""Record of the body around the lungs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Build:
    """What the body around the lungs is like.

    Attributes:
        fat: thickness of the fat under the skin, mm.
        breast: how far the breasts stand out, mm; 0 for none.
        arms: "up", "down" or "none" (outside the picture).
        bone: HU of the marrow.
        lean_mass: 0 (wasted, streaked with fat) to 1 (strong).
        gas: share of the bowel and stomach filled with gas, 0 to 1.
        oesophagus_air: radius of the gas in the oesophagus, mm.
        calcium: whether the aortic wall and coronary arteries are calcified.
        blood: HU of unenhanced blood.
        bowel: rows (x, y, t, radius, half height, gas): loops of gut under the diaphragm.
        stomach: centre (x, y, t), half axes (x, y, t), height of the fluid level as a share of the depth.
    """

    fat: float
    breast: float
    arms: str
    bone: float
    lean_mass: float
    gas: float
    oesophagus_air: float
    calcium: bool
    blood: float
    bowel: tuple[tuple[float, ...], ...]
    stomach: tuple[float, ...]
