"""Synthetic patients on disk: scans, masks, everything that was planted, and the manifest of a cohort."""

from covid19net.synthetic.cohort import make_cohort, write_subject
from covid19net.synthetic.subjects import Options, Subject, draw_subject

__all__ = ["Options", "Subject", "draw_subject", "make_cohort", "write_subject"]
