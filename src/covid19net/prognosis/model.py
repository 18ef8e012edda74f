"""A prognostic model: what it is made of, and what it says of one patient.

Risk points to what is bad: for discharge, which is good, it is minus the log hazard ratio, so that who is at
high risk stays longer; for death, intensive care and ventilation it is the log hazard ratio itself.
"""

from dataclasses import dataclass, field, replace
import re
from typing import Any

import numpy as np

from covid19net.errors import InputError
from covid19net.features import FEATURES
from covid19net.prognosis.curve import Baseline, Cause, PatientCurve, cumulative_incidence, patient_curve
from covid19net.prognosis.outcome import END_POINTS

UNITS = {"age": "years", "sex_male": "1 male, 0 female", "comorbidity": "1 any, 0 none"} | dict.fromkeys(
    FEATURES, "DL feature"
)
OLDEST = 120  # years; an age above is a typing error
FEWEST_COMPETING = (
    10  # competing events for each covariate, below which they are taken to come alike to everyone
)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Clinical:
    """What is known of the patient, for the prognosis; nothing is ever filled in.

    Attributes:
        age: years, 0 to 120.
        sex: "F" or "M".
        comorbidity: any of those the paper counts.
    """

    age: float | None = None
    sex: str | None = None
    comorbidity: bool | None = None

    def __post_init__(self) -> None:
        if self.age is not None and not 0 <= self.age <= OLDEST:
            raise InputError(f"age must lie between 0 and {OLDEST} years, got {self.age:g}")
        if self.sex not in (None, "F", "M"):
            raise InputError(f"sex must be F or M, got {self.sex!r}")


@dataclass(frozen=True)
class About:
    """What a reader must know of a prognostic model.

    Attributes:
        name: of the model.
        end_point: a key of `END_POINTS`.
        diagnosis_sha256: of the diagnosis weights whose features it was fitted on, 64 hexadecimal digits.
        licence: SPDX expression, or "none stated".
        origin: who made it, from whose patients.
        intended_use: what it is for, and what it is not for.
        limits: where it is known to fail.
        demonstration: made from synthetic patients; it says nothing about people.
        provenance: training data, sets, patients and events, procedure, seed, command, versions; no date, so
            that the same data give the same file.
        metrics: what was measured, by name.
    """

    name: str
    end_point: str
    diagnosis_sha256: str
    licence: str
    origin: str
    intended_use: str
    limits: str = ""
    demonstration: bool = False
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.end_point not in END_POINTS:
            raise InputError(f"end point {self.end_point!r}: there are {', '.join(END_POINTS)}")
        if not _SHA256.fullmatch(self.diagnosis_sha256):
            raise InputError("diagnosis_sha256 must be 64 lower-case hexadecimal digits")


@dataclass(frozen=True, eq=False)
class PrognosticModel:
    """A Cox model with all that one patient's risk, group and curve need.

    Attributes:
        about: name, end point, weights, provenance and card.
        covariates: names, of `UNITS`: "f00" to "f63", "age", "sex_male", "comorbidity".
        coefficients: log hazard ratios for one unit of each, (covariate,).
        covariance: of the coefficients, (covariate, covariate).
        baseline: of the event; its centre is where the risk is 0.
        cut: median risk of the training sample; who is at or above it is at high risk.
        lowest: smallest value of each covariate in training, (covariate,).
        highest: largest one, (covariate,).
        competing: of what else ends the stay; None where nothing did.

    Raises:
        InputError: names, shapes or numbers that do not make a model.
    """

    about: About
    covariates: tuple[str, ...]
    coefficients: np.ndarray
    covariance: np.ndarray
    baseline: Baseline
    cut: float
    lowest: np.ndarray
    highest: np.ndarray
    competing: Cause | None = None

    def __post_init__(self) -> None:
        count = len(self.covariates)
        unknown = [name for name in self.covariates if name not in UNITS]
        if unknown or not count or len(set(self.covariates)) != count:
            raise InputError(f"covariates {', '.join(self.covariates) or '(none)'}: each known, once")
        vectors = [self.coefficients, self.lowest, self.highest, self.baseline.centre]
        if self.competing:
            vectors += [self.competing.coefficients, self.competing.baseline.centre]
        if any(np.shape(v) != (count,) for v in vectors) or np.shape(self.covariance) != (count, count):
            raise InputError(f"{count} covariates do not fit the numbers of the model")
        if not all(np.isfinite(v).all() for v in (*vectors, self.covariance, np.array(self.cut))):
            raise InputError("the model holds numbers that are not finite")
        if (np.asarray(self.lowest) > self.highest).any():
            raise InputError("the lowest value of a covariate lies above its highest")
        sizes = np.abs(self.covariance).max()
        if np.abs(self.covariance - self.covariance.T).max() > 1e-8 * sizes:
            raise InputError("the covariance is not symmetric")
        if np.linalg.eigvalsh(self.covariance).min() < -1e-8 * sizes:
            raise InputError("the covariance has a negative variance")

    @property
    def sign(self) -> int:
        """Of the risk against the log hazard: -1 for discharge, 1 for what is bad."""
        return 1 if END_POINTS[self.about.end_point].adverse else -1


