"""A case on disk: result.json, report.html, lungs.nii.gz, heatmap.nii.gz, montage.png.

With a prognosis discharge.png as well; report.pdf and ct.nii.gz where they are asked for.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
import json
from pathlib import Path
import shutil
import tempfile
from typing import Any

import numpy as np

from covid19net.errors import InputError
from covid19net.explain import MapEvidence
from covid19net.io import write_volume
from covid19net.io.files import write_fault
from covid19net.pipeline import CaseResult
from covid19net.prognosis.model import Prognosis
from covid19net.quantify import WINDOWS, Quantification
from covid19net.report.discharge import INTENDED_USE, MEANING, WITH_COMPETING, discharge_picture
from covid19net.report.montage import montage
from covid19net.report.patient_page import case_page
from covid19net.report.pdf import check_pdf, page_as_pdf
from covid19net.volume import CTVolume

SCHEMA = "covid19net-result/1.4"
FILES = ("lungs.nii.gz", "heatmap.nii.gz", "montage.png", "report.html", "result.json")
DISCHARGE = "discharge.png"  # only with a prognosis
PDF = "report.pdf"  # only where asked for
SCAN = "ct.nii.gz"  # likewise
DICOM = {  # only on request, of a scan read from DICOM
    "dicom/lungs.seg.dcm": "lung mask as DICOM segmentation, on the slices as acquired",
    "dicom/heatmap.pm.dcm": "heat map as DICOM parametric map, on the slices as acquired",
    "dicom/report.sr.dcm": "measurements as DICOM structured report, template TID 1500",
    "dicom/montage.sc.dcm": "montage.png as DICOM secondary capture",
    "dicom/report.pdf.dcm": "report as DICOM encapsulated PDF",
}
NOT_ALWAYS = (PDF, DISCHARGE, SCAN, *DICOM)
UPRIGHT = "on the CT's grid turned upright (x to the left, y to the back, z to the head)"


def case_record(result: CaseResult) -> dict[str, Any]:
    """The result as plain values for JSON; nothing in it names a person or a file.

    Units: millimetres, millilitres, seconds, years; affines go from indices (z, y, x) to LPS. The feature
    distance is null where the weights know nothing of their training images. Each network's "sources" are the
    collections it learned from or was measured on, as its card has them, with licence and citation. The
    prognosis is null where there is none: "prognosis_missing" then says what it needed, or is empty without
    a prognostic model.
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
        "quantification": _quantification_record(result.quantification),
        "map_evidence": result.map_evidence and _evidence_record(result.map_evidence),
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
            "report.html": "the result as a page to read and print",
        }
        | ({DISCHARGE: "probability of discharge by day"} if result.prognosis else {}),
        "clinical": {"age": clinical.age, "sex": clinical.sex, "comorbidity": clinical.comorbidity},
        "prognosis": result.prognosis and _prognosis_record(result.prognosis, result.provenance),
        "prognosis_missing": list(result.prognosis_missing),
        "provenance": result.provenance,
        "seconds": result.seconds,
    }


def read_record(path: Path) -> tuple[np.ndarray, str, bool]:
    """The DL features of a stored case, float64, (64,), and of what weights they are.

    Returns:
        The features, the SHA-256 of the diagnosis weights, and whether these are demonstration weights.

    Raises:
        InputError: no such file, or no record of a case.
    """
    try:
        record = json.loads(path.read_text())
        features = np.array(record["features"], np.float64)
        weights = record["provenance"]["weights"]["diagnosis"]
        sha256, demonstration = str(weights["sha256"]), bool(weights.get("demonstration", False))
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path.name}: no result.json of a scan") from error
    if features.shape != (64,) or not np.isfinite(features).all():
        raise InputError(f"{path.name}: no 64 features")
    return features, sha256, demonstration


def _prognosis_record(prognosis: Prognosis, provenance: Mapping[str, object]) -> dict[str, Any]:
    curve, model = prognosis.curve, provenance.get("prognosis")
    competing = curve.with_competing
    return {
        "end_point": prognosis.about.end_point,
        "model": {
            "name": prognosis.about.name,
            "sha256": model.get("sha256") if isinstance(model, dict) else None,
            "demonstration": prognosis.about.demonstration,
        },
        "risk": prognosis.risk,
        "cut": prognosis.cut,
        "group": prognosis.group,
        "expected_stay": {
            "median_days": curve.median,
            "median_days_interval": list(curve.median_limits),
            "mean_days": round(curve.mean, 2),
            "horizon": curve.horizon,
        },
        "curve": {
            "day": curve.day.tolist(),
            "probability": _rounded(curve.probability),
            "low": _rounded(curve.low),
            "high": _rounded(curve.high),
            "level": curve.level,
            "with_competing": None if competing is None else _rounded(competing),
        },
        "meaning": MEANING if competing is None else f"{MEANING} {WITH_COMPETING}",
    }


