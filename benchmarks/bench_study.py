"""How long the statistics of a study take: patients with stored features, everything but the bootstrap.

The patients are random numbers with a planted disease and a planted hazard of discharge; no scan is read.
"""

import argparse
from pathlib import Path
import tempfile
from time import perf_counter

import numpy as np

from covid19net.cohort import Patient, write_table
from covid19net.features import DENSITY, Analysis, write_features
from covid19net.study.results import Source
from covid19net.study.run import run_study
from covid19net.study.sets import Options

SETS = {"training": 0.6, "validation 1": 0.2, "validation 3": 0.2}  # share of the patients
DIRECTIONS = 6  # in which the 64 features differ, beside noise
CENTRES = 8


def patients(count: int, rng: np.random.Generator) -> tuple[list[dict[str, object]], dict[str, Analysis]]:
    """Rows of a manifest and what the networks would have said."""
    hidden = rng.normal(size=(count, DIRECTIONS))
    features = hidden @ rng.normal(size=(DIRECTIONS, 64)) + 0.5 * rng.normal(size=(count, 64))
    ill = rng.random(count) < 1 / (1 + np.exp(-0.6 - 1.6 * hidden[:, 0]))
    chance = 1 / (1 + np.exp(-(0.4 + 1.5 * hidden[:, 0] + rng.normal(size=count))))
    age = rng.normal(50, 15, count).clip(18, 92).round()
    hazard = -0.5 * hidden[:, 1] - 0.3 * hidden[:, 2] - 0.02 * (age - 50)
    stay = 5 + 23 * (rng.exponential(size=count) * np.exp(-hazard)) ** (1 / 2.2)
    death, end = 5 + rng.exponential(900, count), rng.uniform(12, 75, count)
    days = np.minimum.reduce([stay, death, end])
    names = rng.choice(list(SETS), count, p=list(SETS.values()))
    rows, found = [], {}
    for i in range(count):
        found[f"p{i:05d}"] = Analysis(float(chance[i]), features[i], None, _density(rng), (), "0" * 64)
        rows.append({
            "patient_id": f"p{i:05d}", "set": names[i], "centre": f"centre {i % CENTRES}",
            "label": "covid" if ill[i] else "other", "type": "covid" if ill[i] else "viral",
            "age": int(age[i]), "sex": "FM"[i % 2], "comorbidity": int(rng.random() < 0.4),
            "thickness": (1.0, 5.0)[i % 2], "kernel": ("soft", "sharp")[i % 3 > 1], "synthetic": 1,
            "days": f"{np.ceil(10 * days[i]) / 10:.1f}" if ill[i] else "",
            "discharged": int(days[i] == stay[i]) if ill[i] else "",
            "died": int(days[i] == death[i]) if ill[i] else "",
        })  # fmt: skip
    return rows, found


def _density(rng: np.random.Generator) -> dict[str, float]:
    return {name: float(value) for name, value in zip(DENSITY, rng.normal(size=len(DENSITY)), strict=True)}


def main() -> None:
    """Make the patients, run the study, and tell the seconds of every stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows, found = patients(options.patients, np.random.default_rng(options.seed))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        manifest = write_table(folder / "manifest.csv", rows)
        features = write_features([Patient(str(r["patient_id"]), 0) for r in rows], found, folder / "f.csv")
        stages: dict[str, float] = {}
        begun = perf_counter()

        def tell(stage: str, _share: float) -> None:
            stages.setdefault(stage, perf_counter() - begun)

        settings = Options(draws=0, end_points=())
        report = run_study(Source(manifest, features), folder / "study", settings, progress=tell)
        total = perf_counter() - begun
        starts = [*stages.values(), total]
        for stage, start, end in zip(stages, starts, starts[1:], strict=False):
            print(f"{stage}: {end - start:.1f} s")
        print(f"reading: {starts[0]:.1f} s")
        print(f"{options.patients} patients, everything but the bootstrap: {total:.1f} s")
        print("\n".join(report.lines))


if __name__ == "__main__":
    main()
