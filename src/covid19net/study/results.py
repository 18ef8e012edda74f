"""What goes into a study and what comes out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from covid19net.cohort import DataSource, Patient
from covid19net.errors import InputError
from covid19net.features import Analysis
from covid19net.study.analyses import Failure
from covid19net.study.diagnosis import Diagnosis
from covid19net.study.prognosis import EndPointStudy
from covid19net.study.sets import Options, StudySet
from covid19net.weights import Card


@dataclass(frozen=True)
class Source:
    """Where a study's numbers come from.

    Attributes:
        manifest: CSV with one row a patient.
        features: stored analyses; None reads the scans.
        weights: a set of weights, for scans.
        device: where networks run.
        home: folder of installed weights.
        cache: of converted weights.
        command: that was given, for the record.
    """

    manifest: Path
    features: Path | None = None
    weights: str = "bundled"
    device: str = "auto"
    home: Path | None = None
    cache: Path | None = None
    command: str = ""


@dataclass(frozen=True, eq=False)
class Material:
    """Patients and what the networks said of them.

    Attributes:
        patients: rows of the manifest.
        found: patient_id -> analysis.
        failures: scans that gave no result.
        card: of the diagnosis weights; None where features were stored.
        sha256: of the files that were read: "manifest" and, where they were stored, "features".
        sources: of the patients, as the manifest and the file beside it name them.
    """

    patients: Sequence[Patient]
    found: Mapping[str, Analysis]
    failures: tuple[Failure, ...] = ()
    card: Card | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[DataSource, ...] = ()

    @property
    def demonstration(self) -> bool:
        """Whether patients or weights are synthetic."""
        weights = self.card is not None and self.card.demonstration
        return weights or any(patient.values.get("synthetic") for patient in self.patients)

    @property
    def weights_sha256(self) -> str:
        """Of the diagnosis weights that made all features; "" where that is not known.

        Raises:
            InputError: features of different weights in one study.
        """
        names = {analysis.weights for analysis in self.found.values()}
        if len(names) > 1:
            raise InputError(f"the features come from {len(names)} different weights: one study needs one")
        return names.pop() if names else ""


@dataclass(frozen=True, eq=False)
class Results:
    """All that a study computed.

    Attributes:
        source: where from.
        options: how.
        material: patients and analyses.
        sets: name -> set, the training set first.
        diagnosis: None where nobody has a label.
        prognoses: of discharge first, then of other end points.
        absent: why other parts are not there.
    """

    source: Source
    options: Options
    material: Material
    sets: Mapping[str, StudySet]
    diagnosis: Diagnosis | None
    prognoses: tuple[EndPointStudy, ...]
    absent: tuple[str, ...]
