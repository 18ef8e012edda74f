"""A case made up by hand: two box lungs in a box chest, heat in the right one."""

import numpy as np

from covid19net.diagnose import Decision
from covid19net.explain import map_evidence
from covid19net.pipeline import CaseResult, Clinical
from covid19net.quantify import quantify
from covid19net.volume import Box, CTVolume, Finding, Overlay, Scan

AFFINE = np.array([[0, 0, 1.5, -96], [0, 1.5, 0, -80], [5.0, 0, 0, -200], [0, 0, 0, 1]])


def made_up_case(*findings: Finding) -> CaseResult:
    hu = np.full((40, 110, 130), 40, np.int16)
    lungs, heat = np.zeros(hu.shape, np.uint8), np.zeros(hu.shape, np.uint8)
    for side, columns in ((1, slice(15, 55)), (2, slice(75, 115))):
        hu[5:35, 20:90, columns] = -850
        lungs[5:35, 20:90, columns] = side
    heat[5:35, 60:80, 20:45] = 100
    card = {"name": "made-up", "sha256": "0" * 64}
    known = all(f.code != "orientation-unknown" for f in findings)
    volume, box = CTVolume(hu, AFFINE), Box((5, 20, 15), (35, 90, 115))
    return CaseResult(
        probability=0.37,
        decision=Decision("negative", 0.8),
        features=np.linspace(-1, 1, 64, dtype=np.float32),
        lungs=Overlay(lungs, AFFINE),
        sides_known=known,
        lung_millilitres=(2500.0, 2300.0),
        quantification=quantify(volume, Overlay(lungs, AFFINE), sides_known=known),
        heatmap=Overlay(heat, AFFINE),
        map_evidence=map_evidence(
            Overlay(heat, AFFINE), Overlay(lungs, AFFINE), volume, box, sides_known=known
        ),
        box=box,
        findings=findings,
        scan=Scan(volume, {"series_uid": "1.2.3"}),
        clinical=Clinical(age=61, sex="F", comorbidity=False),
        provenance={"version": "0", "weights": {"lungs": card, "diagnosis": card}},
        seconds={"lungs": 1.0},
    )
