"""COVID-19-CT-Seg-20: lungs with COVID-19 drawn by hand; the ten coronacases, for the others are pictures."""

from pathlib import Path
import re

from covid19net.collections.collection import Collection, Count, Gathered, Progress, Stated
from covid19net.collections.images import lung_mask, refuse_picture, refuse_window
from covid19net.collections.layout import search
from covid19net.errors import InputError

NAME = re.compile(r"(coronacases|radiopaedia)_\w+\.nii(\.gz)?", re.IGNORECASE)
LESIONS = "infection"  # in the name of a folder with other masks


def gather(folder: Path, made: Path, _progress: Progress) -> Gathered:
    """The coronacases with their lung masks.

    Raises:
        InputError: a scan or mask is there twice, is a picture of a window, or the two do not fit.
    """
    scans: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    pictures = 0
    for path in search(folder, lambda entry: entry.is_file() and bool(NAME.fullmatch(entry.name))):
        above = " ".join(path.relative_to(folder).parts[:-1]).lower()
        if LESIONS in above:
            continue
        kind = masks if "lung_mask" in above else scans
        if path.name.lower().startswith("radiopaedia"):
            pictures += kind is scans
        elif path.name in kind:
            raise InputError(f"{path.name}: there twice in {folder.name}; is the download there twice?")
        else:
            kind[path.name] = path
    found = Gathered(counts={"coronacases": len(scans), "their lung masks": len(masks)})
    for name, scan in sorted(scans.items()):
        refuse_picture(scan)
        refuse_window(scan)
        if name in masks:
            row = {"patient_id": name.split(".")[0], "scan": scan, "set": "validation"}
            found.rows.append(row | {"lungs": lung_mask(masks[name], scan, made)})
    if pictures:
        found.notes.append(
            f"{pictures} radiopaedia scans left out: 8 bits with a lung window, no Hounsfield units"
        )
    return found


COLLECTION = Collection(
    name="seg20",
    title="COVID-19-CT-Seg-20, coronacases",
    uses=("lungs", "analysis"),
    licence=Stated("CC BY-NC-SA 4.0", "disputed"),
    citation="Ma et al. Medical Physics 2021;48:1197",
    address=Stated("https://zenodo.org/record/3757476", "code"),
    size=Stated("1.1 GB", "code"),
    claims="A test of lung masks on ten lungs with COVID-19, drawn by hand. Too few to train on.",
    gather=gather,
    refused={
        "diagnosis": "patients with COVID-19 only; with controls from elsewhere the class is the scanner"
    },
    counts={"coronacases": Count((10,), "code"), "their lung masks": Count((10,), "code")},
    unconfirmed=("values of the lung masks are 1 and 2", "another source gives CC BY 4.0 as the licence"),
)
