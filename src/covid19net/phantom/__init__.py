"""A synthetic chest CT whose truth is known: patients, scanners and the scans they make together."""

from covid19net.phantom.anatomy import Patient, draw_patient
from covid19net.phantom.demo import demo_case
from covid19net.phantom.pneumonias import DISEASES
from covid19net.phantom.scan import PhantomCase, scan_grid, scan_lungs, scan_patient, scan_slices
from covid19net.phantom.scanner import Scanner, draw_scanner

__all__ = [
    "DISEASES",
    "Patient",
    "PhantomCase",
    "Scanner",
    "demo_case",
    "draw_patient",
    "draw_scanner",
    "scan_grid",
    "scan_lungs",
    "scan_patient",
    "scan_slices",
]
