"""VESSEL12: chest CTs with lung masks; a mask has the very name of its scan, only its folder differs."""

from pathlib import Path
import re

from covid19net.collections.collection import Collection, Count, Gathered, Progress, Stated
from covid19net.collections.images import lung_mask, paired, refuse_picture

NAME = re.compile(r"VESSEL12_(\d\d)\.mhd", re.IGNORECASE)
EXAMPLES = range(21, 24)  # scans with marked vessels; not among the 20 of the challenge


def gather(folder: Path, made: Path, _progress: Progress) -> Gathered:
    """Scans and masks of an unpacked download, the three example scans included where they are there.

    Raises:
        InputError: a scan or mask is there twice, is damaged, 8-bit, or the two do not fit.
    """
    scans, masks = paired(folder, NAME, "lungmask")
    found = Gathered()
    for name, scan in sorted(scans.items()):
        refuse_picture(scan)
        if name in masks:
            mask = lung_mask(masks[name], scan, made)
            found.rows.append({"patient_id": _number(name), "scan": scan, "lungs": mask})
    examples = sum(int(_number(name)) in EXAMPLES for name in scans)
    found.counts = {
        "scans 01 to 20": len(scans) - examples,
        "lung masks 01 to 20": sum(int(_number(name)) not in EXAMPLES for name in masks),
        "example scans 21 to 23": examples,
    }
    if without := sorted(scans.keys() - masks.keys()):
        found.gaps.append(f"{len(without)} scans without a lung mask: {', '.join(without[:5])}")
    if alone := sorted(masks.keys() - scans.keys()):
        found.gaps.append(f"{len(alone)} lung masks without a scan: {', '.join(alone[:5])}")
    return found


def _number(name: str) -> str:
    return name[len("VESSEL12_") :][:2]


COLLECTION = Collection(
    name="vessel12",
    title="VESSEL12, vessel segmentation in the lung, ISBI 2012",
    uses=("lungs",),
    licence=Stated("to be read on the Zenodo record; the challenge allowed its own use only", "disputed"),
    citation="Rudyanto et al. Medical Image Analysis 2014;18:1217",
    address=Stated("https://zenodo.org/records/8055066", "code"),
    size=Stated("about 5 GB", "memory"),
    claims="Lung masks as the paper used them. They are given as they are, with no claim of being perfect. "
    "About half the scans show emphysema, nodules or embolism, none COVID-19; age, sex and "
    "hospital are not known.",
    gather=gather,
    refused={"diagnosis": "no patient with COVID-19"},
    counts={"scans 01 to 20": Count((20,), "page"), "lung masks 01 to 20": Count((20,), "page")},
    unconfirmed=("scans are stored as signed 16-bit Hounsfield units",),
)
