"""The DICOM node: C-ECHO, and C-STORE of CT images, for callers on the list, behind the guard."""

import socket
import sqlite3
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from covid19net.errors import InputError
from covid19net.io.header import CT_CLASSES
from covid19net.io.pixels import HTJ2K, JPEG, JPEG_2000, JPEG_LS, NATIVE, RLE
from covid19net.service.dicom.arrivals import Arrivals, DiskFull, NotCT
from covid19net.service.dicom.guard import Address, Guard
from covid19net.service.dicom.limits import Limits
from covid19net.service.dicom.pdu import VERIFICATION
from covid19net.service.dicom.quiet import quiet_libraries
from covid19net.service.intake import Intake, TooLarge
from covid19net.service.jobs import Jobs
from covid19net.service.logs import log
from covid19net.service.settings import Settings

if TYPE_CHECKING:
    from pynetdicom.events import EventHandlerType
    from pynetdicom.transport import AssociationServer

# of C-STORE, PS3.4 table B.2-1; general ones, PS3.7 annex C
STORED = 0x0000
OTHER_CLASS = 0x0122  # refused: SOP class not supported
FAILED = 0x0110  # processing failure
NO_ROOM = 0xA700  # refused: out of resources
MISMATCH = 0xA900  # data set does not match SOP class
UNREADABLE = 0xC000  # cannot understand

DEFLATED = "1.2.840.10008.1.2.1.99"  # not taken: inflating belongs into the process that may die of it
SYNTAXES = sorted((NATIVE | JPEG | JPEG_LS | JPEG_2000 | HTJ2K | {RLE}) - {DEFLATED})
NEGOTIATION, MESSAGE, SILENCE = 5, 60, 90  # seconds; the guard's own limits come first


class Listener:
    """Receives scans, and makes a job of every series."""

    def __init__(
        self, settings: Settings, intake: Intake, jobs: Jobs, *, limits: Limits | None = None
    ) -> None:
        """Prepare; nothing listens before `start`.

        Args:
            settings: `dicom_port` is a number.
            intake: where series become jobs.
            jobs: the queue.
            limits: of the guard.
        """
        self._settings = settings
        self._limits = limits or Limits()
        self._arrivals = Arrivals(settings, intake, jobs)
        self._brought: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()  # series of an association
        self._server: AssociationServer | None = None
        self._guard = Guard((settings.dicom_host, settings.dicom_port or 0), self._hand_over, self._limits)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._guard.port

    def start(self) -> None:
        """Take up what had arrived before, and listen.

        Raises:
            InputError: the address cannot be used.
            DiskFull: the database cannot be written.
        """
        self._server = _server(self._settings, self._limits, self._handlers())
        self._arrivals.start()
        self._guard.start()
        log("listening", port=self.port)

    def stop(self) -> None:
        """Break off associations and end; what was acknowledged is on the disk."""
        self._guard.stop()
        if self._server:
            for association in self._server.active_associations:
                association.join(5)
        self._arrivals.stop()

    def _hand_over(self, request: bytes, end: socket.socket, address: Address) -> None:
        """Give an association to the server, which would wait for more after a request it cannot read."""
        from pynetdicom.pdu import A_ASSOCIATE_RQ

        try:
            asked = A_ASSOCIATE_RQ()
            asked.decode(request)
            asked.to_primitive()
        except Exception as error:  # whatever its parts raise
            raise ValueError("no associate request") from error
        if self._server:
            self._server.process_request(end, address)

    def _handlers(self) -> "list[EventHandlerType]":
        from pynetdicom import evt

        return [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_RELEASED, self._released),
            (evt.EVT_CONN_CLOSE, self._closed),
        ]

    def _store(self, event: Any) -> int:  # noqa: ANN401
        """Keep one object; what comes back is the DICOM status."""
        if event.request.AffectedSOPClassUID not in CT_CLASSES - {""}:
            return OTHER_CLASS
        try:
            series = self._arrivals.keep(event.assoc.requestor.ae_title.strip(), event.encoded_dataset())
        except (DiskFull, TooLarge, NotCT, InputError, OSError, sqlite3.Error) as error:
            status = _status_of(error)
            log("store-refused", code=status, fault=type(error).__name__)
            return status
        self._brought.setdefault(event.assoc, set()).add(series)
        return STORED

    def _released(self, event: Any) -> None:  # noqa: ANN401
        self._arrivals.ended(self._brought.pop(event.assoc, set()), cut=False)

    def _closed(self, event: Any) -> None:  # noqa: ANN401
        """Also comes with a release, before or after it; before, the release is what counts in the end."""
        self._arrivals.ended(self._brought.get(event.assoc, set()), cut=True)


def _status_of(error: Exception) -> int:
    if isinstance(error, DiskFull | TooLarge):
        return NO_ROOM
    if isinstance(error, NotCT):
        return MISMATCH
    return UNREADABLE if isinstance(error, InputError) else FAILED


def _server(settings: Settings, limits: Limits, handlers: "list[EventHandlerType]") -> "AssociationServer":
    """The server of pynetdicom, which gets its connections from the guard only."""
    from pynetdicom import AE
    from pynetdicom.transport import AssociationServer

    class Unbound(AssociationServer):
        """A server without an address."""

        def server_bind(self) -> None:
            """Bind nothing."""

        def server_activate(self) -> None:
            """Listen nowhere."""
            if self.socket:
                self.socket.close()

    quiet_libraries()
    ae = AE(ae_title=settings.ae_title)
    ae.require_called_aet = True
    ae.require_calling_aet = list(settings.callers)
    ae.maximum_pdu_size = limits.pdu_bytes
    ae.maximum_associations = 10_000  # the guard counts them
    ae.acse_timeout, ae.dimse_timeout, ae.network_timeout = NEGOTIATION, MESSAGE, SILENCE
    ae.add_supported_context(VERIFICATION.decode())
    for sop_class in sorted(CT_CLASSES - {""}):
        ae.add_supported_context(sop_class, SYNTAXES)
    nowhere = ("127.0.0.1", 0)  # it is not bound
    return ae.make_server(nowhere, evt_handlers=handlers, server_class=Unbound)
