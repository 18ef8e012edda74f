"""How much of the DICOM node a peer may take up."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What the guard lets through.

    Attributes:
        waiting: connections that have not asked for an association yet; beyond it the oldest gives way.
        waiting_each: of one address.
        associations: at once.
        associations_each: of one address.
        echoes: associations at once, besides, that propose C-ECHO only.
        request_seconds: from the connection to its whole associate request.
        silent_seconds: between two PDUs.
        pdu_seconds: for the rest of a PDU that has begun, and for a peer to take an answer.
        told_seconds: for a peer to close after it was told that this is the end.
        request_bytes: of an associate request.
        pdu_bytes: of any other PDU; the maximum that the server tells its peers.
        unanswered_bytes: passed to the server since its last answer, so at most one object; by association.
        unanswered_total: the same, of all associations.
    """

    waiting: int = 64
    waiting_each: int = 16
    associations: int = 32
    associations_each: int = 16
    echoes: int = 8
    request_seconds: float = 10.0
    silent_seconds: float = 60.0
    pdu_seconds: float = 30.0
    told_seconds: float = 2.0
    request_bytes: int = 1 << 20
    pdu_bytes: int = 1 << 17
    unanswered_bytes: int = 512 << 20
    unanswered_total: int = 1 << 30