def _quantification_record(found: Quantification) -> dict[str, Any]:
    return {
        "meaning": "counted from the HU inside the lung mask; vessels and the lung's edge count as dense",
        "windows_hu": {name: list(window) for name, window in WINDOWS.items()},
        "thirds": "of the height of each lung",
        "regions": {
            name: {
                "millilitres": round(region.millilitres, 1),
                "mean_hu": round(region.mean_hu, 1),
                "ground_glass": round(region.ground_glass, 4),
                "consolidation": round(region.consolidation, 4),
            }
            for name, region in found.regions.items()
        },
    }


def _evidence_record(found: MapEvidence) -> dict[str, Any]:
    numbers = {k: v if v is None else round(v, 4) for k, v in vars(found).items() if k != "stability"}
    stable = found.stability and {k: round(v, 4) for k, v in vars(found.stability).items()}
    return {**numbers, "stability": stable, "failures": list(found.failures)}


def _rounded(values: np.ndarray) -> list[float]:
    return [round(value, 6) for value in values.tolist()]


def written(folder: Path) -> list[str]:
    """The files of the case in a folder, what to look at first."""
    names = ("report.html", PDF, "montage.png", DISCHARGE, *FILES, SCAN, *DICOM)
    return [name for name in dict.fromkeys(names) if (folder / name).exists()]


def write_case(
    result: CaseResult,
    folder: Path,
    also: Callable[[Path], None] | None = None,
    *,
    identity: Mapping[str, str] | None = None,
    pdf: bool = False,
    scan: bool = False,
) -> None:
    """Write the files of a case, five and those asked for; all of them, or none.

    They are written beside their place first and moved there when all are complete, result.json last.

    Args:
        result: from `analyze`.
        folder: made when missing; files of an earlier result in it are replaced.
        also: writes files named in `DICOM` into the folder it is given, where the others are by then.
        identity: what the report calls the patient by, label -> value; None for a report that names nobody.
        pdf: write the report as PDF too.
        scan: write the CT too, int16, for viewers of masks and maps.

    Raises:
        InputError: the folder cannot be made or written, or what a PDF needs is not installed.
        ResourceError: the disk is full.
    """
    if pdf:
        check_pdf()
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
                pool.submit(_write_report, result, scratch, identity, pdf),
            ]
            if scan:
                jobs.append(pool.submit(_write_scan, result, scratch / SCAN))
            for job in jobs:
                job.result()
        if also:
            also(scratch)
        more = [name for name in NOT_ALWAYS if (scratch / name).exists()]
        record = case_record(result)
        about = {PDF: "report.html on paper", SCAN: f"the CT as read, whole HU, {UPRIGHT}"} | DICOM
        record["files"] |= {name: about[name] for name in more if name in about}
        text = json.dumps(record, indent=2, allow_nan=False)
        (scratch / "result.json").write_text(text + "\n")
        _put(scratch, folder, more)
    except OSError as error:
        raise write_fault(folder, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _put(scratch: Path, folder: Path, more: list[str]) -> None:
    """Move the files of a case to their place, result.json last; those of an earlier one go."""
    for name in more:
        (folder / name).parent.mkdir(exist_ok=True)  # what is in its way is found before anything is replaced
    (folder / "result.json").unlink(missing_ok=True)  # never an old record beside new masks
    for name in NOT_ALWAYS:  # they may be of an earlier result that had more
        if (folder / name).parent.is_dir():
            (folder / name).unlink(missing_ok=True)
    for name in (*more, *FILES):
        (scratch / name).replace(folder / name)


def _write_scan(result: CaseResult, path: Path) -> None:
    volume = result.scan.volume
    limits = np.iinfo(np.int16)
    hu = np.clip(np.rint(volume.hu), limits.min, limits.max).astype(np.int16)
    write_volume(CTVolume(hu, volume.affine), path)


def _write_report(result: CaseResult, folder: Path, identity: Mapping[str, str] | None, pdf: bool) -> None:
    """The report, and the picture of the prognosis; one after the other, as Matplotlib is not for threads."""
    if result.prognosis:
        discharge_picture(result.prognosis, folder / DISCHARGE)
    page = case_page(result, identity=identity)
    (folder / "report.html").write_text(page, encoding="utf-8", newline="\n")
    if pdf:
        (folder / PDF).write_bytes(page_as_pdf(page))
