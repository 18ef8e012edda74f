"""Commands on weight sets."""

from pathlib import Path
from typing import Annotated

import typer

from covid19net.cli.terminal import HomeOption, home_of, progress_bar, say
from covid19net.errors import InputError

weights_app = typer.Typer(no_args_is_help=True, help="List, read, import and install model weights.")


@weights_app.command("list")
def weights_list(home: HomeOption = None) -> None:
    """The weight sets at hand, and those that can be installed."""
    from covid19net.weights import list_sets

    for found in list_sets(home_of(home)):
        say(f"{found.name}: {found.state}; {', '.join(found.tasks)}; licence {found.licence or 'unknown'}")
        say(f"    {found.note or found.origin}")


@weights_app.command("card")
def weights_card(name: Annotated[str, typer.Argument()], home: HomeOption = None) -> None:
    """Everything known about a weight set: data, licence, command, metrics, limits."""
    from dataclasses import asdict
    import json

    from covid19net.weights import find_set

    found = find_set(name, home_of(home))
    for weights in filter(None, (found.lungs, found.diagnosis, found.egfr)):
        say(json.dumps(asdict(weights.card), indent=2))


@weights_app.command("import")
def weights_import(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.h5...")],
    name: Annotated[str, typer.Option(help="Name of the weight set to make or to add to.")],
    task: Annotated[
        str | None,
        typer.Option(help="lungs, diagnosis or egfr; the last two look alike and are taken for diagnosis."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Turn the authors' Keras files into a weight set of ours; no TensorFlow needed."""
    from covid19net.weights import import_keras, new_set_folder

    folder = new_set_folder(name, home_of(home))
    for file in files:
        made = import_keras(file, folder, task=task)
        say(f"{made.path}: {made.card.task} weights")


@weights_app.command("join")
def weights_join(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="With networks of different tasks each.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the set; the networks are copied.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Install the set under this name instead.")] = None,
    home: HomeOption = None,
) -> None:
    """Put networks that were trained apart (lungs, auxiliary, diagnosis) into one weight set."""
    from covid19net.weights import join_sets, new_set_folder

    if (out is None) == (name is None):
        raise InputError("where to: either --out FOLDER or --name NAME")
    place = out if out is not None else new_set_folder(str(name), home_of(home))
    made = join_sets(folders, place)
    say(f"{place}: {', '.join(made)}; use it with --weights {name or f'{place}/'}")


@weights_app.command("install")
def weights_install(
    name: Annotated[str, typer.Argument(help="wang2020")],
    accept_unlicensed: Annotated[
        bool,
        typer.Option("--accept-unlicensed", help="Download although the repository states no licence."),
    ] = False,
    address: Annotated[str | None, typer.Option(help="Another address of the released files.")] = None,
    home: HomeOption = None,
) -> None:
    """Download the released weights, check them, and import them as a weight set."""
    from covid19net.weights import install_wang2020
    from covid19net.weights.registry import PUBLISHED

    if name not in PUBLISHED:
        raise InputError(f"{name!r} cannot be installed; known: {', '.join(PUBLISHED)}")
    with progress_bar("download") as progress:
        found = install_wang2020(
            home_of(home),
            accept_unlicensed=accept_unlicensed,
            base_url=address,
            progress=lambda file, done, size: progress(file, done / size),
        )
    say(f"installed: use it with --weights {found.name}")
