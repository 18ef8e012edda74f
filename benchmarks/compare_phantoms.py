"""How like real scans the synthetic chest is: lung HU, noise, vessels; and two pictures of it.

    python benchmarks/compare_phantoms.py [--real DATA] [--patients 8] [--slices 9] [--figures FOLDER]

DATA is not part of the project. It holds the DICOM series named in PROTOCOLS, and in `masks/` lung masks of
some; the bundled network finds the lungs of the others. Without it phantoms are measured alone. Every phantom
is scanned as one of those series was (slices, thickness, field of view); the rest of the scanner is drawn,
with a soft kernel and no contrast medium. Printed is a Markdown table. Figures hold no pixel of a real scan.
"""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from covid19net import read_ct
from covid19net.models import load_models
from covid19net.phantom import DISEASES, Patient, Scanner, draw_patient, draw_scanner, scan_slices
from covid19net.segment import find_lungs, lung_probability, lungs_on_ct

PROTOCOLS = {  # of the real series: spacing and thickness, field of view, mm
    "covid-P001": (2.0, 383.0),
    "normal-001": (2.0, 325.0),
    "thick-A0001": (5.0, 431.0),
    "slab-ricord": (1.25, 360.0),  # of the upper lungs only
}
SLAB = "slab-ricord"
BINS = np.arange(-1024, 216, 16)  # HU
FREQUENCY = np.linspace(0, 0.8, 17)  # cycles/mm
DEPTH = np.array([2, 5, 10, 15, 20, 30, 40])  # mm under the lung's edge; less is blurred with the wall
PATCH, STEP = 32, 8  # pixels
SIZES = (3, 6, 10)  # mm; vessels are thinner than the largest
RISE = 150  # HU by which a vessel stands out
HAZE = -740  # HU; lung with a higher median over 16 mm is not healthy
COMMON_BLUR = 0.57  # mm; makes vessels of kernels of different sharpness comparable
SEED, PICTURED = 600, 770  # random states; the phantoms were tuned on others
LUNG_WINDOW, SOFT_WINDOW = (-1350, 150), (-160, 240)  # HU


@dataclass(frozen=True, eq=False)
class Stack:
    """Some slices: HU (float32) and lung (bool), axes (slice, y, x), pixel size in mm."""

    hu: np.ndarray
    lung: np.ndarray
    pixel: float


@dataclass(frozen=True, eq=False)
class Curves:
    """Share of lung for each of BINS, power for each of FREQUENCY, percent vessels for each of DEPTH."""

    histogram: np.ndarray
    soft: np.ndarray
    lung: np.ndarray
    vessels: np.ndarray


def real_stack(data: Path, name: str, count: int) -> Stack:
    """Evenly chosen slices of a real series."""
    volume = read_ct(data / name).volume
    drawn = data / "masks" / f"{name}-lungs.nii.gz"
    if drawn.exists():
        lung = read_ct(drawn).volume.hu == 1
    else:
        probability = lung_probability(volume, load_models().lungs)
        lung = lungs_on_ct(find_lungs(probability, clean=False), probability, volume).values > 0
    seen = np.flatnonzero(lung.mean((1, 2)) > 0.02)
    chosen = np.unique(np.linspace(seen[0], seen[-1], count + 2).round().astype(int)[1:-1])
    hu = np.clip(volume.hu[chosen], -1024, 3071).astype(np.float32)  # padding is not HU
    return Stack(hu, lung[chosen], volume.spacing[1])


def soft_scanner(rng: np.random.Generator, protocol: tuple[float, float]) -> Scanner:
    """A drawn scanner with a soft kernel that scans as a real one did."""
    drawn = draw_scanner(rng)
    while drawn.sharpen:
        drawn = draw_scanner(rng)
    step, fov = protocol
    same = replace(drawn, spacing=step, thickness=step, fov=fov, padding=None, enhancement=(0.0, 0.0))
    return replace(same, noise=drawn.noise * (drawn.thickness / step) ** 0.5)


