"""`covid19net serve`: the service of a hospital, on one machine."""

import os
from pathlib import Path
from typing import Annotated

import typer

from covid19net.cli.terminal import home_of, say
from covid19net.errors import InputError

EXTRA = "pip install 'covid19net[serve]'"


def serve(  # noqa: PLR0913 - each argument is an option of the command
    settings: Annotated[
        Path | None, typer.Option("--settings", help="TOML file; options and COVID19NET_SERVE_* win over it.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of jobs and results.")] = None,
    host: Annotated[
        str | None, typer.Option(help="Address of API and page; one of other machines needs tokens.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Of API and page: 8090; 0 takes a free one.")] = None,
    dicom_host: Annotated[str | None, typer.Option(help="Address of the DICOM listener.")] = None,
    dicom_port: Annotated[
        int | None, typer.Option(help="Of the DICOM listener; without it there is none.")
    ] = None,
    ae_title: Annotated[str | None, typer.Option(help="Of the DICOM listener: COVID19NET.")] = None,
    weights: Annotated[str | None, typer.Option(help="'bundled', or an installed name.")] = None,
    show: Annotated[
        bool, typer.Option("--show-settings", help="Show all settings, without secrets, and stop.")
    ] = False,
) -> None:
    """A REST API and a page, a DICOM listener, and a worker, over one folder.

    Reached from this machine only unless told otherwise. Accepted scans survive a crash. SIGTERM ends it
    within 30 seconds; what runs then is done at the next start.
    """
    from covid19net.service.settings import load_settings, show_settings

    given = {"data": data, "host": host, "port": port, "dicom_host": dicom_host, "dicom_port": dicom_port}
    loaded = load_settings(settings, os.environ, **given, ae_title=ae_title, weights=weights)
    if show:
        say(show_settings(loaded).rstrip())
        return
    check_installed()
    from covid19net.service.run import serve as run
    from covid19net.weights import find_set

    home = os.environ.get("COVID19NET_WEIGHTS")
    found = find_set(
        loaded.weights, home_of(Path(home) if home else None)
    )  # or a fault now, not at every scan
    networks = (found.lungs.card.sha256, found.diagnosis.card.sha256)

    where = f"[{loaded.host}]" if ":" in loaded.host else loaded.host
    run(
        loaded,
        ready=lambda bound: say(f"covid19net: http://{where}:{bound}/ (Ctrl-C ends it)"),
        networks=networks,
    )


def check_installed() -> None:
    """Say what is missing before anything starts.

    Raises:
        InputError: a library of the extra is not installed.
    """
    from importlib.util import find_spec

    from covid19net.report.pdf import check_pdf

    missing = [
        name
        for name in ("fastapi", "uvicorn", "prometheus_client", "pynetdicom", "dicomweb_client")
        if find_spec(name) is None
    ]
    if missing:
        raise InputError(f"the service needs {', '.join(missing)}: {EXTRA}")
    check_pdf()
