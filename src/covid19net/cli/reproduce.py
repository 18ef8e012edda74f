"""`covid19net reproduce`: from downloaded public collections to weight sets and reports, by one command."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from covid19net.cli.terminal import say

if TYPE_CHECKING:
    from covid19net.reproduce import Holding, Step

reproduce_app = typer.Typer(no_args_is_help=True, help="The paper again, from public collections.")


@reproduce_app.callback()
def _keep_the_name() -> None:
    """The paper again, from public collections."""


@reproduce_app.command("public")
def public(  # noqa: PLR0913 - each argument is an option of the command
    data: Annotated[Path, typer.Option("--data", help="Folder with a subfolder for each download.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of everything made.")] = Path("public-1"),
    recipe: Annotated[
        str, typer.Option(help="full (GPU), cpu, quick, or a JSON file (train recipe).")
    ] = "full",
    lung_steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Batches of the lung network: by default 2400 (full), 600 (cpu), 40 (quick)."
        ),
    ] = None,
    lungs_from: Annotated[
        str | None, typer.Option(help="Weight set whose lung network is trained on; else random numbers.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--list", help="Say what is there, what is missing and what it takes; stop.")
    ] = False,
    only: Annotated[str, typer.Option(help="Do this step alone.")] = "",
    allow_incomplete: Annotated[
        bool, typer.Option("--allow-incomplete", help="Go on where counts differ from the published ones.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of training and bootstraps.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Threads and processes.")] = 2,
    licence: Annotated[str, typer.Option(help="Of the weights, for their cards.")] = "none stated",
    origin: Annotated[str, typer.Option(help="Who trains, for the cards.")] = "covid19net reproduce public",
) -> None:
    """Lungs, auxiliary EGFR, diagnosis, prognosis and reports from public collections.

    Says what is there and what is missing, hours and disk, then does each step by its plain command, which is
    shown. Started again, it goes on where it was stopped, and does anew what depends on something changed.
    """
    from covid19net.reproduce import (
        WANTED,
        Choice,
        Place,
        Record,
        left_to_do,
        run_steps,
        steps_of,
        take_inventory,
        write_page,
    )  # fmt: skip

    data, out = data.resolve(), out.resolve()
    found = take_inventory(data, WANTED, out)
    _say_inventory(found)  # first, so that whoever lacks everything sees what to get
    choice = Choice(
        recipe=recipe, lung_steps=lung_steps, lungs_from=lungs_from, allow_incomplete=allow_incomplete,
        seed=seed, device=device, workers=workers, licence=licence, origin=origin,
    )  # fmt: skip
    steps = steps_of(found, Place(data, out), choice)
    record = Record(out)
    _say_steps(steps, left_to_do(steps, record, found))
    if show:
        return
    run_steps(steps, record, found, run_command, _say_step, only=only)
    if not only:
        say(f"look at {write_page(out, steps, found)}")


def run_command(words: tuple[str, ...]) -> None:
    """Run a plain command of ours in this process, as if it had been typed."""
    from covid19net.cli import app

    with _typed(["covid19net", *words]):
        app(list(words), standalone_mode=False)


@contextmanager
def _typed(words: list[str]) -> Iterator[None]:
    """What cards and records take for the command that was typed."""
    before = sys.argv
    sys.argv = words
    try:
        yield
    finally:
        sys.argv = before


def _say_inventory(found: Mapping[str, "Holding"]) -> None:
    from covid19net.reproduce import WANTED, missing_lines

    for wanted in WANTED:
        if wanted.name in found:
            there = found[wanted.name]
            kind = "PHANTOMS, " if there.phantoms else ""
            say(
                f"{wanted.name}: {there.folder} ({kind}{there.patients} patients by name, {there.files} "
                f"files, {there.size / 1e9:.1f} GB); to {wanted.purpose}"
            )
    for line in missing_lines(found):
        say(line)


def _say_steps(steps: Sequence["Step"], left: Sequence["Step"]) -> None:
    """Every step with hours and disk, and what of it is left to do."""
    from covid19net.reproduce import hours_of, not_measured, sources, total

    for step in steps:
        takes = f"about {hours_of(step.cost):.2f} h on a CPU, {step.cost.disk / 1e9:.2f} GB"
        say(f"[{step.name}] {step.purpose}; {takes if step in left else 'done already'}")
    disk = sum(step.cost.disk for step in left)
    say(f"to do: about {total(left):.1f} h on two CPU cores, {disk / 1e9:.1f} GB beside the downloads")
    unknown = not_measured(left)
    said = f"; not measured there, counted as on a CPU: {', '.join(unknown)}" if unknown else ""
    say(f"with one H200: about {total(left, gpu=True):.1f} h{said}")
    say(f"estimated for scans of 150 slices from {'; '.join(sources(left))}")


def _say_step(what: str, step: "Step") -> None:
    say(f"[{step.name}] {'done already' if what == 'kept' else step.line()}")
