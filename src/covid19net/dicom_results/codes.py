"""Coded concepts of the results: SNOMED CT, DICOM and UCUM where they have one, own codes elsewhere.

Own codes are of the scheme 99COVID19NET (PS3.3 8.2: private schemes begin with 99) and listed here, meaning
beside value, so that a receiver can map them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.sr.coding import Code

SCHEME = "99COVID19NET"
OWN = {
    "question": ("COVID-OR-OTHER", "COVID-19 against other pneumonia"),
    "call": ("CALL", "Call at the threshold"),
    "risk": ("STAY-RISK", "Risk of a long stay in hospital, log hazard ratio"),
    "risk_cut": ("STAY-RISK-CUT", "Cut between low and high risk of a long stay"),
    "risk_group": ("STAY-RISK-GROUP", "Risk group of a long stay"),
    "median_stay": ("STAY-MEDIAN", "Median expected stay in hospital"),
    "mean_stay": ("STAY-MEAN", "Mean expected stay in hospital within the follow-up"),
    "ground_glass": ("GGO-SHARE", "Share of the lung with the density of ground glass"),
    "consolidation": ("CONS-SHARE", "Share of the lung with the density of consolidation"),
    "heat": ("GRAD-CAM", "Grad-CAM, share of the scan's own largest value"),
    "intended_use": ("INTENDED-USE", "Intended use"),
    "definition": ("DEFINITION", "Definition"),
    "warning": ("WARNING", "Warning"),
    "weights": ("WEIGHTS", "Model weights"),
    "report": ("REPORT", "Report of a chest CT analysis"),
}
# SNOMED CT by number: pydicom's dictionary has no names for these.
LUNGS = {"right": ("3341006", "Right lung"), "left": ("44029006", "Left lung")}


UNITS = {"ml": "milliliter"}  # of UCUM, that pydicom's dictionary lacks


def own(name: str) -> "Code":
    """A concept of our own."""
    from pydicom.sr.coding import Code

    return Code(OWN[name][0], SCHEME, OWN[name][1])


def scheme() -> "Dataset":
    """What our codes are (PS3.3 C.12.1.1.6)."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodingSchemeDesignator, item.CodingSchemeName = SCHEME, "Concepts of covid19net"
    return item


def lung(side: str) -> "Code":
    """The right or the left lung."""
    from pydicom.sr.coding import Code

    value, meaning = LUNGS[side]
    return Code(value, "SCT", meaning)


def unit_of(value: str) -> "Code":
    """A UCUM unit."""
    from pydicom.sr.coding import Code

    return Code(value, "UCUM", UNITS[value])
