"""`covid19net cohort from`: a manifest from a public collection, or from a hospital's own folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from covid19net.cli.terminal import progress_bar, say

if TYPE_CHECKING:
    from covid19net.collections import Collection


def cohort_from(
    name: Annotated[
        str | None, typer.Argument(help="Name of a collection (see --list), or 'folder'.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where the download was unpacked.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The manifest to write; by default NAME.csv.")
    ] = None,
    use: Annotated[
        str,
        typer.Option(
            "--for", help="lungs, egfr, diagnosis, severity, prognosis or analysis; by default its main use."
        ),
    ] = "",
    allow_incomplete: Annotated[
        bool,
        typer.Option("--allow-incomplete", help="Note counts that differ from the published ones, go on."),
    ] = False,
    show: Annotated[bool, typer.Option("--list", help="Name every collection and stop.")] = False,
) -> None:
    """Make a manifest from a downloaded public collection, or a template from a hospital's own folder.

    Counts are compared with the published ones. Beside the manifest goes NAME.source.json with licence,
    citation, what may be claimed, the counts, and the facts that still await confirmation.
    """
    from covid19net.collections import COLLECTIONS, collection_of, write_manifest, write_template

    if show:
        for collection in COLLECTIONS.values():
            _say_collection(collection)
        return
    if name is None or folder is None:
        raise typer.BadParameter("NAME and DIR are needed; --list names the collections")
    out = out or Path(f"{name.lower()}.csv")
    if name.lower() == "folder":
        scans, rest = write_template(folder, out)
        say(f"{scans} scans; {rest} other subfolders and files were left out")
        say(f"written: {out}; fill in what is known, then: covid19net cohort check {out}")
        return
    collection = collection_of(name)
    with progress_bar(collection.name) as progress:
        written = write_manifest(
            collection, folder, out, use=use, allow_incomplete=allow_incomplete,
            progress=lambda done, count: progress(f"{done} of {count} patients", done / count),
        )  # fmt: skip
    for note in written.notes:
        say(f"note: {note}")
    say(f"licence: {written.source.licence}; cite: {written.source.citation}")
    say(f"claims: {written.source.claims}")
    say(f"written: {written.manifest} ({written.patients} patients), {written.sidecar}")


def _say_collection(collection: "Collection") -> None:
    say(f"{collection.name}: {collection.title}; for {', '.join(collection.uses)}")
    say(f"  {collection.size}; licence {collection.licence}; {collection.address}")
