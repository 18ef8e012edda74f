"""Methods text of a study, ready for a paper, from what was really done."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from platform import python_version

from covid19net import __version__
from covid19net.cohort import FEWEST_DAYS
from covid19net.prognosis.stepwise import Procedure
from covid19net.study.diagnosis import Diagnosis
from covid19net.study.prognosis import SELECTED, EndPointStudy
from covid19net.study.sets import Options, StudySet

LIBRARIES = ("numpy", "scipy", "pandas", "lifelines", "matplotlib")
CRITERIA = {
    "aic": "Akaike's information criterion",
    "bic": "the Bayesian information criterion",
    "p": "likelihood-ratio tests",
}
DIRECTIONS = {
    "forward": "forward selection",
    "backward": "backward elimination",
    "both": "stepwise selection in both directions",
}


def versions() -> dict[str, str]:
    """Package and library versions that numbers depend on."""
    return {
        "covid19net": __version__,
        "python": python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def selection_words(procedure: Procedure) -> str:
    """The selection in words."""
    return f"{DIRECTIONS[procedure.direction]} by {CRITERIA[procedure.criterion]}"


def procedure_words(options: Options) -> str:
    """How the model of the risk groups was made, in words."""
    if options.model == SELECTED:
        return f"Cox model of covariates chosen by {selection_words(options.procedure)}"
    return "ridge-penalised Cox model of all covariates, penalty by ten-fold cross-validation"


def methods(
    sets: Mapping[str, StudySet],
    diagnosis: Diagnosis | None,
    prognoses: Sequence[EndPointStudy],
    options: Options,
) -> list[str]:
    """Paragraphs on images, diagnosis, prognosis and statistics."""
    counts = ", ".join(f"{name}: {len(part.patients)}" for name, part in sets.items())
    paragraphs = [
        "Each chest CT was turned into a COVID-19 probability and 64 deep-learning (DL) features by "
        "COVID-19Net, a 3-D DenseNet of 0.89 million parameters on the lung image (Wang et al., Eur "
        "Respir J 2020;56:2000775): lungs found by DenseNet121-FPN or given as masks, cut out, HU outside "
        "them limited to the lungs' mean ± 4 standard deviations, resized by cubic splines to 48 x 240 x "
        f"360 voxels and standardized. Patients with a result: {counts}."
    ]
    if diagnosis is not None:
        paragraphs.append(
            f"A scan was called positive above {diagnosis.threshold:.4g} ({diagnosis.threshold_origin}). "
            "Areas under the ROC curve have DeLong intervals on the logit scale and percentile bootstrap "
            "intervals stratified by class; paired areas were compared by DeLong's test, scores of the "
            "groups by the Mann-Whitney test. Proportions have Wilson intervals. Calibration was measured "
            "by the Brier score, calibration intercept and slope, clinical use by decision curves."
            + _baseline_methods(diagnosis, options)
        )
    if prognoses:
        paragraphs += _prognosis_methods(prognoses, options)
    return paragraphs


def _baseline_methods(diagnosis: Diagnosis, options: Options) -> str:
    if diagnosis.baseline is None:
        return ""
    return (
        f" The baseline is a logistic regression (ridge {diagnosis.baseline.ridge:g}) on "
        f"{len(diagnosis.baseline.names)} statistics of the lungs' HU, fitted on the set "
        f"{options.training!r}."
    )


def _prognosis_methods(prognoses: Sequence[EndPointStudy], options: Options) -> list[str]:
    groups = "Patients were divided at the median risk of the training set, and by the same cut elsewhere."
    if options.model != SELECTED:
        groups = f"Risk groups are those of a {procedure_words(options)}. {groups}"
    paragraphs = [
        f"Prognosis was studied in patients with COVID-19 followed for more than {FEWEST_DAYS:g} days. "
        f"{_end_points([study.end_point for study in prognoses])} From 64 DL features, age, sex and any "
        f"comorbidity, covariates were chosen by {selection_words(options.procedure)} on the set "
        f"{options.training!r} and entered into a multivariate Cox proportional hazards model (ties after "
        f"Efron). Proportional hazards were tested on scaled Schoenfeld residuals. {groups} Groups were "
        "compared by Kaplan-Meier curves, restricted means and the log-rank test, the predictor by Harrell's "
        "concordance with an infinitesimal-jackknife interval and by cumulative/dynamic AUC with inverse "
        "probability of censoring weights. Beside it stand a Cox model of age, sex and comorbidity and a "
        "ridge-penalised one of all covariates, with the penalty of a ten-fold cross-validation."
    ]
    if any(judged.incidences for study in prognoses for judged in study.sets.values()):
        paragraphs.append(
            "What ends a stay without the event (death before discharge; discharge or death before "
            "another event) counts as censored in the analyses above, as in the paper; beside them stand "
            "cumulative incidences after Aalen and Johansen with Gray's test and cause-specific Cox "
            "models, in which it competes."
        )
    if any(study.end_point != "discharge" for study in prognoses):
        paragraphs.append(
            f"As only patients followed for more than {FEWEST_DAYS:g} days were studied, what is said of "
            "end points other than discharge holds for who stays so long: nobody could die or leave before."
        )
    return [*paragraphs, _optimism_methods(prognoses)]


def _end_points(names: Sequence[str]) -> str:
    said = f"The end point is the time from diagnosis to {names[0]}."
    if len(names) > 1:
        said = f"The end points are the times from diagnosis to {', '.join(names[:-1])} and {names[-1]}."
    if "discharge" in names:
        said += " A high hazard of discharge is a short stay, so its risk is minus the linear predictor."
    if set(names) != {"discharge"}:
        said += " Where the event is bad, risk is the linear predictor itself."
    return said


def _optimism_methods(prognoses: Sequence[EndPointStudy]) -> str:
    found = [study for study in prognoses if study.optimism is not None]
    if not found or found[0].optimism is None:
        return "The optimism of the training concordance was not estimated."
    return (
        f"The whole procedure, selection included, was repeated on {found[0].optimism.draws} bootstrap "
        f"samples to estimate the optimism of the training concordance (Harrell), {found[0].end_point}"
        f"{'' if len(found) == len(prognoses) else '; for the other end points it was not estimated'}."
    )
