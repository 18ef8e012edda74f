"""The patient of the demonstration."""

import numpy as np

from covid19net.phantom.anatomy import draw_patient
from covid19net.phantom.scan import PhantomCase, scan_patient
from covid19net.phantom.scanner import Scanner


def demo_case(seed: int) -> PhantomCase:
    """A whole chest with COVID-19 that looks like it: 4 mm slices of 384 x 384, some 90 of them.

    Args:
        seed: which patient; equal seeds give equal patients, bit for bit.
    """
    rng = np.random.default_rng(seed)
    patient = draw_patient(rng, disease="covid")
    while patient.disease.pattern != "covid":  # one in five passes for another disease
        patient = draw_patient(rng, disease="covid")
    return scan_patient(patient, Scanner(spacing=4.0, thickness=4.0, matrix=384), rng)
