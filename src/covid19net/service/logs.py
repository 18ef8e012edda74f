"""Log lines: an event and key=value pairs of an allow-list; nothing a person could be known by.

No names, labels, tags, file names or URLs: a field that is not listed does not exist.
"""

import logging
import re
import sys
import time
from typing import TypedDict, Unpack

LOGGER = logging.getLogger("covid19net.service")


class Fields(TypedDict, total=False):
    """What a line may say."""

    job: str  # our own random id
    state: str
    source: str
    code: int  # exit code, HTTP status or DICOM status
    stop: str  # why a process was stopped
    seconds: float
    bytes: int
    files: int
    count: int
    attempts: int
    ae: str  # of a configured caller or destination
    destination: str  # name in the settings
    port: int
    route: str  # template, not the path asked for
    method: str
    fault: str  # type of an exception, not its text
    place: str  # of the code where it was raised
    version: str


def log(event: str, **fields: Unpack[Fields]) -> None:
    """Write one line: the event, then what is known of it. Fields that are not listed are left out."""
    known = (f"{name}={_plain(value)}" for name, value in fields.items() if name in Fields.__annotations__)
    LOGGER.info(" ".join([event, *known]))


def log_to_stderr() -> None:
    """Write the log to stderr, with the time in UTC, whatever other libraries do with theirs."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = _utc
    handler.setFormatter(formatter)
    LOGGER.handlers = [handler]
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


def _utc(seconds: float | None) -> time.struct_time:
    return time.gmtime(seconds)


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return re.sub(r"[^\w.:/{}+-]", "_", str(value), flags=re.ASCII)[:80]
