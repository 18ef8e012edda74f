"""The settings as a TOML file again, without what must stay secret."""

from dataclasses import asdict
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from covid19net.service.settings import Settings

HIDDEN = "hidden"


def show_settings(settings: "Settings") -> str:
    """All settings, given or by default, as TOML; secrets, and passwords in URLs, are hidden."""
    plain, tables = [], []
    for name, value in asdict(settings).items():
        if value is None:
            plain.append(f"# {name} is not set")
        elif name in ("tokens", "destinations"):
            tables += [_table(name, each) for each in value]
        else:
            secret = name.endswith("authorization") and value
            plain.append(f"{name} = {_value(HIDDEN if secret else value)}")
    return "\n".join([*plain, *tables]) + "\n"


def _table(name: str, values: dict[str, Any]) -> str:
    values = values | {name: HIDDEN for name in ("secret_sha256", "authorization") if values.get(name)}
    return "\n".join(
        ["", f"[[{name}]]", *(f"{k} = {_value(v)}" for k, v in values.items() if v not in ("", 0))]
    )


def _value(value: object) -> str:
    if isinstance(value, tuple | frozenset):
        ordered = sorted(value) if isinstance(value, frozenset) else value
        return f"[{', '.join(_value(each) for each in ordered)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    text = str(value) if isinstance(value, Path) else _without_password(str(value))
    return json.dumps(text, ensure_ascii=False)  # printable JSON text is a TOML basic string


def _without_password(text: str) -> str:
    if "://" not in text or "@" not in text:
        return text
    parts = urlsplit(text)
    return urlunsplit(parts._replace(netloc=f"{HIDDEN}@{parts.netloc.rpartition('@')[2]}"))
