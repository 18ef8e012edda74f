"""Reading CT scans, whatever holds them, and masks drawn on them; writing volumes.

Findings that reading can give (code: meaning):

| code | meaning |
|---|---|
| `files-skipped` | files that are no DICOM image, links and pipes were left alone |
| `images-skipped` | localizers, screen captures, other modalities beside the CT |
| `series-chosen` | several CT series; the finest axial one was read |
| `reconstruction-chosen` | one series UID holds several sets of images that a header element tells apart |
| `folder-read` | one file was given; its whole series was read |
| `duplicates-dropped` | the same slices were there more than once |
| `missing-slices` | gaps or uneven distances were interpolated (only on request) |
| `odd-slices` | compressed slices that do not fit between their neighbours (only on request) |
| `gantry-tilt` | the shear of a tilted gantry was undone |
| `padding` | values below -1024 HU or marked as padding became air |
| `values-clipped` | values above 32767 HU |
| `not-finite` | NaN or infinite values were replaced |
| `rescale-absent` | no rescale slope and intercept in the headers |
| `rescale-varies` | slices with different slope or intercept |
| `lossy-compression` | the pixels were compressed with loss |
| `body-part` | the header names another body part |
| `orientation-unknown` | the file gives no orientation: left and right are not certain |
"""

from covid19net.io.contours import read_contours
from covid19net.io.doctor import Examination, examine
from covid19net.io.export import write_dicom_series
from covid19net.io.itk import write_volume
from covid19net.io.read import read_ct
from covid19net.io.segmentations import read_segments

__all__ = [
    "Examination",
    "examine",
    "read_contours",
    "read_ct",
    "read_segments",
    "write_dicom_series",
    "write_volume",
]
