"""How the scans of a batch are analyzed, and what of that decides their results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
import json
from pathlib import Path
from typing import Literal, get_args

from covid19net import __version__
from covid19net.errors import InputError
from covid19net.prognosis.model_file import find_model, model_sha256
from covid19net.weights import find_set

Keep = Literal["result", "maps", "all"]
KEPT: tuple[Keep, ...] = get_args(Keep)
RECIPE = 2  # raise it when the same inputs are to be analyzed anew within one version


@dataclass(frozen=True)
class Plan:
    """How a batch is done, the same for every worker.

    Attributes:
        out: folder of the results, which every worker reaches.
        weights: "bundled", the name of an installed set, or a folder.
        home: folder of installed sets.
        cache: where converted weights go whose own folder cannot be written.
        device: "cpu", "cuda", "mps" or "torch-cpu".
        prognosis: "bundled", "none", or a file.
        every_slice: segment every slice.
        full_evidence: check also whether the heat map is stable.
        allow_irregular: read irregular series.
        keep: of each case "result" (result.json), "maps" (and both NIfTI files) or "all" (and report).
        pdf: the report as PDF too, with keep "all".
        dicom: DICOM results too, with keep "all".
        retry_failed: analyze scans again that failed before.
        verify: hash every input again, also where files look untouched.
        threads: of the CPU for each worker's networks.
        together: scans each worker has in hand.
        headers: HTTP headers for DICOMweb; never written or shown.
    """

    out: Path
    weights: str = "bundled"
    home: Path | None = None
    cache: Path | None = None
    device: str = "cpu"
    prognosis: str = "bundled"
    every_slice: bool = False
    full_evidence: bool = True
    allow_irregular: bool = False
    keep: Keep = "all"
    pdf: bool = False
    dicom: bool = False
    retry_failed: bool = False
    verify: bool = False
    threads: int = 1
    together: int = 2
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.keep not in KEPT:
            raise InputError(f"keep {self.keep!r}: choose {', '.join(KEPT)}")
        if self.keep != "all" and (self.pdf or self.dicom):
            raise InputError(f"PDF and DICOM results are written with all files only, not with {self.keep!r}")
        if self.threads < 1 or self.together < 1:
            raise InputError("a worker needs at least one thread and one scan in hand")

    @property
    def on_cpu(self) -> bool:
        """Whether the networks take the cores that everything else takes too."""
        return self.device in ("cpu", "torch-cpu")


def identity_of(plan: Plan) -> str:
    """All that decides a result beside the scan and its patient, as one text; the networks are not opened.

    Raises:
        WeightsError: unknown or damaged weights, or prognostic model.
    """
    weights, prognostic = find_set(plan.weights, plan.home), find_model(plan.prognosis)
    names = ("device", "every_slice", "full_evidence", "allow_irregular", "keep", "pdf", "dicom")
    facts = {
        "recipe": RECIPE,
        "version": __version__,
        "lungs": weights.lungs.card.sha256,
        "diagnosis": weights.diagnosis.card.sha256,
        "cards": [weights.lungs.card.options, weights.diagnosis.card.options],
        "prognosis": None if prognostic is None else model_sha256(prognostic),
        "options": {name: getattr(plan, name) for name in names},
    }
    return json.dumps(facts, sort_keys=True)
