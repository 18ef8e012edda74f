"""Settings of the service: one TOML file, the environment, and options, in rising order of say."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
import re
import tomllib
from typing import Any

from covid19net.errors import InputError
from covid19net.service.show import show_settings
from covid19net.service.values import (
    ae_title,
    folder,
    header,
    number,
    one_of,
    several,
    table,
    url,
    whole,
    word,
    yes_or_no,
)

__all__ = [
    "LOOPBACK",
    "OBJECTS",
    "ROLES",
    "Destination",
    "Settings",
    "Token",
    "is_loopback",
    "load_settings",
    "show_settings",
]

ENVIRONMENT = "COVID19NET_SERVE_"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ROLES = ("read", "submit", "admin")
OBJECTS = ("seg", "sr", "pdf", "capture", "map")
SHORTEST_SECRET = 16  # characters; what is guessed online must not be short


@dataclass(frozen=True)
class Token:
    """Who may ask, and for what; the secret itself is not kept.

    Attributes:
        name: owner of the jobs submitted with it.
        secret_sha256: of the secret, hexadecimal.
        roles: of `ROLES`.
    """

    name: str
    secret_sha256: str
    roles: frozenset[str]


@dataclass(frozen=True)
class Destination:
    """Where results are sent.

    Attributes:
        name: for status and logs.
        kind: "dicom" (C-STORE to host, port and ae) or "stow" (STOW-RS to url).
        objects: of `OBJECTS`.
        host: address of a DICOM node.
        port: of a DICOM node.
        ae: its AE title.
        url: of a DICOMweb server, up to the part before /studies.
        authorization: of a DICOMweb server: sent as the header Authorization, such as "Bearer ...".
    """

    name: str
    kind: str
    objects: tuple[str, ...] = OBJECTS
    host: str = ""
    port: int = 0
    ae: str = ""
    url: str = ""
    authorization: str = field(default="", repr=False)


@dataclass(frozen=True)
class Settings:
    """How the service runs.

    Attributes:
        data: folder of everything it keeps.
        host: address of the REST API and the page.
        port: of the same; 0 takes a free one.
        allowed_hosts: names under which browsers reach it (the Host header, without port).
        tokens: who may ask; none is allowed on loopback only, and makes everybody there admin.
        queue_limit: jobs that may wait.
        workers: jobs that run at once.
        job_memory_gb: resident memory of one job, 10^9 bytes.
        job_minutes: time of one job.
        upload_limit_mb: of one submission, 10^6 bytes.
        upload_files: of one submission.
        keep_inputs_days: after the job's end; then what was sent is deleted.
        keep_results_days: after the job's end; then the job is deleted.
        weights: weight set, as for `analyze`.
        identify: whether reports name the patient.
        dicom_port: of the DICOM listener; None for no listener, 0 takes a free port.
        dicom_host: its address.
        ae_title: its AE title.
        callers: AE titles it takes scans from; none is allowed on loopback only, and lets every caller in.
        quiet_seconds: without a new slice, after which a series is taken as complete.
        destinations: where results are sent.
        pacs: URL of a DICOMweb server that scans are fetched from on request.
        pacs_authorization: sent to it as the header Authorization, such as "Bearer ...".
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8090
    allowed_hosts: tuple[str, ...] = LOOPBACK
    tokens: tuple[Token, ...] = ()
    queue_limit: int = 200
    workers: int = 1
    job_memory_gb: float = 4.0  # 600 slices of 512 x 512 with all results take 3.5
    job_minutes: float = 20.0
    upload_limit_mb: int = 2048
    upload_files: int = 5000
    keep_inputs_days: float = 7.0
    keep_results_days: float = 365.0
    weights: str = "bundled"
    identify: bool = False
    dicom_port: int | None = None
    dicom_host: str = "127.0.0.1"
    ae_title: str = "COVID19NET"
    callers: tuple[str, ...] = ()
    quiet_seconds: float = 20.0
    destinations: tuple[Destination, ...] = ()
    pacs: str | None = None
    pacs_authorization: str = field(default="", repr=False)


