"""The statistics keep their promise where the truth is planted, and high risk is what is bad.

Patients are rows of a table of stored features, drawn with replacement; what happens to them is drawn from
the hazards of `phantom.clinical` with log hazard ratios that are planted here. Every seed is fixed. Bands are
those in which a count of so many independent trials lies with 99 % probability (binomial).
"""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, norm

from covid19net.cohort import Patient
from covid19net.evaluate import auc
from covid19net.phantom.clinical import (
    DEATH_RATE,
    FEWEST_DAYS,
    MEAN_AGE,
    MEAN_SEVERITY,
    SCALE,
    SHAPE,
    STUDY_DAYS,
    draw_chart,
    draw_stay,
)
from covid19net.prognosis.competing import gray_test, incidence
from covid19net.prognosis.fit import fit_model
from covid19net.prognosis.groups import (
    by_group,
    difference,
    logrank,
    mean_wait,
    median_cut,
    median_wait,
    split,
    waiting_curve,
)
from covid19net.prognosis.model import About, Clinical, predict, risk_of
from covid19net.prognosis.outcome import COMPETING, OF_INTEREST, Outcome, outcome_of
from covid19net.prognosis.partial import maximise, risk_sets

STORED = Path(__file__).parent / "reference" / "phantom-features.csv"
PATIENTS = 301  # of the paper's training set with follow-up
CLINICAL = ("age", "sex", "comorbidity")
# Log hazard ratios of discharge for one sd of three DL features, and for ten years, a man, a comorbidity.
PLANTED = np.array([-0.5, 0.3, -0.15, -0.20, -0.10, -0.40])
OF_DEATH = np.array([0.6, 0.0, 0.3, 0.50, 0.20, 0.40])


def made_up_table() -> tuple[np.ndarray, np.ndarray]:
    """Correlated DL features, age, sex and comorbidity, where no stored ones are at hand."""
    rng = np.random.default_rng(20)
    together = np.array([[1, 0.6, 0.3, 0.4], [0.6, 1, 0.5, 0.2], [0.3, 0.5, 1, 0.1], [0.4, 0.2, 0.1, 1]])
    drawn = rng.multivariate_normal(np.zeros(4), together, PATIENTS)
    age = np.clip(MEAN_AGE + 16 * drawn[:, 3], 18, 92).round()
    sex = rng.random(PATIENTS) < 0.5
    comorbidity = rng.random(PATIENTS) < 0.25 + 0.01 * (age - MEAN_AGE).clip(-20, 40)
    return drawn[:, :3], np.column_stack([age, sex, comorbidity]).astype(float)


def stored_table() -> tuple[np.ndarray, np.ndarray]:
    """Three DL features that are seldom at their floor and little alike, and the clinical values."""
    with STORED.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if all(row[name] for name in CLINICAL)]
    features = np.array([[float(row[f"f{i:02d}"]) for i in range(64)] for row in rows])
    often = np.argsort((features == features.min(0)).mean(0), kind="stable")[:16]
    alike = np.abs(np.corrcoef(features[:, often].T))
    chosen = [0]
    while len(chosen) < 3:
        chosen.append(int(alike[chosen].max(0).argmin()))
    words = {"F": 0, "M": 1, "no": 0, "yes": 1}
    clinical = np.array([[float(words.get(row[name], row[name])) for name in CLINICAL] for row in rows])
    return features[:, often[chosen]], clinical


def table() -> np.ndarray:
    """Covariates in the units of PLANTED, centred, (row, 6)."""
    features, clinical = stored_table() if STORED.exists() else made_up_table()
    x = np.column_stack([features / features.std(0), clinical[:, 0] / 10, clinical[:, 1:]])
    return x - x.mean(0)


TABLE = table()


