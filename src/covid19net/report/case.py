"""A case on disk: result.json, lungs.nii.gz, heatmap.nii.gz, montage.png."""

from concurrent.futures import ThreadPoolExecutor
import json
from pathlib import Path
import shutil
import tempfile
from typing import Any

from covid19net.io import write_volume
from covid19net.io.files import write_fault
from covid19net.pipeline import CaseResult
from covid19net.report.montage import INTENDED_USE, montage

SCHEMA = "covid19net-result/1.1"
FILES = ("lungs.nii.gz", "heatmap.nii.gz", "montage.png", "result.json")
UPRIGHT = "on the CT's grid turned upright (x to the left, y to the back, z to the head)"


def case_record(result: CaseResult) -> dict[str, Any]:
    """The result as plain values for JSON; nothing in it names a person or a file.

    Units: millimetres, millilitres, seconds, years; affines go from indices (z, y, x) to LPS. The feature
    distance is null where the weights know nothing of their training images.
    """
    volume = result.scan.volume
    right, left = result.lung_millilitres
    clinical = result.clinical
    labels = "1 right lung, 2 left lung" if result.sides_known else "1 lung; sides are not known"
    return {
        "schema": SCHEMA,
        "intended_use": INTENDED_USE,
        "probability": result.probability,
        "decision": {"call": result.decision.call, "threshold": result.decision.threshold},
        "findings": [{"code": f.code, "message": f.message} for f in result.findings],
        "lung_millilitres": {
            "right": round(right, 1) if result.sides_known else None,
            "left": round(left, 1) if result.sides_known else None,
            "both": round(right + left, 1),
        },
        "features": [float(f"{value:.7g}") for value in result.features.tolist()],
        "feature_distance": result.feature_distance and result.feature_distance._asdict(),
        "scan": dict(result.scan.headers),
        "geometry": {
            "shape_zyx": list(volume.shape),
            "spacing_mm_zyx": [round(s, 6) for s in volume.spacing],
            "affine_zyx_to_lps_mm": volume.affine.tolist(),
            "lung_box_voxels_zyx": {"start": list(result.box.start), "stop": list(result.box.stop)},
        },
        "files": {
            "lungs.nii.gz": f"{labels}, {UPRIGHT}",
            "heatmap.nii.gz": f"Grad-CAM, percent of this scan's own largest value, {UPRIGHT}",
            "montage.png": "slices with lung outline beside the heat map, patient's right on the left",
        },
        "clinical": {"age": clinical.age, "sex": clinical.sex, "comorbidity": clinical.comorbidity},
        "prognosis": None,
        "provenance": result.provenance,
        "seconds": result.seconds,
    }


def write_case(result: CaseResult, folder: Path) -> None:
    """Write the four files of a case; all of them, or none.

    They are written beside their place first and moved there when all are complete, result.json last.

    Args:
        result: from `analyze`.
        folder: made when missing; files of an earlier result in it are replaced.

    Raises:
        InputError: the folder cannot be made or written.
        ResourceError: the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    except OSError as error:
        raise write_fault(folder, error) from error
    try:
        with ThreadPoolExecutor() as pool:  # compression and drawing leave the interpreter's lock
            jobs = [
                pool.submit(write_volume, result.lungs, scratch / "lungs.nii.gz"),
                pool.submit(write_volume, result.heatmap, scratch / "heatmap.nii.gz"),
                pool.submit(lambda: montage(result).save(scratch / "montage.png", compress_level=1)),
            ]
            for job in jobs:
                job.result()
        text = json.dumps(case_record(result), indent=2, allow_nan=False)
        (scratch / "result.json").write_text(text + "\n")
        (folder / "result.json").unlink(missing_ok=True)  # never an old record beside new masks
        for name in FILES:
            (scratch / name).replace(folder / name)
    except OSError as error:
        raise write_fault(folder, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
