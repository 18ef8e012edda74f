"""The DICOM objects of a case on disk."""

from pathlib import Path
from warnings import catch_warnings

from covid19net.dicom_results.maps import heat_map_object, lung_segmentation
from covid19net.dicom_results.measurements import report
from covid19net.dicom_results.pictures import montage_object, report_object
from covid19net.dicom_results.sources import check_origin
from covid19net.pipeline import CaseResult
from covid19net.report.case import DICOM

DEFLATED = "1.2.840.10008.1.2.1.99"  # Deflated Explicit VR Little Endian


def write_dicom_results(
    result: CaseResult,
    folder: Path,
    *,
    pdf: bytes | None = None,
    identified: bool = False,
    deflate: bool = False,
) -> None:
    """Write every object under the names of `report.case.DICOM`.

    Args:
        result: from `analyze`, of a scan that was read from DICOM.
        folder: of the case; is there.
        pdf: the report as PDF, where there is one.
        identified: whether the report names the patient.
        deflate: write the heat map in Deflated Explicit VR Little Endian (PS3.5 A.5), the only lossless
            compression that float pixels may have; the same object, a fiftieth of the size.

    Raises:
        InputError: the scan is no DICOM series, or one that cannot be referred to.
        OSError: a file cannot be written.
    """
    from pydicom.uid import UID

    origin = check_origin(result.scan)
    (folder / "dicom").mkdir(exist_ok=True)
    lungs, heat = lung_segmentation(result, origin), heat_map_object(result, origin)
    objects = [lungs, heat, report(result, origin, lungs, heat), montage_object(result, origin)]
    if pdf is not None:
        objects.append(report_object(result, origin, pdf, identified=identified))
    if deflate:
        heat.file_meta.TransferSyntaxUID = UID(DEFLATED)
    with catch_warnings(action="ignore"):  # pydicom's on elements of the patient would show what they hold
        for name, dataset in zip(DICOM, objects, strict=False):
            dataset.save_as(folder / name, enforce_file_format=True)