def simulate(
    rng: np.random.Generator, effect: np.ndarray, *, of_death: np.ndarray = OF_DEATH, rate: float = DEATH_RATE
) -> tuple[Outcome, np.ndarray]:
    """Draw a cohort: Weibull discharge and exponential death beyond FEWEST_DAYS, the study's end, tenths of
    a day rounded up.
    """
    x = TABLE[rng.integers(0, len(TABLE), PATIENTS)]
    beyond = (FEWEST_DAYS / SCALE) ** SHAPE
    discharge = SCALE * (beyond + rng.exponential(size=PATIENTS) * np.exp(-x @ effect)) ** (1 / SHAPE)
    death = FEWEST_DAYS + rng.exponential(size=PATIENTS) * np.exp(-x @ of_death) / rate
    end = rng.uniform(*STUDY_DAYS, PATIENTS)
    first = np.minimum(np.minimum(discharge, death), end)
    cause = np.where(first == end, 0, np.where(first == discharge, OF_INTEREST, COMPETING))
    return Outcome(np.ceil(10 * first) / 10, cause), x


def band(trials: int, share: float) -> tuple[float, float]:
    low, high = binom.interval(0.99, trials, share)
    return float(low), float(high)


def test_cox_intervals_hold_the_planted_hazard_ratios():
    """Of 200 cohorts x 6 intervals 93 to 97 %, and of no covariate's 200 fewer than chance allows."""
    rng = np.random.default_rng(30)
    held = np.zeros((200, PLANTED.size), bool)
    estimates = np.zeros((200, PLANTED.size))
    for cohort in range(200):
        fit = maximise(risk_sets(*simulate(rng, PLANTED)))
        error = np.sqrt(np.diag(fit.covariance))
        estimates[cohort] = fit.coefficients
        held[cohort] = np.abs(fit.coefficients - PLANTED) <= 1.959964 * error
    assert 0.93 <= held.mean() <= 0.97
    assert (held.sum(0) >= binom.ppf(0.001, 200, 0.95)).all()  # one of six in 200 tables would fail
    bias = estimates.mean(0) - PLANTED
    assert (np.abs(bias) < 0.02 + 2.6 * estimates.std(0) / np.sqrt(200)).all()


def test_the_planted_death_hazards_are_found_as_well():
    """The competing event with a rate ten times as high, so that there is something to find."""
    rng = np.random.default_rng(31)
    held = []
    for _ in range(400):
        outcome, x = simulate(rng, PLANTED, rate=10 * DEATH_RATE)
        fit = maximise(risk_sets(Outcome(outcome.time, outcome.cause == COMPETING), x))
        held.append(np.abs(fit.coefficients - OF_DEATH) <= 1.959964 * np.sqrt(np.diag(fit.covariance)))
    assert 0.93 <= np.mean(held) <= 0.97


def test_the_logrank_test_holds_its_level():
    """Groups by the median of a risk that has no effect: 5 % of 2000 tests reject."""
    rng = np.random.default_rng(32)
    without = np.zeros(PLANTED.size)
    rejected = 0
    for _ in range(2000):
        outcome, x = simulate(rng, without, of_death=without)
        rejected += logrank(outcome, split(x @ PLANTED, median_cut(x @ PLANTED))).p < 0.05
    low, high = band(2000, 0.05)
    assert low <= rejected <= high


def test_grays_test_holds_its_level_while_death_competes():
    """Groups by a risk without effect; both causes, death with a rate ten times as high."""
    rng = np.random.default_rng(38)
    without = np.zeros(PLANTED.size)
    rejected = np.zeros(2, int)
    for _ in range(1000):
        outcome, x = simulate(rng, without, of_death=without, rate=10 * DEATH_RATE)
        group = split(x @ PLANTED, median_cut(x @ PLANTED))
        rejected += [gray_test(outcome, group, cause).p < 0.05 for cause in (OF_INTEREST, COMPETING)]
    low, high = band(1000, 0.05)
    assert ((low <= rejected) & (rejected <= high)).all(), rejected


