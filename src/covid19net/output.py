"""What is written of each scan, and what that needs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from covid19net.pipeline import CaseResult
    from covid19net.volume import Scan


@dataclass(frozen=True)
class Output:
    """What is written beside the files of every case.

    Attributes:
        pdf: the report as PDF.
        dicom: DICOM results for the scan's own study.
        identify: whether the report names the patient.
    """

    pdf: bool = False
    dicom: bool = False
    identify: bool = False

    def check(self, scan: "Scan") -> None:
        """Refuse a scan that cannot be written so, before it is analyzed.

        Raises:
            InputError: it is no DICOM series, or does not name its patient.
        """
        if self.dicom:
            from covid19net.dicom_results import check_origin

            check_origin(scan)
        if self.identify:
            from covid19net.io.patient import identity_of

            identity_of(scan.origin)

    def write(self, result: "CaseResult", folder: Path) -> None:
        """Write the case with all that is wanted."""
        from covid19net.dicom_results import write_dicom_results
        from covid19net.io.patient import identity_of
        from covid19net.report.case import PDF, write_case

        def dicom(unfinished: Path) -> None:
            report = (unfinished / PDF).read_bytes() if self.pdf else None
            write_dicom_results(result, unfinished, pdf=report, identified=self.identify)

        identity = identity_of(result.scan.origin) if self.identify else None
        write_case(result, folder, dicom if self.dicom else None, identity=identity, pdf=self.pdf)
