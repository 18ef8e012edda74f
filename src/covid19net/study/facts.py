"""What a study's own records answer of the reporting checklists; the keys are those of `checklist.FACTS`."""

from collections.abc import Mapping, Sequence

import numpy as np

from covid19net.cohort import FEWEST_DAYS
from covid19net.prognosis.outcome import COMPETING
from covid19net.study.diagnosis import Diagnosis
from covid19net.study.judged import BOTH, COMPETITORS
from covid19net.study.methods import selection_words, versions
from covid19net.study.prognosis import EndPointStudy
from covid19net.study.results import Results
from covid19net.study.tables import percent, ratio


def facts_of(results: Results) -> Mapping[str, str]:
    """Answers to checklist items that the software knows."""
    facts = _cohort(results) | _software(results)
    measures = []
    if results.diagnosis is not None:
        facts |= _diagnosis(results.diagnosis, results.options.training)
        measures.append(_diagnosis_measures(results.diagnosis))
    if results.prognoses:
        facts |= _prognosis(results, results.prognoses[0])
        measures.append(_prognosis_measures(results.prognoses))
    return facts | {"measures": "; ".join(filter(None, measures))}


def _cohort(results: Results) -> dict[str, str]:
    material, sets = results.material, results.sets
    values = [patient.values for patient in material.patients]
    centres = sorted({str(v["centre"]) for v in values if "centre" in v})
    thickness = [float(str(v["thickness"])) for v in values if "thickness" in v]
    vendors = sorted({str(v["vendor"]) for v in values if "vendor" in v})
    facts = {
        "partitions": f"Column set of the manifest, by patient: {', '.join(sets)}; {_once(results)}.",
        "sizes": "; ".join(f"{name}: {len(part.patients)} patients" for name, part in sets.items()),
        "excluded": f"{len(material.found)} of {len(material.patients)} patients analyzed; "
        f"{len(material.failures)} left out, each with its reason in the report.",
        "characteristics": "Table 1.",
        "set_differences": "Table 1.",
        "label": "Column label of the manifest: covid or other.",
        "deidentified": "The study keeps ids of the manifest, no names and no headers.",
        "missing": f"Missing age, sex or comorbidity: {results.options.missing}; nothing else is ever "
        f"filled in.",
    }
    if centres:
        facts["centres"] = f"{len(centres)}: {', '.join(centres)}."
    if thickness:
        said = f"Slice thickness {min(thickness):g} to {max(thickness):g} mm"
        facts["acquisition"] = said + (f"; vendors {', '.join(vendors)}." if vendors else ".")
    return facts


def _once(results: Results) -> str:
    """What is known of patients and scans that stand twice; scans are not compared with each other."""
    if results.source.features is not None:
        return "no patient_id stands twice; scans were not read, one person under two ids is not seen"
    return "no patient_id and no path of a scan stands twice; the scans were not compared with each other"


def _software(results: Results) -> dict[str, str]:
    material = results.material
    card = material.card
    facts = {
        "software": ", ".join(f"{name} {number}" for name, number in versions().items()),
        "weights": f"Diagnosis weights SHA-256 {material.weights_sha256[:12] or 'not known'} (Methods).",
        "code": f"covid19net {versions()['covid19net']}, Apache-2.0.",
        "preprocessing": "Lung box, HU outside the lungs limited to their mean ± 4 sd, 48 x 240 x 360 "
        "voxels by cubic splines, standardized (Wang et al. 2020).",
        "diagnosis_model": "COVID-19Net, 3-D DenseNet, 894,545 parameters; in: lung image; out: "
        "probability and 64 features.",
        "ensemble": "None.",
        "bad_input": "Scans that are no chest CT in HU, are incomplete or hold no lungs are refused with a "
        "reason.",
        "updating": "None in this study; `covid19net prognosis recalibrate` learns a new hospital's "
        "baseline hazard.",
    }
    if card is not None:
        facts["training"] = f"Command: {card.training_command or 'not known'}. Data: {card.training_data}."
        facts["initialisation"] = f"Weights {card.name}: {card.origin}."
    return facts


