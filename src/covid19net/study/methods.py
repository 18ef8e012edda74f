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
        )
    if prognoses:
        paragraphs += _prognosis_methods(options)
    return paragraphs


def _prognosis_methods(options: Options) -> list[str]:
    groups = "Patients were divided at the median risk of the training set, and by the same cut elsewhere."
    if options.model != SELECTED:
        groups = f"Risk groups are those of a {procedure_words(options)}. {groups}"
    return [
        f"Prognosis was studied in patients with COVID-19 followed for more than {FEWEST_DAYS:g} days. The "
        "end point is the time from diagnosis to discharge; a high hazard of discharge is a short stay, "
        "so risk is minus the linear predictor. From 64 DL features, age, sex and any comorbidity, "
        f"covariates were chosen by {selection_words(options.procedure)} on the set {options.training!r} "
        "and entered into a multivariate Cox proportional hazards model (ties after Efron). Proportional "
        f"hazards were tested on scaled Schoenfeld residuals. {groups} Groups were compared by "
        "Kaplan-Meier curves and the log-rank test, the predictor by Harrell's concordance with an "
        "infinitesimal-jackknife interval and by cumulative/dynamic AUC with inverse probability of "
        "censoring weights.",
        "Death ends a stay without discharge: in the analyses above it counts as censored, as in the "
        "paper; beside them stand cumulative incidences after Aalen and Johansen and cause-specific Cox "
        "models, in which it competes.",
        _optimism_methods(options),
    ]


def _optimism_methods(options: Options) -> str:
    if not options.draws or options.model != SELECTED:
        return "The optimism of the training concordance was not estimated."
    return (
        f"The whole procedure, selection included, was repeated on {options.draws} bootstrap samples to "
        "estimate the optimism of the training concordance (Harrell)."
    )
