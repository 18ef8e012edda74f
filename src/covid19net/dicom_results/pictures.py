"""The picture and the report as DICOM objects, for viewers that show neither masks nor maps."""

from typing import TYPE_CHECKING

import numpy as np

from covid19net.dicom_results.codes import own, scheme
from covid19net.dicom_results.settle import Kind, plain, series, settle
from covid19net.io.header import CT_IMAGE
from covid19net.origin import Origin
from covid19net.pipeline import CaseResult
from covid19net.report.montage import montage

if TYPE_CHECKING:
    from highdicom.base import SOPClass
    from highdicom.sc import SCImage
    from pydicom.dataset import Dataset
    from pydicom.sr.coding import Code

PICTURE = Kind(9004, "Picture")
REPORT = Kind(9005, "Report")
PDF_CLASS = "1.2.840.10008.5.1.4.1.1.104.1"  # Encapsulated PDF Storage


def montage_object(result: CaseResult, origin: Origin) -> "SCImage":
    """The picture of a case as Secondary Capture, RGB.

    It has text burned in, but none that says who the patient is or when the scan was made, which is what the
    element asks (PS3.3 C.7.6.1).

    Args:
        result: from `analyze`.
        origin: of its scan, from `check_origin`.
    """
    from highdicom.sc import SCImage

    dataset = SCImage(
        pixel_array=np.asarray(montage(result)),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=origin.study_uid,
        patient_orientation=("L", "P"),
        **series(PICTURE, result),
    )
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.BurnedInAnnotation, dataset.ConversionType = "NO", "WSD"
    dataset.DerivationDescription = "Chosen slices with lung outline and heat map"
    dataset.SourceImageSequence = _references(origin)
    settle(dataset, origin)
    return dataset


def report_object(result: CaseResult, origin: Origin, pdf: bytes, *, identified: bool) -> "SOPClass":
    """A report as Encapsulated PDF.

    Args:
        result: from `analyze`.
        origin: of its scan, from `check_origin`.
        pdf: the file.
        identified: whether it names the patient.
    """
    from highdicom.base import SOPClass

    dataset = SOPClass(
        study_instance_uid=origin.study_uid,
        sop_class_uid=PDF_CLASS,
        modality="DOC",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        **series(REPORT, result),
    )
    dataset.ConversionType = "WSD"
    dataset.BurnedInAnnotation = "YES" if identified else "NO"
    dataset.AcquisitionDateTime = ""
    dataset.DocumentTitle = plain("Chest CT analysis, research use")
    dataset.ConceptNameCodeSequence = [_item(own("report"))]
    dataset.CodingSchemeIdentificationSequence = [scheme()]
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    dataset.EncapsulatedDocumentLength = len(pdf)
    dataset.SourceInstanceSequence = _references(origin)
    settle(dataset, origin)
    return dataset


def _references(origin: Origin) -> "list[Dataset]":
    from pydicom.dataset import Dataset

    found = []
    for each in origin.slices:
        item = Dataset()
        item.ReferencedSOPClassUID = each.sop_class_uid or CT_IMAGE
        item.ReferencedSOPInstanceUID = each.sop_instance_uid
        found.append(item)
    return found


def _item(code: "Code") -> "Dataset":
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator
    item.CodeMeaning = code.meaning
    return item
