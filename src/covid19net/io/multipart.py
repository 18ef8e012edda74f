"""Bodies of several parts (RFC 2046 section 5.1.1), split as they arrive and in little memory."""

from collections.abc import Iterable, Iterator

from covid19net.errors import InputError

LONGEST_HEAD = 8192  # bytes before the body of a part


def parts_of(chunks: Iterable[bytes], boundary: bytes, name: str) -> Iterator[Iterator[bytes]]:
    """The bodies of the parts, one after the other, each as pieces; each is to be read before the next.

    Args:
        chunks: the whole body as it arrives.
        boundary: what separates the parts, without the leading dashes.
        name: of who sent it, for faults.

    Raises:
        InputError: the body ends early, or the head of a part is endless.
    """
    body = _Body(iter(chunks), b"\r\n--" + boundary, name)
    for _ in body.until_delimiter():  # a preamble
        pass
    while not body.starts_with(b"--"):
        body.skip_head()
        part = body.until_delimiter()
        yield part
        for _ in part:
            pass


class _Body:
    """A body with what has arrived of it but is not handed on yet."""

    def __init__(self, chunks: Iterator[bytes], delimiter: bytes, name: str) -> None:
        self._name = name
        self._chunks = chunks
        self._delimiter = delimiter
        self._held = b"\r\n"  # the first delimiter may stand at the very start

    def _more(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise InputError(f"{self._name}: the connection broke before everything had come")
        self._held += chunk

    def starts_with(self, mark: bytes) -> bool:
        while len(self._held) < len(mark):
            self._more()
        return self._held.startswith(mark)

    def skip_head(self) -> None:
        """Drop the lines before an empty one."""
        while (end := self._held.find(b"\r\n\r\n")) < 0:
            if len(self._held) > LONGEST_HEAD:
                raise InputError(f"{self._name}: the answer is damaged")
            self._more()
        self._held = self._held[end + 4 :]

    def until_delimiter(self) -> Iterator[bytes]:
        """What stands before the next delimiter, which is dropped."""
        overlap = len(self._delimiter) - 1
        while (end := self._held.find(self._delimiter)) < 0:
            if len(self._held) > overlap:
                yield self._held[:-overlap]
                self._held = self._held[-overlap:]
            self._more()
        if end:
            yield self._held[:end]
        self._held = self._held[end + len(self._delimiter) :]