def test_intervals_of_a_difference_of_stays_hold_the_true_one():
    """150 patients each, exponential with means of 12 and 20 days, half of the longer ones' ends unseen.

    Medians are the means by ln 2; up to day 20 the mean stay is m (1 - exp(-20 / m)). The intervals of
    medians are known to be a little wide (Brookmeyer and Crowley 1982): up to 98 % may hold.
    """
    rng = np.random.default_rng(39)
    means = np.array([12.0, 20.0])
    medians, stays = means * np.log(2), means * (1 - np.exp(-20 / means))
    held = np.zeros(2, int)
    for _ in range(1000):
        curves = []
        for mean in means:
            event, end = rng.exponential(mean, 150), rng.uniform(10, 60, 150)
            curves.append(waiting_curve(Outcome(np.minimum(event, end), event <= end), "all"))
        for place, (true, short, long) in enumerate(
            ((medians, *map(median_wait, curves)), (stays, *(mean_wait(curve, 20) for curve in curves)))
        ):
            found = difference(long, short)
            held[place] += found.low <= true[1] - true[0] <= found.high
    low, high = band(1000, 0.95)
    assert low <= held[0] <= 980
    assert low <= held[1] <= high


def test_the_logrank_test_finds_the_planted_effect():
    rng = np.random.default_rng(33)
    cohorts = [simulate(rng, PLANTED) for _ in range(50)]
    found = sum(logrank(o, split(x @ PLANTED, median_cut(x @ PLANTED))).p < 0.001 for o, x in cohorts)
    assert found == 50


@pytest.mark.parametrize("true", [0.75, 0.87])
def test_intervals_of_the_area_hold_the_true_area(true):
    """Binormal scores of as many patients as the paper's first validation set: 102 and 124, area 0.87."""
    rng = np.random.default_rng(34)
    label = np.arange(226) < 102
    apart = np.sqrt(2) * norm.ppf(true)
    found = [auc(label, rng.normal(size=226) + apart * label) for _ in range(1000)]
    low, high = band(1000, 0.95)
    assert low <= sum(area.low <= true <= area.high for area in found) <= high


def true_incidence(day: float, rate: float) -> np.ndarray:
    """Incidence of both causes by a day, averaged over the table: hazards integrated in steps of 0.001 d."""
    days = np.arange(FEWEST_DAYS, day, 0.001) + 0.0005
    hazard = SHAPE / SCALE * (days / SCALE) ** (SHAPE - 1)
    cumulative = (days / SCALE) ** SHAPE - (FEWEST_DAYS / SCALE) ** SHAPE
    total = np.zeros(2)
    for row in TABLE:
        leaving, dying = np.exp(row @ PLANTED), rate * np.exp(row @ OF_DEATH)
        staying = np.exp(-leaving * cumulative - dying * (days - FEWEST_DAYS))
        total += 0.001 * np.array([(leaving * hazard * staying).sum(), dying * staying.sum()])
    return total / len(TABLE)


def test_intervals_of_the_cumulative_incidence_hold_the_true_one():
    """Of discharge and of a death that competes in earnest, by day 20."""
    rng = np.random.default_rng(35)
    truth = true_incidence(20, 10 * DEATH_RATE)
    assert truth.sum() < 1
    held = np.zeros(2, int)
    for _ in range(1000):
        outcome, _ = simulate(rng, PLANTED, rate=10 * DEATH_RATE)
        for place, cause in enumerate((OF_INTEREST, COMPETING)):
            curve = incidence(outcome, cause, "all")
            step = np.searchsorted(curve.time, 20, side="right") - 1
            held[place] += curve.low[step] <= truth[place] <= curve.high[step]
    low, high = band(1000, 0.95)
    assert ((held >= low) & (held <= high)).all(), held


