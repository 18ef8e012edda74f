"""How good trained diagnosis weights are on synthetic patients, against the best that can be done.

    python benchmarks/measure_diagnosis.py SET --truth COHORT/truth.csv [--without SET2] [--picture FILE.png]

SET is a folder that `covid19net train diagnosis` wrote; its scores.csv is compared with what was planted
(truth.csv of `covid19net phantom cohort`): the best possible AUC comes from each patient's planted pattern.
--without names a set trained without step one on the same patients: the ablation. The tables are printed as
Markdown; --picture draws training curves and ROC curves.
"""

import argparse
from collections.abc import Sequence
import csv
import json
from pathlib import Path

import numpy as np

from covid19net.cohort import slices_of
from covid19net.evaluate import (
    Estimate,
    auc,
    by_stratum,
    calibrate,
    compare_aucs,
    operating_point,
    roc_curve,
    within_strata_auc,
)
from covid19net.weights import read_card

Rows = list[dict[str, str]]


def read_rows(path: Path) -> Rows:
    """Rows of a CSV."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def column(rows: Rows, name: str) -> np.ndarray:
    """A column of numbers."""
    return np.array([float(row[name]) for row in rows])


def shown(estimate: Estimate | None) -> str:
    """An estimate with two digits."""
    return "" if estimate is None else f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def joined(scores: Rows, truth: Rows) -> Rows:
    """Scores with the planted truth of the same patient."""
    planted = {row["patient_id"]: row for row in truth}
    return [planted[row["patient_id"]] | row for row in scores if row["patient_id"] in planted]


def main_table(sets: dict[str, Rows], threshold: float) -> str:
    """One line a set: counts, best possible and reached AUC, operating point, calibration."""
    lines = []
    for name, rows in sets.items():
        label, score = column(rows, "positive") == 1, column(rows, "probability")
        point, fit = operating_point(label, score, threshold), calibrate(label, score)
        lines.append([
            name, f"{label.sum()} / {(~label).sum()}", shown(auc(label, column(rows, "best_score"))),
            shown(auc(label, score)), shown(point.sensitivity), shown(point.specificity),
            f"{fit.brier.value:.3f}", shown(fit.slope),
        ])  # fmt: skip
    header = ("set", "COVID-19 / other", "best possible AUC", "AUC", "sensitivity", "specificity", "Brier",
              "calibration slope")  # fmt: skip
    return table(header, lines)


def strata_table(sets: dict[str, Rows]) -> str:
    """AUC by slice thickness, kernel and type of the other pneumonia, all sets together."""
    rows = [row for found in sets.values() for row in found]
    label, score = column(rows, "positive") == 1, column(rows, "probability")
    lines = []
    for title, values in (
        ("slices", [slices_of(float(row["thickness"])) for row in rows]),
        ("kernel", [row["kernel"] for row in rows]),
    ):
        lines += [
            [f"{title}: {s.name}", f"{s.positive} / {s.negative}", shown(s.auc)]
            for s in by_stratum(label, score, values)
        ]
        pooled = within_strata_auc(label, score, values)
        lines.append([f"within {title}, pooled", "", shown(pooled.within)])
    for kind in ("bacterial", "mycoplasma", "viral", "fungal"):
        chosen = label | np.array([row["class"] == kind for row in rows])
        if (~label[chosen]).sum() > 1:
            counts = f"{label.sum()} / {(~label[chosen]).sum()}"
            lines.append([f"COVID-19 against {kind}", counts, shown(auc(label[chosen], score[chosen]))])
    return table(("stratum", "COVID-19 / other", "AUC"), lines)


def ablation_table(sets: dict[str, Rows], without: dict[str, Rows]) -> str:
    """AUC with and without step one, and the difference on the same patients (DeLong)."""
    lines = []
    for name, rows in {**sets, "all validation sets": [r for found in sets.values() for r in found]}.items():
        other = without.get(name) or [r for found in without.values() for r in found]
        scores = {row["patient_id"]: float(row["probability"]) for row in other}
        label = column(rows, "positive") == 1
        second = np.array([scores[row["patient_id"]] for row in rows])
        found = compare_aucs(label, column(rows, "probability"), second)
        lines.append(
            [name, shown(found.first), shown(found.second), shown(found.difference), f"{found.p:.2g}"]
        )
    return table(("set", "AUC with step one", "without", "difference", "p"), lines)


def picture(folders: Sequence[tuple[str, Path]], sets: dict[str, Rows], path: Path) -> None:
    """Training curves and ROC curves."""
    from matplotlib.figure import Figure

    figure = Figure((11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, folder in folders:
        start = 0
        for stage in read_card(folder / "diagnosis.json").metrics["recipe"]:
            text = (folder / "work" / f"{stage['name']}.jsonl").read_text()
            lines = [json.loads(line) for line in text.splitlines()]
            judged = [(line["step"] + start, line["score"]) for line in lines if "score" in line]
            left.plot(*zip(*judged, strict=True), "o-", label=f"{name}: {stage['name']}")
            start += max(line["step"] for line in lines)
    left.set(xlabel="step", ylabel="AUC on tuning patients", ylim=(0.4, 1), title="Training")
    left.legend(fontsize=7)
    for name, rows in sets.items():
        label = column(rows, "positive") == 1
        for score, style in (("probability", "-"), ("best_score", ":")):
            values = column(rows, score)
            curve = roc_curve(label, values)
            title = f"{name}{', best possible' if style == ':' else ''}: {auc(label, values).value:.2f}"
            right.plot(curve.false_positive_rate, curve.sensitivity, style, label=title)
    right.plot([0, 1], [0, 1], color="0.8", zorder=0)
    right.set(xlabel="1 - specificity", ylabel="sensitivity", title="Synthetic validation centres")
    right.legend(fontsize=7, loc="lower right")
    figure.savefig(path, dpi=110)


def sets_of(folder: Path, truth: Rows) -> dict[str, Rows]:
    """Validation set with both classes -> its scored patients with the truth."""
    rows = joined(read_rows(folder / "scores.csv"), truth)
    names = dict.fromkeys(row["set"] for row in rows if row["set"] != "tuning")
    sets = {name: [row for row in rows if row["set"] == name] for name in names}
    return {name: found for name, found in sets.items() if len({row["positive"] for row in found}) == 2}


def main() -> None:
    """Read, compute, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--without", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    truth = read_rows(options.truth)
    sets = sets_of(options.folder, truth)
    print(main_table(sets, read_card(options.folder / "diagnosis.json").options["threshold"]))
    print(strata_table(sets))
    folders = [("with step one", options.folder)]
    if options.without:
        print(ablation_table(sets, sets_of(options.without, truth)))
        folders.append(("without", options.without))
    if options.picture:
        picture(folders, sets, options.picture)


if __name__ == "__main__":
    main()
