"""What a synthetic patient's chart holds: sex, age, comorbidity, and how long the patient stays in hospital.

The planted truth of the prognosis: the hazard of discharge is proportional, with a known linear predictor in
severity, age and comorbidity. A high hazard of discharge is a short stay; risk is its negative.
"""

from dataclasses import dataclass

import numpy as np

# Comorbidities and how common they are: 1590 patients of 575 hospitals (Guan 2020 Eur Respir J 55:2000547);
# tuberculosis is not among theirs and is a guess of the same order as COPD. Every rate holds at MEAN_AGE and
# grows with age.
RATES = {
    "diabetes": 0.082, "hypertension": 0.169, "cerebrovascular": 0.019, "cardiovascular": 0.037,
    "malignancy": 0.011, "copd": 0.015, "tuberculosis": 0.012, "kidney": 0.013, "liver": 0.018,
}  # fmt: skip
MEAN_AGE = 49.0  # years
AGE_SLOPE = 0.045  # log-odds of a comorbidity for each year
# Discharge: Weibull with this shape and scale (days) times exp(linear predictor).
SHAPE, SCALE = 2.2, 23.0
SEVERITY_SLOPE = -2.2  # for each unit of severity above MEAN_SEVERITY
AGE_EFFECT = -0.20  # for each ten years above MEAN_AGE
COMORBIDITY_EFFECT = -0.40
MEAN_SEVERITY = 0.39
# Death, the competing event: constant hazard for each day, times exp of its own predictor.
DEATH_RATE = 0.0008
DEATH_SEVERITY, DEATH_AGE = 3.0, 0.5
FEWEST_DAYS = 5.0  # the paper's prognosis takes patients followed for more than five days
STUDY_DAYS = (12.0, 75.0)  # from admission to the end of data collection
# Intensive care and, from there, ventilation: constant hazards for each day.
ICU_RATE, ICU_SEVERITY, ICU_AGE = 0.004, 4.0, 0.3
VENTILATION_RATE = 0.10
SEVERE = 0.65  # severity from which a chart says "severe": about 16 %, as in Guan 2020


@dataclass(frozen=True)
class Chart:
    """Clinical row of a patient.

    Attributes:
        sex: "F" or "M".
        age: years.
        comorbidities: those the patient has, of RATES.
    """

    sex: str
    age: int
    comorbidities: frozenset[str]


@dataclass(frozen=True)
class Stay:
    """Follow-up from diagnosis.

    Attributes:
        predictor: planted linear predictor: log of the discharge hazard over that of an average patient.
        days: to discharge, death or the end of data collection, more than FEWEST_DAYS.
        discharged: whether that was seen.
        died: whether the patient died; nobody is both.
        icu_days: from diagnosis to intensive care; None where it was not needed before `days`.
        ventilated_days: from diagnosis to ventilation, likewise.
    """

    predictor: float
    days: float
    discharged: bool
    died: bool
    icu_days: float | None = None
    ventilated_days: float | None = None


def draw_chart(rng: np.random.Generator, women: float, age: tuple[float, float]) -> Chart:
    """Draw a clinical row.

    Args:
        rng: random numbers.
        women: share of women.
        age: mean and standard deviation, years; cut to 18 to 92.
    """
    sex = "F" if rng.random() < women else "M"
    years = int(np.clip(rng.normal(*age), 18, 92))
    odds = {name: rate / (1 - rate) * np.exp(AGE_SLOPE * (years - MEAN_AGE)) for name, rate in RATES.items()}
    has = frozenset(name for name, odd in odds.items() if rng.random() < odd / (1 + odd))
    return Chart(sex, years, has)


def predictor_of(severity: float, age: float, *, comorbidity: bool) -> float:
    """Planted linear predictor of the discharge hazard; low (negative) for those who stay long.

    Args:
        severity: of the pneumonia, 0 to 1.
        age: years.
        comorbidity: any.
    """
    return (
        SEVERITY_SLOPE * (severity - MEAN_SEVERITY)
        + AGE_EFFECT * (age - MEAN_AGE) / 10
        + COMORBIDITY_EFFECT * comorbidity
    )


def draw_stay(rng: np.random.Generator, severity: float, chart: Chart) -> Stay:
    """Draw discharge, death and the end of data collection; the first of them is seen.

    All three times are drawn from their distributions beyond FEWEST_DAYS, which leaves the hazards as they
    are: the cohort holds only those who stay longer.
    """
    predictor = predictor_of(severity, chart.age, comorbidity=bool(chart.comorbidities))
    earlier = (FEWEST_DAYS / SCALE) ** SHAPE
    discharge = SCALE * (earlier + rng.exponential() * np.exp(-predictor)) ** (1 / SHAPE)
    frailty = DEATH_SEVERITY * (severity - MEAN_SEVERITY) + DEATH_AGE * (chart.age - MEAN_AGE) / 10
    death = FEWEST_DAYS + rng.exponential() / (DEATH_RATE * np.exp(frailty))
    end = rng.uniform(*STUDY_DAYS)
    days = min(discharge, death, end)
    worse = ICU_SEVERITY * (severity - MEAN_SEVERITY) + ICU_AGE * (chart.age - MEAN_AGE) / 10
    icu = rng.exponential() / (ICU_RATE * np.exp(worse))
    ventilation = icu + rng.exponential() / VENTILATION_RATE
    return Stay(
        predictor,
        _rounded_up(days),
        discharged=bool(days == discharge),
        died=bool(days == death),
        icu_days=_rounded_up(icu) if icu < days else None,
        ventilated_days=_rounded_up(ventilation) if ventilation < days else None,
    )


def _rounded_up(days: float) -> float:
    return float(np.ceil(10 * days) / 10)
