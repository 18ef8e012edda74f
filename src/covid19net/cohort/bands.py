"""Age bands: ages that a collection gives only as "60-74", "under 40" or "over 80"."""

import re

OPEN = 10.0  # years that an open band is taken to be wide, as STOIC codes its own: 35 and 85
OLDEST = 120.0  # years
_BAND = re.compile(r"(\d{1,3}) ?- ?(\d{1,3})|(under|over) (\d{1,3})", re.IGNORECASE)


def limits(text: str) -> tuple[float, float]:
    """Lower and upper limit of a band in years, both as written; an open band is ten years wide.

    Raises:
        ValueError: no band.
    """
    found = _BAND.fullmatch(text.strip())
    low = high = -1.0
    if found and found[1]:
        low, high = float(found[1]), float(found[2])
    elif found and found[3].lower() == "under":
        low, high = max(0.0, float(found[4]) - OPEN), float(found[4])
    elif found:
        low, high = float(found[4]), float(found[4]) + OPEN
    if not 0 <= low < high <= OLDEST:
        raise ValueError(f"{text!r} is no age band such as 60-74, under 40 or over 80")
    return low, high


def band(text: str) -> str:
    """A band as it is written everywhere.

    Raises:
        ValueError: no band.
    """
    limits(text)
    return re.sub(r" ?- ?", "-", text.strip().lower())


def middle(text: str) -> float:
    """The middle of a band in years.

    Raises:
        ValueError: no band.
    """
    return sum(limits(text)) / 2
