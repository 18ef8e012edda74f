"""Model cards: what a weight file is, where it comes from, and what it may be used for.

A card is a JSON file beside its weights. It carries the size and the SHA-256 of the weights, so the two
belong together: a file that does not match its card is never loaded.
"""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
import json
import math
from pathlib import Path
import re
from typing import Any, NoReturn

from covid19net.cohort import source_from
from covid19net.errors import InputError, WeightsError
from covid19net.preprocess import IMAGE_SHAPE, WHOLE

# Task -> the network that does it.
TASKS = {"lungs": "densenet-fpn", "diagnosis": "covid19net", "egfr": "covid19net"}
CARD_FORMAT = 1
LARGEST_CARD = 1 << 20  # bytes; a card is a page of text
WIDEST = 1024  # channels of a pyramid or segmentation branch
SHA256 = re.compile(r"[0-9a-f]{64}")

_TYPES: dict[str, type] = {
    "size": int,
    "options": dict,
    "metrics": dict,
    "demonstration": bool,
    "sources": list,
}


@dataclass(frozen=True)
class Card:
    """What a reader must know of one weight file.

    Attributes:
        name: of the set the file belongs to, e.g. "bundled".
        task: "lungs", "diagnosis" or "egfr".
        network: "densenet-fpn" or "covid19net".
        sha256: of the weight file, 64 lower-case hexadecimal digits.
        size: of the weight file, in bytes.
        licence: SPDX expression, or "none stated".
        origin: who made the weights and where they were published.
        training_data: what the network has seen.
        intended_use: what it is for, and what it is not for.
        options: how the network is built and used: "pyramid" and "segmentation" (channels) and "clean_up" for
            lungs, "threshold" (probability above which a scan is called positive) and "distance_limit" (see
            `Reference.limit`) for diagnosis, "shrink" (see `preprocess.shrunken`) for networks trained at
            reduced size.
        demonstration: trained on synthetic images; its answers say nothing about patients.
        training_command: the command line that made it, or "".
        metrics: what was measured, by name.
        limits: where it is known to fail.
        sources: collections that the network learned from or was measured on, also those of the weights it
            started from, as `cohort.DataSource.facts` gives them.
        converted_from: for imported weights the original's file name, SHA-256 and format; otherwise None.
    """

    name: str
    task: str
    network: str
    sha256: str
    size: int
    licence: str
    origin: str
    training_data: str
    intended_use: str
    options: dict[str, Any] = field(default_factory=dict)
    demonstration: bool = False
    training_command: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    limits: str = ""
    sources: list[dict[str, Any]] = field(default_factory=list)
    converted_from: dict[str, Any] | None = None


def _faults(values: Mapping[str, object]) -> list[str]:
    """Everything that keeps the values from being a card, in words."""
    known = {f.name: f for f in fields(Card)}
    faults = [f"unknown field {name!r}" for name in sorted(values.keys() - known.keys())]
    for name, spec in known.items():
        if name not in values:
            if spec.default is MISSING and spec.default_factory is MISSING:
                faults.append(f"field {name!r} is missing")
        elif name == "converted_from":
            if not isinstance(values[name], dict | None):
                faults.append(f"{name!r} must be an object or null")
        elif type(values[name]) is not _TYPES.get(name, str):
            faults.append(f"{name!r} must be of type {_TYPES.get(name, str).__name__}")
    return faults


def _option_faults(options: Mapping[str, Any]) -> list[str]:
    faults = []
    for name in ("pyramid", "segmentation"):
        value = options.get(name, 1)
        if type(value) is not int or not 1 <= value <= WIDEST:
            faults.append(f"option {name!r} must be a whole number from 1 to {WIDEST}")
    threshold = options.get("threshold", 0.5)
    if type(threshold) is not float or not 0 < threshold < 1:
        faults.append("option 'threshold' must be a probability between 0 and 1")
    limit = options.get("distance_limit", 1.0)
    if type(limit) is not float or not 0 < limit < math.inf:
        faults.append("option 'distance_limit' must be a number with a decimal point, above 0 and finite")
    if not _is_shrink(options.get("shrink", list(WHOLE))):
        faults.append(f"option 'shrink' must be a list of three whole divisors of {IMAGE_SHAPE}")
    if type(options.get("clean_up", True)) is not bool:
        faults.append("option 'clean_up' must be true or false")
    return faults


def _source_faults(sources: list[Any]) -> list[str]:
    try:
        for source in sources:
            source_from(source)
    except InputError as fault:
        return [f"sources: {fault}"]
    return []


def _is_shrink(value: object) -> bool:
    if type(value) is not list or len(value) != len(IMAGE_SHAPE):
        return False
    return all(type(by) is int and by >= 1 and n % by == 0 for by, n in zip(value, IMAGE_SHAPE, strict=True))


def make_card(values: Mapping[str, object], source: str) -> Card:
    """Check the fields of a card and return it.

    Args:
        values: field name -> value, as in `Card`.
        source: what to call the card in an error, usually its path.

    Raises:
        WeightsError: a field is missing, unknown, of the wrong type or out of range.
    """
    faults = _faults(values)
    if not faults:
        card = Card(**values)  # type: ignore[arg-type]  # types were checked just above
        faults = _option_faults(card.options) + _source_faults(card.sources)
        if not SHA256.fullmatch(card.sha256):
            faults.append("'sha256' must be 64 lower-case hexadecimal digits")
        if card.size <= 0:
            faults.append("'size' must be positive")
        if card.task not in TASKS:
            faults.append(f"task {card.task!r} is not one of {', '.join(TASKS)}")
        elif card.network != TASKS[card.task]:
            faults.append(f"task {card.task!r} needs the network {TASKS[card.task]!r}, not {card.network!r}")
    if faults:
        raise WeightsError(f"{source}: not a valid model card: {'; '.join(faults)}")
    return card


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def read_card(path: Path) -> Card:
    """Read a model card.

    Raises:
        WeightsError: the file is missing, too long, not JSON, or not a card.
    """
    try:
        if not path.is_file():
            raise FileNotFoundError("it is missing")
        with path.open("rb") as file:
            text = file.read(LARGEST_CARD + 1)
        if len(text) > LARGEST_CARD:
            raise ValueError(f"longer than {LARGEST_CARD} bytes")
        values = json.loads(text, parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise WeightsError(f"{path}: cannot read the model card: {error}") from error
    if not isinstance(values, dict) or values.pop("format", None) != CARD_FORMAT:
        raise WeightsError(f"{path}: not a model card of format {CARD_FORMAT}")
    return make_card(values, str(path))


def card_text(card: Card) -> str:
    """The card as JSON text, ready to be written."""
    return (
        json.dumps({"format": CARD_FORMAT} | asdict(card), indent=2, ensure_ascii=False, allow_nan=False)
        + "\n"
    )
