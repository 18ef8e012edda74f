"""Commands on prognostic models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from covid19net.cli.terminal import say
from covid19net.errors import InputError

if TYPE_CHECKING:
    from covid19net.prognosis.model import PrognosticModel
    from covid19net.prognosis.recalibrate import Recalibration

prognosis_app = typer.Typer(no_args_is_help=True, help="Prognostic models: read, and take to a new hospital.")

ModelArgument = Annotated[str, typer.Argument(help="'bundled', or a file.")]


def _model(name: str) -> "PrognosticModel":
    from covid19net.prognosis.model_file import find_model

    model = find_model(name)
    if model is None:
        raise InputError(f"{name}: this version ships no prognostic model; give a file")
    return model


@prognosis_app.command("card")
def prognosis_card(model: ModelArgument) -> None:
    """Everything known about a prognostic model: data, licence, covariates, cut, metrics, limits."""
    from dataclasses import asdict
    import json

    import numpy as np

    from covid19net.prognosis.model import UNITS
    from covid19net.prognosis.model_file import model_sha256

    found = _model(model)
    errors = np.sqrt(np.diag(found.covariance))
    covariates = {
        name: {
            "unit": UNITS[name],
            "hazard_ratio": round(float(np.exp(found.coefficients[i])), 4),
            "log_hazard_ratio": float(found.coefficients[i]),
            "standard_error": float(errors[i]),
            "in_training": [float(found.lowest[i]), float(found.highest[i])],
        }
        for i, name in enumerate(found.covariates)
    }
    numbers = {"sha256": model_sha256(found), "cut": found.cut, "horizon_days": found.baseline.horizon}
    say(json.dumps(asdict(found.about) | numbers | {"covariates": covariates}, indent=2, ensure_ascii=False))


@prognosis_app.command("recalibrate")
def prognosis_recalibrate(
    model: ModelArgument,
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE.csv", help="Manifest with days, discharged, died, age, sex, comorbidity."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The new model, NEW.json.")],
    origin: Annotated[str, typer.Option(help="Whose patients these are; it is kept in the model.")],
    features: Annotated[
        Path | None,
        typer.Option(help="CSV with patient_id and f00 to f63; without it they are columns of TABLE.csv."),
    ] = None,
    age_band: Annotated[
        Literal["refuse", "middle"],
        typer.Option(help="Where the age is known as a band only: refuse, or take the middle of the band."),
    ] = "refuse",
) -> None:
    """Keep who stays longer, learn anew how long: the baseline hazard from a hospital's own patients."""
    from covid19net.cohort import FEWEST_DAYS, in_years, is_followed, read_manifest
    from covid19net.features import FEATURES, read_features
    from covid19net.prognosis.model_file import write_model
    from covid19net.prognosis.outcome import outcome_of
    from covid19net.prognosis.recalibrate import recalibrate
    from covid19net.prognosis.sample import sample_covariates

    if out.exists():  # it may be the table itself, or the model
        raise InputError(f"{out}: exists already and is not replaced; choose another name")
    known = _model(model)
    everybody = read_manifest(table, needs=["patient_id"], scans=False)
    patients = [patient for patient in everybody if is_followed(patient)]
    if not patients:
        raise InputError(
            f"{table.name}: nobody with COVID-19 has follow-up of more than {FEWEST_DAYS:g} days"
        )
    if len(patients) < len(everybody):
        say(
            f"{len(everybody) - len(patients)} of {len(everybody)} patients are left out: not followed for "
            f"more than {FEWEST_DAYS:g} days with COVID-19"
        )
    outcome = outcome_of(patients, known.about.end_point)
    values = read_features(features or table) if set(known.covariates) & set(FEATURES) else {}
    others = {analysis.weights for analysis in values.values()} - {known.about.diagnosis_sha256, ""}
    if others:
        raise InputError(f"{(features or table).name}: its features come from other weights than the model's")
    notes: tuple[str, ...] = ()
    if age_band == "middle" and "age" in known.covariates:
        patients, notes = in_years(patients)
    x = sample_covariates(patients, known.covariates, values)
    synthetic = any(bool(patient.values.get("synthetic")) for patient in patients)
    marks = [f"Baseline hazard: {note}." for note in notes]
    new, found = recalibrate(known, outcome, x, origin, demonstration=synthetic, notes=marks)
    write_model(out, new)
    for note in notes:
        say(f"warning: {note}")
    _tell(found, known.baseline.horizon)
    if new.about.demonstration:
        say("demonstration: made from synthetic patients, says nothing about people")
    say(f"written to {out}")


def _tell(found: "Recalibration", horizon: float) -> None:
    say(f"{found.patients} patients, {found.events} events")
    say(
        f"before: {found.observed} events within {horizon:g} days, {found.expected_before:.1f} expected; "
        f"observed over expected {found.before}"
    )
    say(f"after: {found.events} events, {found.expected_after:.1f} expected (made equal)")
    say(f"slope of the model's predictor here: {found.slope}; 1 where its coefficients hold")
    say(
        f"cut of the risk groups: {found.cut:.3f}, the training median, is kept; "
        f"median here {found.local_median:.3f}"
    )
