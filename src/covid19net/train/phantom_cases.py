"""Synthetic patients as training cases: the lung image of each, drawn once and kept on disk."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from covid19net.phantom import draw_patient, draw_scanner, scan_lungs
from covid19net.preprocess import AIR, SLICE_SIZE, lung_image
from covid19net.volume import Overlay

# The other pneumonias of all cohorts of Wang et al. 2020 together (Table 1).
OTHERS = {"bacterial": 271, "mycoplasma": 31, "viral": 29, "fungal": 11}
LUNG_HEIGHT = 260.0  # mm; about the height of an adult's lungs, for the number of slices
CLOSEST = 5.0  # mm; slices closer than this are left out again when the lungs are resized to 48
WHOLE = (1, 1, 1)  # an image as it is
IN_PLANE = (168, 250)  # voxels (y, x) of a synthetic scan's lung box, about 1.2 mm wide


@dataclass(frozen=True)
class Case:
    """One synthetic patient's lung image.

    Attributes:
        path: a .npy file, float16, (48, 240, 360).
        disease: one of `covid19net.phantom.DISEASES`.
    """

    path: Path
    disease: str

    @property
    def label(self) -> float:
        """1 for COVID-19, 0 for another pneumonia."""
        return float(self.disease == "covid")

    def read(self, shrink: tuple[int, int, int] = WHOLE) -> np.ndarray:
        """The image, float32, mean 0 and sd 1.

        Args:
            shrink: voxels along (z, y, x) whose mean is taken; whole divisors of the image's size.
        """
        image = np.load(self.path).astype(np.float32)
        if shrink != WHOLE:
            (z, y, x), (dz, dy, dx) = (n // d for n, d in zip(image.shape, shrink, strict=True)), shrink
            image = image.reshape(z, dz, y, dy, x, dx).mean((1, 3, 5))
            image = (image - image.mean()) / image.std()
        return np.asarray(image)


def phantom_image(seed: int, number: int) -> tuple[str, np.ndarray]:
    """Draw a patient and a scanner, scan, and cut out the lungs as the product does.

    Even numbers have COVID-19, odd ones another pneumonia, as often as in the paper's cohorts. The scanner is
    drawn without regard to the disease.

    Args:
        seed: of the whole set.
        number: of the patient; each is another person.

    Returns:
        The disease and the lung image, float32, (48, 240, 360).
    """
    rng = np.random.default_rng([seed, number])
    share = np.array(list(OTHERS.values())) / sum(OTHERS.values())
    disease = str(rng.choice(list(OTHERS), p=share)) if number % 2 else "covid"
    scanner = draw_scanner(rng)
    count = round(LUNG_HEIGHT / max(scanner.spacing, CLOSEST))
    case = scan_lungs(draw_patient(rng, disease=disease), scanner, rng, (count, *IN_PLANE))
    rows, columns = (np.linspace(0, n - 1, SLICE_SIZE).round().astype(int) for n in IN_PLANE)
    mask = (case.lungs.values[:, rows][:, :, columns] > 0).astype(np.uint8)
    mask[[0, -1]] = 0  # the lung network has no answer for the end slices
    affine = case.volume.affine @ np.diag([1, *((n - 1) / (SLICE_SIZE - 1) for n in IN_PLANE), 1])
    volume = replace(case.volume, hu=np.maximum(case.volume.hu, AIR))  # as reading does
    return disease, lung_image(volume, Overlay(mask, affine)).values


def make_cases(folder: Path, count: int, seed: int) -> list[Case]:
    """Draw synthetic patients into a folder, one file each; those already there are not drawn again.

    Args:
        folder: made where it does not exist.
        count: of patients, half of them with COVID-19.
        seed: of the set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for number in range(count):
        found = next(folder.glob(f"{seed}-{number:05d}-*.npy"), None)
        if found is None:
            disease, image = phantom_image(seed, number)
            found = folder / f"{seed}-{number:05d}-{disease}.npy"
            part = folder / "part.tmp"
            with part.open("wb") as file:
                np.save(file, image.astype(np.float16))
            part.replace(found)
        cases.append(Case(found, found.stem.split("-")[-1]))
    return cases
