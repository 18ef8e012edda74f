"""The sets of a study: who belongs to each, with what the networks said of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from covid19net.cohort import Patient, is_followed
from covid19net.cohort.missing import Bands, Missing
from covid19net.density import NAMES
from covid19net.errors import InputError
from covid19net.features import Analysis
from covid19net.prognosis.outcome import END_POINTS
from covid19net.prognosis.stepwise import Procedure

WHOLE_TABLE = "all"  # name of the only set of a manifest without the column
VIRAL = "viral"


@dataclass(frozen=True)
class Options:
    """How a study is made.

    Attributes:
        training: set on which threshold, baseline and prognosis are made; the others only judge them.
        threshold: "youden" (of the training set), "card" (of the weights), "released" (0.8), or a number.
        procedure: of the stepwise selection.
        model: which Cox model makes the risk groups: of the selected covariates, as in the paper, or the
            penalised one of all.
        draws: of the bootstrap of the whole selection; 0 leaves it out.
        missing: what happens to patients without age, sex or comorbidity: "refuse", "exclude" or "median".
        age_band: what happens where an age is known as a band only: "refuse" counts it as missing, "middle"
            takes the middle of the band.
        end_points: beside discharge, those of them that the manifest knows.
        seed: of every bootstrap.
        workers: processes of the bootstrap, threads that read scans.
    """

    training: str = "training"
    threshold: str | float = "youden"
    procedure: Procedure = field(default_factory=Procedure)
    model: Literal["selected", "penalised"] = "selected"
    draws: int = 200
    missing: Missing = "refuse"
    age_band: Bands = "refuse"
    end_points: tuple[str, ...] = tuple(name for name in END_POINTS if name != "discharge")
    seed: int = 0
    workers: int = 1


@dataclass(frozen=True, eq=False)
class StudySet:
    """Patients of one set; every array has the axis (patient,) first.

    Attributes:
        name: value of the column "set".
        patients: rows of the manifest that have an analysis.
        probability: of COVID-19, (patient,).
        features: DL features, (patient, 64).
        density: statistics of the HU, (patient, 9), or None where one of them is not known.
        derived_from: name of the set this is a part of; None for a set of the manifest.
    """

    name: str
    patients: tuple[Patient, ...]
    probability: np.ndarray
    features: np.ndarray
    density: np.ndarray | None
    derived_from: str | None = None

    def __getitem__(self, chosen: np.ndarray) -> "StudySet":
        """Part of the set, by bool array."""
        return StudySet(
            self.name,
            tuple(p for p, keep in zip(self.patients, chosen, strict=True) if keep),
            self.probability[chosen],
            self.features[chosen],
            None if self.density is None else self.density[chosen],
        )

    @property
    def label(self) -> np.ndarray:
        """Whether each patient has COVID-19, bool; only of a set in which everybody has a label."""
        return np.array([p.values["label"] == "covid" for p in self.patients], bool)

    def labelled(self) -> "StudySet":
        """Those with a label."""
        return self[np.array(["label" in p.values for p in self.patients], bool)]

    def followed(self) -> "StudySet":
        """Those with COVID-19 (or without a label) and follow-up of more than five days."""
        return self[np.array([is_followed(p) for p in self.patients], bool)]

    def viral(self) -> "StudySet | None":
        """COVID-19 against viral pneumonia alone, as "2-viral" of the paper; None where that is no choice."""
        part = self.labelled()
        other = np.array([p.values["label"] == "other" for p in part.patients], bool)
        viral = other & np.array([p.values.get("type") == VIRAL for p in part.patients], bool)
        if not viral.any() or (viral == other).all() or other.all():
            return None
        chosen = part[viral | ~other]
        return StudySet(f"{self.name}-viral", chosen.patients, *_arrays(chosen), derived_from=self.name)


def _arrays(part: StudySet) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    return part.probability, part.features, part.density


def study_sets(
    patients: Sequence[Patient], found: Mapping[str, Analysis], training: str
) -> dict[str, StudySet]:
    """Divide the analyzed patients into their sets, the training set first.

    Args:
        patients: rows of the manifest.
        found: patient_id -> analysis.
        training: name of the training set.

    Raises:
        InputError: nobody of the training set was analyzed, with the names of the sets there are.
    """
    members: dict[str, list[Patient]] = {}
    for patient in patients:
        if patient.patient_id in found:
            members.setdefault(str(patient.values.get("set", WHOLE_TABLE)), []).append(patient)
    if training not in members:
        there = ", ".join(map(repr, members))
        raise InputError(f"no patient of the set {training!r} to learn from; there are {there} (--training)")
    order = [training, *(name for name in members if name != training)]
    return {name: _study_set(name, members[name], found) for name in order}


def _study_set(name: str, members: Sequence[Patient], found: Mapping[str, Analysis]) -> StudySet:
    analyses = [found[patient.patient_id] for patient in members]
    density = None
    if all(set(NAMES) <= analysis.density.keys() for analysis in analyses):
        density = np.array([[analysis.density[column] for column in NAMES] for analysis in analyses])
    return StudySet(
        name,
        tuple(members),
        np.array([analysis.probability for analysis in analyses]),
        np.stack([analysis.features for analysis in analyses]),
        density,
    )
