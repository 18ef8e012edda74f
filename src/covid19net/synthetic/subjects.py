"""One patient of a synthetic cohort: drawn, scanned, and everything that was planted."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from covid19net import __version__
from covid19net.cohort import COMORBIDITIES
from covid19net.errors import InputError
from covid19net.phantom import PhantomCase, Scanner, draw_patient, scan_lungs, scan_patient
from covid19net.phantom.anatomy import CANCER
from covid19net.phantom.centres import CENTRES, Plan, centre_scanner
from covid19net.phantom.clinical import SEVERE, Chart, Stay, draw_chart, draw_stay
from covid19net.phantom.lesions import CONSOLIDATION, GROUND_GLASS, NODULE
from covid19net.phantom.pneumonias import OTHERS, log_likelihood_ratio
from covid19net.phantom.tumour import STATUSES

Grid = Literal["lungs", "whole"]
Form = Literal["nifti", "dicom"]
IN_PLANE = (240, 360)  # voxels (y, x) of a scan of the lungs alone: those of the diagnosis network's image
MOST_SLICES = 48
LUNG_HEIGHT = 260.0  # mm; about the height of an adult's lungs, for the number of slices
MADE_BY = f"covid19net.phantom {__version__}: no real person"
WOMEN_WITH_MUTATION = (0.61, 0.40)  # share of women with and without; odds ratio 2.33 (Herrera Ortiz 2022)


@dataclass(frozen=True)
class Options:
    """How a cohort is made.

    Attributes:
        seed: equal seeds and options give equal cohorts.
        grid: "lungs" scans the box around the lungs at the size that training needs, "whole" the whole chest.
        form: of the scans.
        confounder: chance that the label chooses the slice thickness, see `centre_scanner`.
    """

    seed: int = 0
    grid: Grid = "lungs"
    form: Form = "nifti"
    confounder: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.confounder <= 1:
            raise InputError(f"the confounder's strength lies between 0 and 1, got {self.confounder}")


@dataclass(frozen=True, eq=False)
class Subject:
    """One patient of a cohort with everything that is known of them.

    Attributes:
        plan: place in the cohort.
        case: the scan and its masks.
        scanner: how it was made.
        chart: clinical row.
        stay: follow-up, None where there is none.
    """

    plan: Plan
    case: PhantomCase
    scanner: Scanner
    chart: Chart
    stay: Stay | None

    @property
    def patient_id(self) -> str:
        """Centre and number; it does not name the class."""
        return f"{self.plan.centre.name.lower()}-{self.plan.number:07d}"


def draw_subject(plan: Plan, options: Options) -> Subject:
    """Draw a patient of a cohort and scan them; seed and number alone decide."""
    rng = np.random.default_rng([options.seed, plan.number])
    egfr = plan.kind if plan.kind in STATUSES else None
    women = WOMEN_WITH_MUTATION[STATUSES.index(egfr)] if egfr else plan.centre.women
    chart = draw_chart(rng, women, plan.centre.age)
    ill = plan.kind in ("covid", "mutant")
    scanner = centre_scanner(rng, plan.centre, ill=ill, confounder=options.confounder)
    disease = CANCER if egfr else plan.kind
    patient = draw_patient(rng, disease=disease, sex=chart.sex, age=chart.age, egfr=egfr)
    fate = np.random.default_rng([options.seed, plan.number, 1])  # the scan must not depend on follow-up
    stay = draw_stay(fate, patient.disease.severity, chart) if plan.followed else None
    if options.grid == "whole":
        case = scan_patient(patient, scanner, rng)
    else:
        height = LUNG_HEIGHT * patient.shape.scale[2]
        count = min(MOST_SLICES, round(height / scanner.spacing))
        case = scan_lungs(patient, scanner, rng, (count, *IN_PLANE), thickness=scanner.thickness)
    return Subject(plan, case, scanner, chart, stay)


def others_of(plan: Plan) -> dict[str, int]:
    """Pneumonias without COVID-19 of a patient's set; those of the whole cohort where the set has none."""
    for chosen in ([c for c in CENTRES if c.set == plan.centre.set], list(CENTRES)):
        counts = {name: sum(c.classes.get(name, 0) for c in chosen) for name in OTHERS}
        if any(counts.values()):
            return counts
    return {}


