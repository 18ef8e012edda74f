"""The command that looks for impossible numbers in a table of results."""

from pathlib import Path
from typing import Annotated

import typer

from covid19net.cli.terminal import say
from covid19net.errors import InputError


def audit(
    table: Annotated[
        Path | None, typer.Argument(help="CSV with one row a set of patients.", show_default=False)
    ] = None,
    example: Annotated[bool, typer.Option("--example", help="Look at Table 2 of Wang et al. 2020.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when there is a doubt.")] = False,
) -> None:
    """Name the numbers of a results table that cannot be, or hardly can, one line each.

    Columns, any of which may be absent: set, n, positive, negative, auc, auc_low, auc_high, accuracy,
    sensitivity, specificity, ppv, npv, prevalence. Rates are fractions or percent, for each column: percent
    where a percent sign stands or the median is above 1.5. Every number stands for all that rounds to it.
    Doubts are a result: the exit code is 0 unless --strict is given.
    """
    from covid19net.evaluate.audit import audit as find_doubts
    from covid19net.evaluate.results import EXAMPLE, read_results

    if (table is None) != example:
        raise InputError("name one table, or --example for that of Wang et al. 2020")
    results = read_results(table or EXAMPLE)
    doubts = find_doubts(results.rows)
    for doubt in doubts:
        say(str(doubt))
    if results.ignored:
        say(f"columns not looked at: {', '.join(results.ignored)}")
    rows = f"{len(results.rows)} row{'s' * (len(results.rows) > 1)}"
    impossible = sum(doubt.severity == "impossible" for doubt in doubts)
    say(
        f"{rows}: {impossible} impossible, {len(doubts) - impossible} implausible"
        if doubts
        else f"{rows}: no doubt"
    )
    if doubts and strict:
        raise typer.Exit(1)
