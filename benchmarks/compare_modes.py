"""What segmenting slices up to 5 mm apart changes, against every slice as published.

    python benchmarks/compare_modes.py SCAN...

Prints a Markdown table: lung volume, lung box, probability and seconds of both modes, Dice of the masks.
"""

from pathlib import Path
import sys

import numpy as np

from covid19net import analyze, load_models, read_ct
from covid19net.errors import Covid19netError


def row(path: Path, models: object) -> str:
    """One line of the table."""
    scan = read_ct(path)
    default, every = (analyze(scan, models, every_slice=mode, full_evidence=False) for mode in (False, True))
    litres = [sum(result.lung_millilitres) / 1000 for result in (default, every)]
    boxes = [np.array([*result.box.start, *result.box.stop]) for result in (default, every)]
    a, b = (result.lungs.values > 0 for result in (default, every))
    dice = 2 * (a & b).sum() / (a.sum() + b.sum())
    cells = [
        f"{scan.volume.shape[0]} x {scan.volume.spacing[0]:.2f} mm",
        f"{litres[0]:.3f} / {litres[1]:.3f} l",
        f"{np.abs(boxes[0] - boxes[1]).max()} voxels",
        f"{default.probability:.4f} / {every.probability:.4f}",
        f"{dice:.4f}",
        f"{default.seconds['lungs']:.1f} / {every.seconds['lungs']:.1f} s",
    ]
    return " | ".join(cells)


def main() -> None:
    """Print the table."""
    models = load_models()
    print("| scan | slices | lung volume | box differs by | probability | Dice | lungs, time |")
    print("|---|---|---|---|---|---|---|")
    for number, path in enumerate(sys.argv[1:], start=1):
        try:
            print(f"| {number} | {row(Path(path), models)} |", flush=True)
        except Covid19netError as error:
            print(f"| {number} | {error} |  |  |  |  |  |", flush=True)


if __name__ == "__main__":
    main()
