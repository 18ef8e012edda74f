"""Results as DICOM objects in the study of the scan, each a series of its own.

| file | object |
|---|---|
| `lungs.seg.dcm` | Segmentation: right and left lung on every slice of the scan |
| `heatmap.pm.dcm` | Parametric Map: suspicious areas on every slice, from 0 to 1 |
| `report.sr.dcm` | Comprehensive SR, template TID 1500: the numbers, coded |
| `montage.sc.dcm` | Secondary Capture: the picture, for viewers that show nothing else |
| `report.pdf.dcm` | Encapsulated PDF: the report, where there is one |
"""

from covid19net.dicom_results.sources import check_origin
from covid19net.dicom_results.write import write_dicom_results

__all__ = ["check_origin", "write_dicom_results"]
