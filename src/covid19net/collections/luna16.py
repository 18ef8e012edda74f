"""LUNA16: scans of LIDC-IDRI with lung masks that an algorithm made; a weak addition to hand-made ones."""

from pathlib import Path
import re

from covid19net.collections.collection import Collection, Count, Gathered, Progress, Stated
from covid19net.collections.images import lung_mask, paired, refuse_picture

NAME = re.compile(r"[\d.]+\.mhd", re.IGNORECASE)  # the series instance UID
LUNGS = (3, 4)  # of the mask; 5 is the trachea


def gather(folder: Path, made: Path, _progress: Progress) -> Gathered:
    """Scans of however many subsets, with masks of the two lungs alone.

    Raises:
        InputError: a scan or mask is there twice, is damaged, 8-bit, or the two do not fit.
    """
    scans, masks = paired(folder, NAME, "seg-lungs")
    found = Gathered(counts={"scans": len(scans), "lung masks": len(masks)})
    without = 0
    for name, scan in sorted(scans.items()):
        refuse_picture(scan)
        if name not in masks:
            without += 1
            continue
        mask = lung_mask(masks[name], scan, made, LUNGS)
        found.rows.append({"patient_id": scan.stem, "scan": scan, "lungs": mask})
    if without:
        found.gaps.append(f"{without} scans without a lung mask")
    found.notes.append("masks hold the values 3 and 4 alone, as 1; the trachea (5) is no lung")
    found.notes.append(
        "the id is the scan's, not the patient's: two scans of one patient are not known as such"
    )
    return found


COLLECTION = Collection(
    name="luna16",
    title="LUNA16 lung masks",
    uses=("lungs",),
    licence=Stated("CC BY 4.0, over LIDC-IDRI's CC BY 3.0", "page"),
    citation="Setio et al. Medical Image Analysis 2017;42:1; Armato et al. Medical Physics 2011;38:915",
    address=Stated("https://zenodo.org/records/3723295 and https://zenodo.org/records/4121926", "page"),
    size=Stated("about 120 GB", "memory"),
    claims="Weak additional training only: an algorithm made the masks, and they may leave out dense "
    "disease. They are no reference to judge a lung network by.",
    gather=gather,
    refused={"egfr": "no EGFR mutation status", "diagnosis": "no patient with COVID-19"},
    counts={"scans": Count((888,), "page"), "lung masks": Count((888,), "page")},
    unconfirmed=(
        "value 5 of the masks is the trachea",
        "values outside the field of view are -2000 or -3024",
    ),
)
