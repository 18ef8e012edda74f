"""The command line: parse, one call, show. Only this part prints, exits or reads the environment.

Exit codes: 0 done, 1 doubts found and --strict given, 2 bad input or arguments, 3 not a chest CT or cannot be
analysed, 4 model files, 5 resources. With several scans the first failure's code is returned and the other
scans are still done.
"""

import sys
from typing import Annotated

import typer

from covid19net import __version__
from covid19net.cli.analyze import analyze, convert, demo, doctor
from covid19net.cli.audit import audit
from covid19net.cli.batch import batch
from covid19net.cli.cohort import cohort_app
from covid19net.cli.explain import explain_app
from covid19net.cli.phantom import phantom_app
from covid19net.cli.prognosis import prognosis_app
from covid19net.cli.reproduce import reproduce_app
from covid19net.cli.serve import serve
from covid19net.cli.study import study
from covid19net.cli.terminal import fault_of, say
from covid19net.cli.train import train_app
from covid19net.cli.weights import weights_app

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a chest CT to a COVID-19 probability, lung masks and a map of suspicious areas. "
    "Research software, not a medical device.",
)
for command in (analyze, convert, doctor, demo, batch, serve, study, audit):
    app.command()(command)
app.add_typer(weights_app, name="weights")
app.add_typer(cohort_app, name="cohort")
app.add_typer(phantom_app, name="phantom")
app.add_typer(train_app, name="train")
app.add_typer(prognosis_app, name="prognosis")
app.add_typer(reproduce_app, name="reproduce")
app.add_typer(explain_app, name="explain")


def version_wanted(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        say(f"covid19net {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=version_wanted, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of every command."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every fault is one line on stderr and its exit code."""
    codes: list[int] = []
    try:
        with fault_of("", codes):
            app(arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(codes[0] if codes else 0)