def phantom_stack(seed: int, disease: str | None, name: str, count: int) -> Stack:
    """Slices of a synthetic patient at the heights that the real series shows."""
    rng = np.random.default_rng(seed)
    patient = draw_patient(rng, disease=disease)
    scanner = soft_scanner(rng, PROTOCOLS[name])
    deepest = (np.mean(patient.shape.dome) + 30) * patient.shape.scale[2]
    heights = np.linspace(-75, -50, count) if name == SLAB else np.linspace(-deepest, -15, count)
    case = scan_slices(patient, scanner, heights, rng)
    return Stack(case.volume.hu.astype(np.float32), case.lungs.values > 0, scanner.fov / scanner.matrix)


def _detrended(patches: np.ndarray) -> np.ndarray:
    """Patches (n, PATCH, PATCH) less the quadratic surface that fits each best."""
    y, x = (a.ravel() for a in np.mgrid[-1 : 1 : PATCH * 1j, -1 : 1 : PATCH * 1j])
    base = np.linalg.qr(np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], 1))[0]
    flat = patches.reshape(len(patches), PATCH * PATCH).astype(float)
    return (flat - flat @ base @ base.T).reshape(patches.shape)


def calmest(stack: Stack, tissue: Iterable[np.ndarray]) -> np.ndarray:
    """The third of the most homogeneous patches, of six of each slice that lie within the tissue."""
    found = []
    for hu, inside in zip(stack.hu, tissue, strict=True):
        patches, within = (sliding_window_view(a, (PATCH, PATCH))[::STEP, ::STEP] for a in (hu, inside))
        flat = _detrended(patches[within.all((2, 3))])
        found.append(flat[np.argsort(flat.std((1, 2)))[:6]])
    patches = np.concatenate(found)
    return patches[np.argsort(patches.std((1, 2)))[: max(6, len(patches) // 3)]]


def noise_power(patches: np.ndarray, pixel: float) -> tuple[np.ndarray, float]:
    """Radial noise power spectrum (HU^2 mm^2) over FREQUENCY, and its mean frequency below 0.6 cycles/mm."""
    if not len(patches):
        return np.full(len(FREQUENCY) - 1, np.nan), float("nan")
    window = np.hanning(PATCH)[:, None] * np.hanning(PATCH)
    power = (np.abs(np.fft.fft2(patches * window)) ** 2).mean(0) * pixel**2 / (window**2).sum()
    line = np.fft.fftfreq(PATCH, pixel)
    frequency = np.hypot(line[:, None], line)
    known = (frequency > 0.02) & (frequency < 0.6)
    curve = np.histogram(frequency, FREQUENCY, weights=power)[0] / np.histogram(frequency, FREQUENCY)[0]
    return curve, float((power * frequency)[known].sum() / power[known].sum())


def disk(width: float, pixel: float) -> np.ndarray:
    """A disk, width in mm."""
    reach = int(width / 2 / pixel)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(x * x + y * y <= (width / 2 / pixel) ** 2)


def vessel_counts(stack: Stack) -> np.ndarray:
    """Pixels of vessels thinner than each of SIZES, and of healthy lung, by DEPTH: (SIZES + 1, DEPTH - 1)."""
    counts = np.zeros((len(SIZES) + 1, len(DEPTH) - 1))
    pixel = stack.pixel
    for hu, lung in zip(stack.hu, stack.lung, strict=True):
        smooth = np.where(lung, ndimage.gaussian_filter(hu, COMMON_BLUR / pixel), -900)
        middle = ndimage.median_filter(smooth[::2, ::2], round(8 / pixel) | 1)
        healthy = lung & (np.kron(middle, np.ones((2, 2)))[: hu.shape[0], : hu.shape[1]] < HAZE)
        depth = np.where(healthy, ndimage.distance_transform_edt(lung) * pixel, 0)
        counts[-1] += np.histogram(depth, DEPTH)[0]
        for k, size in enumerate(SIZES):
            out = ndimage.white_tophat(smooth, footprint=disk(size, pixel)) > RISE
            counts[k] += np.histogram(depth[out], DEPTH)[0]
    return counts


def gradient(stack: Stack) -> float:
    """HU by which lung without visible vessels is denser for each cm toward the back."""
    slopes = []
    for hu, lung in zip(stack.hu, stack.lung, strict=True):
        smooth = ndimage.gaussian_filter(hu, 1.5 / stack.pixel)
        calm = ndimage.binary_erosion(lung, iterations=int(6 / stack.pixel)) & (smooth < -650)
        if calm.sum() > 3000:
            slopes.append(np.polyfit(np.nonzero(calm)[0] * stack.pixel / 10, smooth[calm], 1)[0])
    return float(np.mean(slopes)) if slopes else float("nan")


def measure(stack: Stack) -> tuple[dict[str, float], Curves]:
    """The numbers of the table and the curves of the figure."""
    inner = np.stack([ndimage.binary_erosion(lung, iterations=2) for lung in stack.lung])
    hu = stack.hu[inner]
    found = {"lung HU, mean": float(hu.mean()), "lung HU, standard deviation": float(hu.std())}
    for q in (5, 25, 50, 75, 95):
        found[f"lung HU, percentile {q}"] = float(np.percentile(hu, q))
    for limit in (-700, -500):
        found[f"lung above {limit} HU, %"] = 100 * float((hu > limit).mean())
    found["front to back, HU/cm"] = gradient(stack)
    level = [ndimage.gaussian_filter(a, 3 / stack.pixel) for a in stack.hu]
    soft = calmest(stack, [(a > -30) & (a < 130) for a in level])
    calm = calmest(stack, [ndimage.binary_erosion(lung, iterations=3) for lung in stack.lung])
    powers = []
    for name, patches in (("soft tissue", soft), ("lung", calm)):
        power, middle = noise_power(patches, stack.pixel)
        found[f"{name}, standard deviation in a calm patch, HU"] = float(np.median(patches.std((1, 2))))
        found[f"{name}, mean frequency of the noise, 1/mm"] = middle
        powers.append(power)
    counts = vessel_counts(stack)
    healthy = np.maximum(counts[-1], 1)
    for low, high in ((2, 10), (10, 20), (20, 40)):
        within = (DEPTH[:-1] >= low) & (DEPTH[1:] <= high)
        share = counts[-2, within].sum() / healthy[within].sum()
        found[f"vessels {low} to {high} mm deep, % of lung"] = 100 * float(share)
    for size, pixels in zip(SIZES, counts, strict=False):
        found[f"vessels thinner than {size} mm, % of lung"] = 100 * float(pixels.sum() / healthy.sum())
    return found, Curves(np.histogram(hu, BINS)[0] / len(hu), *powers, 100 * counts[-2] / healthy)


Measured = dict[str, tuple[dict[str, float], Curves]]


def span(rows: Measured, key: str) -> str:
    """Least and largest of a number."""
    values = [numbers[key] for numbers, _ in rows.values()]
    digits = 2 if "1/mm" in key else 1 if "%" in key or "/cm" in key or "patch" in key else 0
    return f"{np.nanmin(values):.{digits}f} to {np.nanmax(values):.{digits}f}" if rows else ""


def table(real: Measured, healthy: Measured, ill: Measured) -> str:
    """The ranges, in Markdown."""
    columns = {"real": real, "healthy phantoms": healthy, "COVID-19 phantoms": ill}
    columns = {f"{name} ({len(rows)})": rows for name, rows in columns.items() if rows}
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for key in next(iter(healthy.values()))[0]:
        lines.append(f"| {key} | {' | '.join(span(rows, key) for rows in columns.values())} |")
    return "\n".join(lines)


PANELS = {  # title: edges of the bins, axes' labels
    "HU within the lungs": (BINS, "HU", "share of lung for each 16 HU"),
    "noise in soft tissue": (FREQUENCY, "cycles/mm", "share of noise power"),
    "noise and texture in lung": (FREQUENCY, "cycles/mm", "share of noise power"),
    "vessels of healthy lung": (DEPTH, "mm under the lung's edge", "% of lung"),
}


def shown(curves: Curves) -> list[np.ndarray]:
    """What the panels show of one scan; spectra without their height, which the dose decides."""
    soft, lung = (power / np.nansum(power) for power in (curves.soft, curves.lung))
    return [curves.histogram, soft, lung, curves.vessels]


def draw_curves(real: Measured, healthy: Measured, ill: Measured, path: Path) -> None:
    """Real scans as a band from the least to the largest, phantoms as lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    axes: Any = figure.subplots(2, 2)
    for k, (axis, (title, (edges, across, up))) in enumerate(zip(axes.flat, PANELS.items(), strict=True)):
        x = (edges[1:] + edges[:-1]) / 2
        if real:
            lines = np.stack([shown(curves)[k] for _, curves in real.values()])
            axis.fill_between(x, lines.min(0), lines.max(0), color="0.8", label="real, least to largest")
        for rows, colour, name in ((healthy, "tab:blue", "healthy"), (ill, "tab:red", "COVID-19")):
            for i, (_, curves) in enumerate(rows.values()):
                label = f"{name} phantoms" if i == 0 else None
                axis.plot(x, shown(curves)[k], color=colour, linewidth=1, alpha=0.8, label=label)
        axis.set(title=title, xlabel=across, ylabel=up, ylim=(0, None))
    axes[0, 0].set_xlim(-1024, -200)
    axes[0, 0].legend()
    figure.savefig(path, dpi=100)


def worst_height(patient: Patient) -> float:
    """Height with the most opacity; a little below the middle of healthy lungs."""
    scanner = Scanner(matrix=96, noise=0.0, thickness=1.0)
    heights = np.linspace(-190, -60, 12) * patient.shape.scale[2]
    lesions = scan_slices(patient, scanner, heights, np.random.default_rng(0)).lesions.values
    area = np.count_nonzero(lesions, axis=(1, 2))
    return float(heights[area.argmax()] if area.any() else heights[6])


def draw_slices(path: Path, matrix: int = 400) -> None:
    """An axial slice of a patient of each kind, and two more pictures of the one with COVID-19."""
    from matplotlib.figure import Figure

    scanner = Scanner(spacing=2.0, thickness=2.0, matrix=matrix, fov=370.0, blur=0.6, noise=16.0, grain=0.45)
    pictures, extra = {}, {}
    for k, disease in enumerate((None, *DISEASES)):
        rng = np.random.default_rng(PICTURED + k)
        patient = draw_patient(rng, disease=disease)
        axial = scan_slices(patient, scanner, [worst_height(patient)], rng).volume.hu[0]
        pictures[disease or "healthy"] = axial, LUNG_WINDOW
        if disease == "covid":
            heights = np.arange(-300.0, 50.0, 2 * scanner.fov / matrix) * patient.shape.scale[2]
            case = scan_slices(patient, scanner, heights, rng)
            row = int(case.lesions.values.any(2).sum(0).argmax())
            coronal = np.repeat(case.volume.hu[::-1, row], 2, axis=0)[:matrix]
            extra = {"covid, coronal": (coronal, LUNG_WINDOW), "covid, soft tissue": (axial, SOFT_WINDOW)}
    figure = Figure(figsize=(4 * matrix / 100, 2.12 * matrix / 100), layout="constrained")
    axes: Any = figure.subplots(2, 4)
    for axis, (name, (hu, (low, high))) in zip(axes.flat, (pictures | extra).items(), strict=True):
        axis.imshow(hu, cmap="gray", vmin=low, vmax=high)
        axis.set_axis_off()
        axis.set_title(name)
    figure.savefig(path, dpi=100)


def main() -> None:
    """Measure, print, draw."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--real", type=Path, help="folder of real series")
    parser.add_argument("--patients", type=int, default=8, help="half of them with COVID-19")
    parser.add_argument("--slices", type=int, default=9, help="of each scan")
    parser.add_argument("--figures", type=Path, help="where to write the pictures")
    given = parser.parse_args()
    names = list(PROTOCOLS)
    real = {name: measure(real_stack(given.real, name, given.slices)) for name in names} if given.real else {}
    healthy, ill = {}, {}
    for k in range(given.patients):
        group, disease = (ill, "covid") if k % 2 else (healthy, None)
        group[str(k)] = measure(phantom_stack(SEED + k, disease, names[k // 2 % len(names)], given.slices))
    print(table(real, healthy, ill))
    if given.figures:
        draw_curves(real, healthy, ill, given.figures / "phantom-beside-real.png")
        draw_slices(given.figures / "phantom-slices.png")


if __name__ == "__main__":
    main()
