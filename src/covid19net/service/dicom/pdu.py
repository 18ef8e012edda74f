"""The few things the guard knows of the DICOM upper layer protocol (PS3.8 section 9.3)."""

import struct
from struct import unpack_from

ASSOCIATE_REQUEST, RELEASE_REPLY, ABORT = 0x01, 0x06, 0x07
HEADER = 6  # bytes: type, reserved, length of what follows (4, big endian)
FIXED = 68  # bytes of an associate request before its items: version, AE titles, reserved
VERIFICATION = b"1.2.840.10008.1.1"
PRESENTATION_CONTEXT, ABSTRACT_SYNTAX = 0x20, 0x30

# transient; by the service provider, presentation; local limit exceeded (table 9-21)
LOCAL_LIMIT = bytes([0x03, 0, 0, 0, 0, 4, 0, 2, 3, 2])
# by the service provider; unexpected PDU, invalid parameter (table 9-26)
UNEXPECTED = bytes([ABORT, 0, 0, 0, 0, 4, 0, 0, 2, 2])
INVALID = bytes([ABORT, 0, 0, 0, 0, 4, 0, 0, 2, 6])


def kind_and_length(header: bytes) -> tuple[int, int]:
    """Type of a PDU, and how many bytes follow its header."""
    kind, length = unpack_from(">BxL", header)
    return int(kind), int(length)


def only_verifies(request: bytes) -> bool:
    """Whether an associate request proposes C-ECHO and nothing else.

    Args:
        request: what follows the header.
    """
    try:
        proposed = {
            name
            for kind, start, stop in _items(request, FIXED, len(request))
            if kind == PRESENTATION_CONTEXT
            for name in _abstract_syntaxes(request, start + 4, stop)
        }
    except struct.error:
        return False
    return proposed == {VERIFICATION}


def _items(request: bytes, at: int, end: int) -> list[tuple[int, int, int]]:
    """Type, first byte and end of every item: type, reserved, length (2, big endian), value."""
    found = []
    while at < end:
        kind, length = unpack_from(">BxH", request, at)
        found.append((int(kind), at + 4, at + 4 + length))
        at += 4 + length
    return found


def _abstract_syntaxes(request: bytes, start: int, stop: int) -> list[bytes]:
    inner = _items(request, start, stop)
    return [request[at:end].rstrip(b"\0 ") for kind, at, end in inner if kind == ABSTRACT_SYNTAX]