def _diagnosis(diagnosis: Diagnosis, training: str) -> dict[str, str]:
    measured = diagnosis.sets.items()
    others = [name for name, m in measured if training not in (name, m.part.derived_from)]
    calibrations = {name: m.performance.calibration for name, m in measured}
    covariates = list(dict.fromkeys(one.covariate for m in diagnosis.sets.values() for one in m.strata))
    strata = f"Tables of strata by {', '.join(covariates)}." if covariates else ""
    baseline = "a density baseline" if diagnosis.baseline is not None else ""
    robust = list(filter(None, ("other thresholds", baseline, "strata" if covariates else "")))
    return {
        "threshold": f"Positive above {diagnosis.threshold:.4g}, {diagnosis.threshold_origin}.",
        "performance": "; ".join(
            f"{name}: AUC {ratio(m.performance.auc)}, sensitivity "
            f"{percent(m.performance.point.sensitivity)} %, specificity "
            f"{percent(m.performance.point.specificity)} %"
            for name, m in measured
        ),
        "calibration": "; ".join(
            f"{name}: Brier {ratio(c.brier)}, intercept {ratio(c.in_the_large)}"
            for name, c in calibrations.items()
            if c is not None
        ),
        "strata": strata,
        "external": f"Sets not used for threshold or prognosis: {', '.join(others) or 'none'}.",
        "robustness": f"Reported: {', '.join(robust)}.",
    }


def _diagnosis_measures(diagnosis: Diagnosis) -> str:
    calibrated = any(m.performance.calibration is not None for m in diagnosis.sets.values())
    return (
        "AUC (DeLong and bootstrap), accuracy, sensitivity, specificity, PPV, NPV (Wilson), Mann-Whitney, "
        f"{'calibration, ' if calibrated else ''}decision curves"
    )


def _prognosis_measures(prognoses: Sequence[EndPointStudy]) -> str:
    judged = [one for study in prognoses for one in study.sets.values()]
    made = {
        "concordance": any(one.concordance is not None for one in judged),
        "log-rank": any(one.test is not None for one in judged),
        "hazard ratios": any(study.table is not None for study in prognoses),
        "AUC by day": any(one.timed for one in judged),
        "cumulative incidence": any(one.incidences for one in judged),
        "Gray's test": any(one.gray is not None for one in judged),
    }
    return ", ".join(name for name, done in made.items() if done)


def _prognosis(results: Results, study: EndPointStudy) -> dict[str, str]:
    competes = any((judged.followed.outcome.cause == COMPETING).any() for judged in study.sets.values())
    rival = COMPETITORS.get(study.end_point, BOTH)
    followed = {name: judged.followed.outcome for name, judged in study.sets.items()}
    chosen = ", ".join(study.selection.names) or "none"
    facts = {
        "outcome": f"Days from diagnosis to {study.end_point}, patients with COVID-19 followed for more than "
        f"{FEWEST_DAYS:g} days; censored when last seen; {rival if competes else 'no other event'} competes.",
        "predictors": f"64 DL features, age, sex, any comorbidity; {study.support}.",
        "selection": f"Covariates by {selection_words(results.options.procedure)} on the training set.",
        "prognosis_model": f"Cox model; selected: {chosen}.",
        "follow_up": "; ".join(
            f"{name}: {int(o.event.sum())} events of {o.size}, median follow-up "
            f"{float(np.median(o.time)):.1f} days"
            for name, o in followed.items()
        ),
    }
    if study.optimism is not None:
        facts["internal_validation"] = (
            f"{study.optimism.draws} bootstrap draws of the whole procedure: concordance "
            f"{study.optimism.apparent.value:.2f} as it looks, {study.optimism.corrected:.2f} corrected."
        )
    return facts
