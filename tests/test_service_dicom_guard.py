"""What floods, silence and damage do to the node: nothing that a C-ECHO would notice. PDUs are hand-made."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
import random
import time

import pytest

from covid19net.service.dicom.limits import Limits
from covid19net.service.dicom.pdu import only_verifies
from tests.dicom_node import (
    CT,
    VERIFICATION,
    Node,
    Sockets,
    answer_of,
    associate_request,
    associated,
    echo,
    node,
    until,
)

# PS3.8 tables 9-21 and 9-26: type, length 4, then result or reserved, source, reason
LOCAL_LIMIT = bytes.fromhex("03 00 00000004 00 02 03 02")
UNEXPECTED = bytes.fromhex("07 00 00000004 00 00 02 02")
INVALID = bytes.fromhex("07 00 00000004 00 00 02 06")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Node]:
    limits = Limits(
        waiting=6,
        waiting_each=4,
        associations=5,
        associations_each=3,
        echoes=2,
        request_seconds=0.5,
        silent_seconds=0.6,
        pdu_seconds=0.5,
        told_seconds=0.2,
        unanswered_bytes=100_000,
    )
    with node(tmp_path / "data", limits) as running:
        yield running


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    with ExitStack() as ends:
        yield Sockets(ends)


def broken_after(send: Callable[[], None], seconds: float = 8) -> float:
    """Seconds until the other side breaks off."""
    start = time.monotonic()
    while time.monotonic() < start + seconds:
        try:
            send()
        except OSError:
            return time.monotonic() - start
        time.sleep(0.002)
    pytest.fail("it goes on and on")


def test_half_open_connections_do_not_delay_an_echo_and_are_closed(small: Node, sockets: Sockets):
    start = time.monotonic()
    silent = [sockets.half_open(small.port) for _ in range(12)]
    assert echo(small.port) < 1
    for connection in silent:
        assert answer_of(connection) == b""
        connection.close()
    assert time.monotonic() - start < 3


def test_a_connection_that_sends_a_byte_now_and_then_is_closed_too(small: Node, sockets: Sockets):
    connection = sockets.half_open(small.port)
    assert broken_after(lambda: connection.sendall(b"\0")) < 2


def test_beyond_the_limit_of_an_address_and_in_total_the_request_is_rejected(small: Node, sockets: Sockets):
    """Three for one address, five in all; 127.0.0.2 is another address of this machine."""
    first = [sockets.asked(small.port) for _ in range(3)]
    assert [answer_of(c)[0] for c in first] == [2, 2, 2]  # A-ASSOCIATE-AC
    assert answer_of(sockets.asked(small.port)) == LOCAL_LIMIT
    others = [sockets.asked(small.port, source="127.0.0.2") for _ in range(2)]
    assert [answer_of(c)[0] for c in others] == [2, 2]
    assert answer_of(sockets.asked(small.port, source="127.0.0.3")) == LOCAL_LIMIT
    assert echo(small.port) < 1
    for connection in (*first, *others):
        connection.close()
    until(lambda: not small.listener._guard._associations)
    assert answer_of(sockets.asked(small.port))[0] == 2


def test_of_echoes_that_stay_the_oldest_gives_way(small: Node, sockets: Sockets):
    request = associate_request(sop_class=VERIFICATION)
    first, second = sockets.asked(small.port, request), sockets.asked(small.port, request)
    assert [answer_of(c)[0] for c in (first, second)] == [2, 2]
    assert echo(small.port) < 1
    first.settimeout(2)
    assert first.recv(4096)[-10:] == INVALID


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n", UNEXPECTED),
        (b"\x04\x00\x00\x00\x00\x04data", UNEXPECTED),
        (b"\x01\x00\x00\x00\x00\x00", INVALID),  # an associate request without content
        (b"\x01\x00\x00\x10\x00\x01", INVALID),  # of 1 MiB and 1 byte
        (b"\x01\x00\xff\xff\xff\xff", INVALID),
    ],
)
def test_what_is_no_request_is_aborted(small: Node, sockets: Sockets, sent: bytes, told: bytes):
    assert answer_of(sockets.asked(small.port, sent)) == told
    assert echo(small.port) < 1


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"\x04\x00\x00\x02\x00\x01", INVALID),  # data of 128 KiB and 1 byte
        (b"\x09\x00\x00\x00\x00\x04abcd", UNEXPECTED),
        (b"\x04\x00\x00\x00\x00\x0aabc", b""),  # begun and not ended
        (b"", b""),  # silence
    ],
)
def test_what_breaks_an_association_ends_it(small: Node, sockets: Sockets, sent: bytes, told: bytes):
    connection = sockets.asked(small.port)
    assert answer_of(connection)[0] == 2
    connection.sendall(sent)
    connection.settimeout(3)
    rest = b"".join(iter(lambda: connection.recv(4096), b""))
    assert rest.endswith(told)
    assert echo(small.port) < 1


def test_an_endless_object_is_cut_off(small: Node, sockets: Sockets):
    """Fragments of a data set, none of which is the last, beyond what one object may have."""
    connection = sockets.asked(small.port)
    assert answer_of(connection)[0] == 2
    fragment = bytes(9000)
    value = (len(fragment) + 2).to_bytes(4, "big") + b"\x01\x00" + fragment
    pdu = b"\x04\x00" + len(value).to_bytes(4, "big") + value
    broken_after(lambda: connection.sendall(pdu))
    assert echo(small.port) < 1


def test_random_bytes_after_a_request_leave_the_node_alive(small: Node, sockets: Sockets):
    chance = random.Random(4)
    for _ in range(30):
        request = bytearray(associate_request())
        for _ in range(chance.randrange(1, 20)):
            request[chance.randrange(len(request))] = chance.randrange(256)
        with sockets.asked(small.port, bytes(request)) as connection:
            connection.sendall(chance.randbytes(60))
    assert echo(small.port) < 1


def test_a_node_that_stops_tells_its_peers(tmp_path: Path, sockets: Sockets):
    with node(tmp_path / "data") as running:
        connection = sockets.asked(running.port)
        assert answer_of(connection)[0] == 2
    connection.settimeout(2)
    assert connection.recv(4096)[-10:] == INVALID


def test_associations_work_beside_each_other(tmp_path: Path):
    with (
        node(tmp_path / "data") as running,
        associated(running.port) as one,
        associated(running.port) as two,
    ):
        assert one.is_established
        assert two.is_established
        assert echo(running.port) < 1


def test_echo_requests_are_told_from_others():
    assert only_verifies(associate_request(sop_class=VERIFICATION)[6:])
    assert not only_verifies(associate_request(sop_class=CT)[6:])
    assert not only_verifies(b"\0" * 68 + b"\x20\x00\xff\xff\x01\x00\x00\x00\x30\x00\xff\xff")
    assert not only_verifies(b"")
