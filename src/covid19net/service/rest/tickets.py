"""Tickets: how a browser opens one file in a tab of its own, where it cannot send a token along.

Each is good for one request for one file, within a minute, of what its caller may see anyhow; so an address
that is left in a history or a log of a proxy opens nothing.
"""

from dataclasses import dataclass
import secrets
from threading import Lock
from time import monotonic

from covid19net.service.rest.security import Caller

SECONDS = 60.0
MOST = 1000  # at once; the oldest gives way


@dataclass(frozen=True)
class Ticket:
    """What a ticket opens: a file of a job, for a caller, until a time of the monotonic clock."""

    job: str
    name: str
    caller: Caller
    until: float


class Tickets:
    """The tickets that were not used yet, for any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._issued: dict[str, Ticket] = {}

    def issue(self, job: str, name: str, caller: Caller) -> str:
        """A ticket for a file."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._issued) >= MOST:
                del self._issued[next(iter(self._issued))]
            self._issued[secret] = Ticket(job, name, caller, monotonic() + SECONDS)
        return secret

    def take(self, secret: str) -> Ticket | None:
        """What it opens, once; None if it is used, too old, or none."""
        with self._lock:
            ticket = self._issued.pop(secret, None)
        return ticket if ticket and monotonic() < ticket.until else None
