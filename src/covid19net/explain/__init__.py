"""What argued for a score: maps of suspicious areas, the evidence for and against a map, and its tests."""

from covid19net.explain.evidence import MapEvidence, Stability, check_map, map_evidence, stability
from covid19net.explain.grad_cam import (
    FIRST_CENTRE,
    STRIDE,
    grad_cam,
    heat_in_box,
    heat_map,
    pointing,
)

__all__ = [
    "FIRST_CENTRE",
    "STRIDE",
    "MapEvidence",
    "Stability",
    "check_map",
    "grad_cam",
    "heat_in_box",
    "heat_map",
    "map_evidence",
    "pointing",
    "stability",
]