def load_settings(file: Path | None, environment: Mapping[str, str], **given: object) -> Settings:
    """The settings, checked.

    Args:
        file: TOML with the names of `Settings`; tokens and destinations are arrays of tables, a token has
            "secret" or "secret_sha256".
        environment: `COVID19NET_SERVE_` and a name in capitals; values as in TOML, text also without quotes,
            several names also with commas.
        given: options of the command line; None is not given.

    Raises:
        InputError: everything that is wrong, in one line.
    """
    values = _of_file(file) if file else {}
    values |= _of_environment(environment)
    values |= {name: value for name, value in given.items() if value is not None}
    faults: list[str] = []
    parsed: dict[str, Any] = {}
    for name, value in values.items():
        if name not in READERS:
            faults.append(f"{name} is no setting")
            continue
        try:
            parsed[name] = READERS[name](value)
        except ValueError as fault:
            faults.append(f"{name}: {fault}")
    faults += [f"{name} is missing: give --{name}" for name in REQUIRED if name not in values]
    if not faults:
        settings = Settings(**parsed)
        faults = _conflicts(settings)
    if faults:
        raise InputError(f"{file.name if file else 'settings'}: {'; '.join(faults)}")
    return settings


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _conflicts(settings: Settings) -> list[str]:
    """What each setting allows and all together do not."""
    faults = []
    if not settings.tokens and not is_loopback(settings.host):
        faults.append(f"host {settings.host} can be reached from elsewhere: that needs tokens")
    if settings.dicom_port is not None and not settings.callers and not is_loopback(settings.dicom_host):
        faults.append(f"dicom_host {settings.dicom_host} can be reached from elsewhere: that needs callers")
    if settings.port and settings.port == settings.dicom_port:
        faults.append(f"port and dicom_port are both {settings.port}")
    if settings.keep_results_days < settings.keep_inputs_days:
        faults.append("keep_results_days is less than keep_inputs_days: what was sent goes with the job")
    for kind, names in (
        ("tokens", [token.name for token in settings.tokens]),
        ("tokens", [token.secret_sha256 for token in settings.tokens]),
        ("destinations", [destination.name for destination in settings.destinations]),
    ):
        if len(set(names)) < len(names):
            faults.append(f"{kind}: two have the same name or secret")
    return faults


def _of_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file}: settings cannot be read ({error.strerror})") from error
    except ValueError as error:  # TOML or UTF-8
        raise InputError(f"{file.name}: no TOML: {error}") from error


def _of_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Values of the environment; what is no TOML value is text."""
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        name = variable.removeprefix(ENVIRONMENT).lower()
        if name == variable.lower():
            continue
        if READERS.get(name) in (word, ae_title, folder, url, header):
            values[name] = text
            continue
        try:
            values[name] = tomllib.loads(f"value = {text}")["value"]
        except ValueError:
            listed = READERS.get(name) in (_names, _ae_titles)
            values[name] = [part.strip() for part in text.split(",")] if listed else text
    return values


def _token(value: object) -> Token:
    given = table(value, {"name": word, "secret": _secret, "secret_sha256": _digest, "roles": _roles})
    secrets = [given[key] for key in ("secret", "secret_sha256") if key in given]
    if len(secrets) != 1 or "name" not in given or not given.get("roles"):
        raise ValueError("a token has name, roles, and secret or secret_sha256")
    return Token(given["name"], secrets[0], frozenset(given["roles"]))


def _secret(value: object) -> str:
    if not isinstance(value, str) or len(value) < SHORTEST_SECRET:
        raise ValueError(f"a secret has at least {SHORTEST_SECRET} characters")
    return sha256(value.encode()).hexdigest()


def _digest(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-fA-F]{64}", value):
        raise ValueError("a SHA-256 has 64 hexadecimal digits")
    return value.lower()


def _destination(value: object) -> Destination:
    given = table(value, DESTINATION)
    for kind, needed in (("dicom", {"host", "port", "ae"}), ("stow", {"url"})):
        may = {"name", "kind", "objects"} | ({"authorization"} if kind == "stow" else set())
        if given.get("kind") == kind and set(given) - may != needed:
            raise ValueError(f"a {kind} destination has name, {', '.join(sorted(needed))}")
    if not {"name", "kind"} <= set(given):
        raise ValueError("a destination has a name and a kind, dicom or stow")
    return Destination(**given)


_port = whole(0, 65535)
_names, _ae_titles, _roles = several(word), several(ae_title), several(one_of(ROLES))
DESTINATION: dict[str, Callable[[object], Any]] = {
    "name": word, "kind": one_of(("dicom", "stow")), "objects": several(one_of(OBJECTS)),
    "host": word, "port": whole(1, 65535), "ae": ae_title, "url": url,
    "authorization": header,
}  # fmt: skip
READERS: dict[str, Callable[[object], Any]] = {
    "data": folder, "host": word, "port": _port, "allowed_hosts": _names, "tokens": several(_token),
    "queue_limit": whole(1, 100_000), "workers": whole(1, 64), "job_memory_gb": number(0.5, 1024),
    "job_minutes": number(0.01, 1440), "upload_limit_mb": whole(1, 100_000),
    "upload_files": whole(1, 100_000),
    "keep_inputs_days": number(0, 36525), "keep_results_days": number(0, 36525), "weights": word,
    "identify": yes_or_no,
    "dicom_port": _port, "dicom_host": word, "ae_title": ae_title, "callers": _ae_titles,
    "quiet_seconds": number(0.1, 86_400), "destinations": several(_destination), "pacs": url,
    "pacs_authorization": header,
}  # fmt: skip
REQUIRED = [field.name for field in fields(Settings) if field.default is MISSING]
