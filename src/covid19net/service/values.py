"""How one value of the settings is read: what it must be, or a ValueError that says so."""

from collections.abc import Callable, Mapping
from pathlib import Path
import re
from typing import Any
from urllib.parse import urlsplit


def word(value: object) -> str:
    """A word."""
    if not isinstance(value, str) or not 0 < len(value) <= 255 or not value.isprintable() or " " in value:
        raise ValueError("a word is needed")
    return value


def ae_title(value: object) -> str:
    """1 to 16 characters of the default repertoire, no backslash, not only spaces (PS3.5 6.2, VR AE)."""
    if not isinstance(value, str) or not re.fullmatch(r"[ -\[\]-~]{1,16}", value.strip()):
        raise ValueError("an AE title has 1 to 16 ASCII characters")
    return value.strip()


def folder(value: object) -> Path:
    """A folder, as an absolute path."""
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("a folder is needed")
    return Path(value).expanduser().absolute()


def url(value: object) -> str:
    """An http or https address without query."""
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise ValueError("a URL is needed")
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("an http or https URL without query is needed")
    return value.rstrip("/")


def header(value: object) -> str:
    """The value of an HTTP header."""
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value.strip():
        raise ValueError("text of one line is needed")
    return value.strip()


def yes_or_no(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false is needed")
    return value


def whole(low: int, high: int) -> Callable[[object], int]:
    """Reader of a whole number, both ends included."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high} is needed")
        return value

    return read


def number(low: float, high: float) -> Callable[[object], float]:
    """Reader of a number, both ends included."""

    def read(value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g} is needed")
        return float(value)

    return read


def several(read: Callable[[object], Any]) -> Callable[[object], tuple[Any, ...]]:
    """Reader of a list of values."""

    def read_all(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError("a list is needed")
        return tuple(read(each) for each in value)

    return read_all


def one_of(choices: tuple[str, ...]) -> Callable[[object], str]:
    """Reader of one of several words."""

    def read(value: object) -> str:
        if value not in choices:
            raise ValueError(f"choose of {', '.join(choices)}")
        return str(value)

    return read


def table(value: object, readers: Mapping[str, Callable[[object], Any]]) -> dict[str, Any]:
    """A table with known names only."""
    if not isinstance(value, Mapping):
        raise ValueError("a table is needed")
    unknown = sorted(set(value) - set(readers))
    if unknown:
        raise ValueError(f"{', '.join(unknown)} is not known; there are {', '.join(readers)}")
    return {name: readers[name](each) for name, each in value.items()}
