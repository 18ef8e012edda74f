"""A made-up cohort with planted truth: f07 lengthens the stay and calls for intensive care, f21 shortens."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from covid19net.cohort import Patient, read_manifest, write_table
from covid19net.features import DENSITY, Analysis, write_features
from covid19net.prognosis.stepwise import Procedure
from covid19net.study.results import Source
from covid19net.study.sets import Options, StudySet, study_sets

SIZES = {"validation 1": 60, "training": 160, "validation 3": 60}  # the training set is not the first
LONGER, SHORTER = 7, 21  # features with an effect on the hazard of discharge
OPTIONS = Options(procedure=Procedure(most=3), draws=2, end_points=("icu", "ventilation"))
WEIGHTS = "ab" * 32

Row = dict[str, object]


def cohort(seed: int = 11, *, synthetic: bool = False) -> tuple[list[Row], dict[str, Analysis]]:
    """Rows of a manifest, and what a network would have said of each; two patients in three have COVID-19."""
    rng = np.random.default_rng(seed)
    rows, found = [], {}
    for name, count in SIZES.items():
        for i in range(count):
            patient_id = f"{name[:1]}{name[-1]}-{i:03d}"
            covid = i % 3 != 2
            features = rng.normal(size=64)
            chance = 1 / (1 + np.exp(-(1.2 if covid else -1.2) - rng.normal()))
            density = dict(zip(DENSITY, rng.normal(size=len(DENSITY)).tolist(), strict=True))
            found[patient_id] = Analysis(float(chance), features, 1.0, density, (), WEIGHTS)
            row: Row = {"patient_id": patient_id, "set": name, "centre": f"centre {i % 4}"}
            row |= {"label": "covid" if covid else "other", "type": "covid" if covid else _type(i)}
            row |= {"age": int(rng.integers(20, 85)), "sex": "FM"[i % 2], "comorbidity": i % 5 == 0}
            row |= {"thickness": (1.0, 5.0)[i % 2], "kernel": ("soft", "sharp")[i % 4 > 1]}
            row |= {"vendor": "made up", "severity": ("mild", "severe")[i % 4 == 0] if covid else ""}
            row |= {"synthetic": "yes" if synthetic else "no"}
            rows.append(row | _follow_up(rng, features, covid=covid))
    return rows, found


def _type(number: int) -> str:
    return ("viral", "bacterial")[number % 2]


def _follow_up(rng: np.random.Generator, features: np.ndarray, *, covid: bool) -> Row:
    names = ("days", "discharged", "died", "icu", "icu_days")
    if not covid:
        return dict.fromkeys(names, "")
    longer, shorter = features[LONGER], features[SHORTER]
    stay = 6 + 18 * (rng.exponential() * np.exp(1.2 * longer - 0.9 * shorter)) ** 0.5
    death, end = 6 + rng.exponential(150), rng.uniform(20, 60)
    days = round(float(min(stay, death, end)), 1)
    care = 1 + rng.exponential(60) * np.exp(-1.2 * longer)
    icu = care < days
    return {
        "days": days,
        "discharged": stay <= min(death, end),
        "died": death < min(stay, end),
        "icu": icu,
        "icu_days": round(float(care), 1) if icu else "",
    }


def written(folder: Path, rows: Sequence[Row], found: dict[str, Analysis]) -> Source:
    """Manifest and stored features of a cohort on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = write_table(folder / "manifest.csv", rows)
    people = [Patient(str(row["patient_id"]), 0) for row in rows]
    return Source(manifest, write_features(people, found, folder / "features.csv"), command="made by hand")


def sets_of(folder: Path, rows: Sequence[Row], found: dict[str, Analysis]) -> dict[str, StudySet]:
    """The sets of a cohort, its manifest read and checked."""
    source = written(folder, rows, found)
    return study_sets(read_manifest(source.manifest, needs=["patient_id"]), found, "training")
