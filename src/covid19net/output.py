"""What is written of each scan, and what that needs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from covid19net.errors import InputError

if TYPE_CHECKING:
    from covid19net.pipeline import CaseResult
    from covid19net.volume import Scan


@dataclass(frozen=True)
class Output:
    """What is written beside the files of every case.

    Attributes:
        pdf: the report as PDF.
        dicom: DICOM results for the scan's own study.
        dicom_if_possible: the same, or none where the scan cannot have them.
        scan: the CT itself, for viewers.
        identify: whether the report names the patient.
        progress: file in which another process reads how far the analysis is.
        deflate: the heat map in DICOM deflated.
    """

    pdf: bool = False
    dicom: bool = False
    dicom_if_possible: bool = False
    scan: bool = False
    identify: bool = False
    progress: Path | None = None
    deflate: bool = False

    def check(self, scan: "Scan") -> None:
        """Refuse a scan that cannot be written so, before it is analyzed.

        Raises:
            InputError: it is no DICOM series, or does not name its patient.
        """
        self._dicom_of(scan)
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
            write_dicom_results(
                result, unfinished, pdf=report, identified=self.identify, deflate=self.deflate
            )

        identity = identity_of(result.scan.origin) if self.identify else None
        also = dicom if self._dicom_of(result.scan) else None
        write_case(result, folder, also, identity=identity, pdf=self.pdf, scan=self.scan)

    def _dicom_of(self, scan: "Scan") -> bool:
        """Whether DICOM results are written of a scan."""
        from covid19net.dicom_results import check_origin

        if not (self.dicom or self.dicom_if_possible):
            return False
        try:
            check_origin(scan)
        except InputError:
            if self.dicom:
                raise
            return False
        return True