def best_score(subject: Subject) -> float:
    """The score no reader of the picture can beat: log likelihood ratio of the patient's class as planted.

    Of COVID-19 against the other pneumonias of the patient's set, in the numbers of the whole cohort; or of
    the mutation against the wild type, from the tumour and from the sex, which shapes the chest. A planted
    confounder gives more away.
    """
    disease = subject.case.patient.disease
    if subject.plan.kind in STATUSES:
        mutant, wild = (w if subject.chart.sex == "F" else 1 - w for w in WOMEN_WITH_MUTATION)
        return disease.log_odds + float(np.log(mutant / wild))
    return log_likelihood_ratio(str(disease.pattern), others_of(subject.plan))


def truth_of(subject: Subject, options: Options) -> dict[str, Any]:
    """Everything planted, as plain values; volumes in ml, lengths in mm."""
    case, scanner, disease = subject.case, subject.scanner, subject.case.patient.disease
    ml = float(np.prod(case.volume.spacing)) / 1000
    lesions = np.bincount(case.lesions.values.ravel(), minlength=4)
    lung = int((case.lungs.values > 0).sum())
    stay = subject.stay
    return {
        "synthetic": MADE_BY,
        "patient_id": subject.patient_id,
        "seed": options.seed,
        "number": subject.plan.number,
        "grid": options.grid,
        "confounder": options.confounder,
        "class": subject.plan.kind,
        "pattern": disease.pattern,
        "severity": round(disease.severity, 4),
        "best_score": round(best_score(subject), 4),
        "lung_ml": round(lung * ml, 1),
        "ground_glass_ml": round(float(lesions[GROUND_GLASS]) * ml, 2),
        "consolidation_ml": round(float(lesions[CONSOLIDATION]) * ml, 2),
        "nodule_ml": round(float(lesions[NODULE]) * ml, 2),
        "thickness": scanner.thickness,
        "spacing": scanner.spacing,
        "kernel": "sharp" if scanner.sharpen else "soft",
        "noise": round(scanner.noise, 1),
        "contrast": bool(scanner.enhancement[0]),
        "age": subject.chart.age,
        "sex": subject.chart.sex,
        "comorbidities": sorted(subject.chart.comorbidities),
        "predictor": None if stay is None else round(stay.predictor, 4),
        "days": None if stay is None else stay.days,
        "discharged": None if stay is None else stay.discharged,
        "died": None if stay is None else stay.died,
        "icu_days": None if stay is None else stay.icu_days,
        "ventilated_days": None if stay is None else stay.ventilated_days,
    }


def manifest_row(plan: Plan, truth: dict[str, Any], scan: str, folder: str) -> dict[str, object]:
    """The patient's row of the manifest: what a hospital would know, nothing that was planted."""
    kind, centre = plan.kind, plan.centre
    covid = kind == "covid"
    row: dict[str, object] = {
        "patient_id": truth["patient_id"],
        "scan": scan,
        "lungs": f"{folder}/lungs.nii.gz",
        "centre": centre.name,
        "set": centre.set,
        "label": "" if kind in STATUSES else "covid" if covid else "other",
        "type": "" if kind in STATUSES else kind,
        "egfr": kind if kind in STATUSES else "",
        "age": truth["age"],
        "sex": truth["sex"],
        "thickness": truth["thickness"],
        "kernel": truth["kernel"],
        "vendor": f"synthetic {centre.vendor}",
        "severity": ("severe" if truth["severity"] > SEVERE else "mild") if covid else "",
        "synthetic": 1,
    }
    has = set(truth["comorbidities"])
    known = centre.comorbidity
    row["comorbidity"] = int(bool(has)) if known else "NA"
    row |= {name: int(name in has) if known else "NA" for name in COMORBIDITIES}
    for column in ("days", "discharged", "died"):
        value = truth[column]
        row[column] = "" if value is None else int(value) if isinstance(value, bool) else value
    for event in ("icu", "ventilated"):
        days = truth[f"{event}_days"]
        row[event] = int(days is not None) if plan.followed else ""
        row[f"{event}_days"] = "" if days is None else days
    return row
