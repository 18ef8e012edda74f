"""A small sample with known truth, and a model fitted to it."""

from dataclasses import replace

import numpy as np

from covid19net.prognosis.fit import fit_model
from covid19net.prognosis.model import About, PrognosticModel
from covid19net.prognosis.outcome import Outcome

NAMES = ("f03", "age", "comorbidity")
BETA = np.array([0.8, -0.02, -0.4])
ABOUT = About(
    name="test-discharge",
    end_point="discharge",
    diagnosis_sha256="0" * 64,
    licence="Apache-2.0",
    origin="made up",
    intended_use="tests",
    demonstration=True,
    provenance={"seed": 1},
)


def sample(seed: int = 1, size: int = 300, *, scale: float = 16.0) -> tuple[Outcome, np.ndarray]:
    """Whole days to discharge (Weibull), death at a rate that grows with age, or the end of follow-up."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.normal(0, 1, size), rng.normal(55, 14, size).round(), rng.integers(0, 2, size)])
    hazard = np.exp((x - [0, 55, 0.5]) @ BETA)
    discharge = scale * (rng.exponential(size=size) / hazard) ** 0.5
    death = rng.exponential(100 / np.exp(0.03 * (x[:, 1] - 55)))
    last = rng.uniform(15, 45, size)
    days = np.minimum(np.minimum(discharge, death), last)
    cause = np.where(days == last, 0, np.where(days == discharge, 1, 2))
    return Outcome(np.ceil(days), cause), x


def made_up_model(
    *, demonstration: bool = True, end_point: str = "discharge", **sizes: int
) -> PrognosticModel:
    outcome, x = sample(**sizes)
    about = replace(ABOUT, demonstration=demonstration, end_point=end_point)
    return fit_model(outcome, x, NAMES, about)