@dataclass(frozen=True, eq=False)
class Prognosis:
    """What a model says of one patient.

    Attributes:
        about: of the model.
        risk: 0 for an average patient of the training sample; larger is worse.
        cut: median risk of the training sample.
        group: "high" at or above the cut, else "low".
        curve: probability of the event by day.
        warnings: what a reader must know, in words.
    """

    about: About
    risk: float
    cut: float
    group: str
    curve: PatientCurve
    warnings: tuple[str, ...] = ()


def _values(features: np.ndarray, clinical: Clinical) -> dict[str, float | None]:
    sex = None if clinical.sex is None else float(clinical.sex == "M")
    comorbidity = None if clinical.comorbidity is None else float(clinical.comorbidity)
    known = {"age": clinical.age, "sex_male": sex, "comorbidity": comorbidity}
    return known | dict(zip(FEATURES, map(float, features), strict=True))


def missing(model: PrognosticModel, clinical: Clinical, diagnosis_sha256: str) -> tuple[str, ...]:
    """What keeps a model from saying anything of a patient, in words; empty where nothing does.

    Args:
        model: the model.
        clinical: what is known of the patient.
        diagnosis_sha256: of the weights that made the features.
    """
    lacking = []
    wanted = set(model.covariates)
    if wanted & set(FEATURES) and diagnosis_sha256 != model.about.diagnosis_sha256:
        lacking.append("a prognostic model made for these diagnosis weights")
    values = _values(np.zeros(len(FEATURES)), clinical)
    names = {"age": "age", "sex_male": "sex", "comorbidity": "comorbidity"}
    lacking += [word for name, word in names.items() if name in wanted and values[name] is None]
    return tuple(lacking)


def patient_covariates(model: PrognosticModel, features: np.ndarray, clinical: Clinical) -> np.ndarray:
    """One patient's covariates in the model's order, (covariate,).

    Raises:
        InputError: one of them is not known.
    """
    values = _values(features, clinical)
    lacking = [name for name in model.covariates if values[name] is None]
    if lacking:
        raise InputError(f"the prognosis needs {', '.join(lacking)}")
    return np.array([values[name] for name in model.covariates], np.float64)


def predictor(model: PrognosticModel, covariates: np.ndarray) -> np.ndarray:
    """Log hazard over that of an average patient of the training sample.

    Args:
        model: the model.
        covariates: (..., covariate), in the model's order.

    Returns:
        (...); for discharge, large is a short stay.
    """
    apart = np.asarray(covariates, np.float64) - model.baseline.centre
    # Not a matrix product, whose rounding depends on the number of rows: who is at the cut must stay there.
    log_hazard: np.ndarray = (apart * model.coefficients).sum(-1)
    return log_hazard


def risk_of(model: PrognosticModel, covariates: np.ndarray) -> np.ndarray:
    """Risk, (...), of patients with these covariates, (..., covariate)."""
    risk: np.ndarray = model.sign * predictor(model, covariates)
    return risk


def predict(
    model: PrognosticModel, features: np.ndarray, clinical: Clinical, *, level: float = 0.95
) -> Prognosis:
    """Risk, risk group and curve of one patient.

    Args:
        model: made for the weights that gave `features`; `missing` tells.
        features: the 64-dimensional DL feature, (64,).
        clinical: what is known of the patient.
        level: confidence of the curve's interval.

    Raises:
        InputError: a covariate is missing or not finite.
    """
    x = patient_covariates(model, features, clinical)
    curve = patient_curve(model.baseline, model.coefficients, model.covariance, x, level=level)
    if model.competing:
        event = Cause(model.baseline, model.coefficients)
        curve = replace(curve, with_competing=cumulative_incidence(curve.day, x, event, model.competing))
    risk = float(risk_of(model, x))
    outside = [
        f"{name} is {value:.4g}, in training it was {low:.4g} to {high:.4g}"
        for name, value, low, high in zip(model.covariates, x, model.lowest, model.highest, strict=True)
        if not low <= value <= high
    ]
    return Prognosis(
        about=model.about,
        risk=risk,
        cut=model.cut,
        group="high" if risk >= model.cut else "low",
        curve=curve,
        warnings=tuple(outside),
    )