def phantom_cohort(size: int) -> tuple[list[Patient], np.ndarray, np.ndarray]:
    """Patients of `phantom.clinical`, their severity, and covariates: f00, which nearly sees it, and age."""
    rng = np.random.default_rng(36)
    patients, severity, covariates = [], [], []
    for row in range(size):
        ill = float(np.clip(rng.normal(MEAN_SEVERITY, 0.2), 0, 1))
        chart = draw_chart(rng, 0.5, (MEAN_AGE, 16))
        stay = draw_stay(rng, ill, chart)
        values = {"days": stay.days, "discharged": stay.discharged, "died": stay.died}
        patients.append(Patient(f"p{row}", row + 2, values))
        severity.append(ill)
        covariates.append([ill + rng.normal(0, 0.05), chart.age])
    return patients, np.array(severity), np.array(covariates)


def about(end_point: str) -> About:
    return About("test", end_point, "0" * 64, "Apache-2.0", "made up", "tests", demonstration=True)


def test_who_is_at_high_risk_is_more_severely_ill_and_stays_longer():
    """Discharge is good: its hazard falls with severity, and risk must rise with it."""
    patients, severity, x = phantom_cohort(PATIENTS)
    outcome = outcome_of(patients, "discharge")
    model = fit_model(outcome, x, ("f00", "age"), about("discharge"))
    assert (model.coefficients < 0).all()
    risk = risk_of(model, x)
    group = split(risk, median_cut(risk))
    low, high = by_group(outcome, group)
    assert (low.name, high.name) == ("low", "high")
    assert high.median > low.median + 3
    assert severity[group == "high"].mean() > severity[group == "low"].mean() + 0.1
    assert np.corrcoef(risk, severity)[0, 1] > 0.5
    test = logrank(outcome, group)
    assert test.observed["high"] < test.expected["high"]  # fewer are discharged than if all were alike
    assert test.p < 1e-6


def test_one_severely_ill_patient_is_at_high_risk_and_waits_longer():
    patients, _, x = phantom_cohort(PATIENTS)
    model = fit_model(outcome_of(patients, "discharge"), x, ("f00", "age"), about("discharge"))
    mild, severe = (predict(model, np.full(64, severity), Clinical(age=MEAN_AGE)) for severity in (0.1, 0.8))
    assert (mild.group, severe.group) == ("low", "high")
    assert mild.risk < 0 < severe.risk
    assert severe.curve.mean > mild.curve.mean + 3


def test_who_is_at_high_risk_of_death_dies_more():
    """Death is bad: a high hazard is a high risk."""
    patients, severity, x = phantom_cohort(1500)
    outcome = outcome_of(patients, "death")
    model = fit_model(outcome, x, ("f00", "age"), about("death"))
    assert (model.coefficients > 0).all()
    risk = risk_of(model, x)
    group = split(risk, median_cut(risk))
    test = logrank(outcome, group)
    assert test.observed["high"] > 1.3 * test.expected["high"]
    assert test.p < 1e-3
    died = [incidence(outcome[group == name], OF_INTEREST, name).probability[-1] for name in ("low", "high")]
    assert died[1] > 2 * died[0]
    assert severity[group == "high"].mean() > severity[group == "low"].mean()


@pytest.mark.parametrize("end_point", ["discharge", "death"])
def test_risk_has_the_sign_of_what_is_bad_in_every_planted_cohort(end_point):
    """The planted log hazard of the event falls with the risk of a long stay, and rises with that of death.

    Discharge and death swap their roles in the same cohorts, so that only the end point turns the sign.
    """
    rng = np.random.default_rng(37)
    names = ("f00", "f01", "f02", "age", "sex_male", "comorbidity")
    for _ in range(20):
        outcome, x = simulate(rng, PLANTED)
        model = fit_model(outcome, x, names, about(end_point))
        risk = risk_of(model, x)
        assert model.cut == pytest.approx(median_cut(risk), rel=1e-9)
        agreement = np.corrcoef(risk, x @ PLANTED)[0, 1]
        low, high = by_group(outcome, split(risk, model.cut))
        if end_point == "discharge":
            assert agreement < -0.8
            assert high.median > low.median
        else:
            assert agreement > 0.8
            assert high.median < low.median
