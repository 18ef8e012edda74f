"""Who may ask for what: tokens and roles, hosts and origins, and the headers of every answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
import hashlib
import hmac
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers

from covid19net.service.rest.refusals import Refusal
from covid19net.service.settings import LOOPBACK, ROLES, Settings, Token

OPEN_PATHS = frozenset({"/", "/health", "/ready", "/openapi.json"})
ASSETS = "/assets/"  # of the page
LOCAL = "local"  # owner of jobs where no tokens are configured

COMMON = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for readers older than frame-ancestors
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
API_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# The viewer compiles WebAssembly, runs workers from blobs and paints from data it holds; nothing comes
# from elsewhere, and no script or style stands in the page itself.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; font-src 'self'; worker-src 'self' blob:; frame-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
)

_bearer = HTTPBearer(auto_error=False, description="`Authorization: Bearer SECRET`")


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        name: the token's name; owner of what is submitted with it.
        roles: of read, submit and admin.
    """

    name: str
    roles: frozenset[str]

    @property
    def sees_all(self) -> bool:
        """Whether the jobs of others exist for this caller."""
        return bool(self.roles & {"read", "admin"})


class Doors:
    """The hosts a request may be addressed to, and the origins a page that asks may come from.

    The Host check keeps out pages that point their own name at this machine (DNS rebinding), the Origin check
    pages that simply send requests here; both matter most where no token is asked for.
    """

    def __init__(self, settings: Settings) -> None:
        self.hosts = {host.lower() for host in settings.allowed_hosts}

    def check(self, headers: Headers) -> None:
        """Let a request in.

        Raises:
            Refusal: 421 for a host that is not on the list, 403 for a foreign origin.
        """
        host, origin = headers.get("host", ""), headers.get("origin")
        if _host_of(f"//{host}") not in self.hosts:
            raise Refusal(421, "unknown-host", "this host name is not among the allowed hosts")
        if origin is not None and not self._is_ours(origin, host):
            raise Refusal(403, "foreign-origin", "requests from pages of other origins are not served")

    def _is_ours(self, origin: str, host: str) -> bool:
        """Whether an origin is this service, perhaps behind a proxy that gave it another port.

        On the loopback the port must agree: another port is another program, perhaps of another person.
        """
        scheme, _, place = origin.partition("://")
        if scheme not in {"http", "https"}:
            return False
        return place.lower() == host.lower() or _host_of(origin) in self.hosts - set(LOOPBACK)


def _host_of(address: str) -> str | None:
    """Host name of a URL, lower case, without its port; None when it has none."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def identify(tokens: tuple[Token, ...], headers: Headers) -> Caller:
    """Who sends a request; everybody is admin where no tokens are configured.

    Every token is compared, each in constant time, so that the time taken tells nothing.

    Raises:
        Refusal: 401 without a valid token.
    """
    if not tokens:
        return Caller(LOCAL, frozenset(ROLES))
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    digest = hashlib.sha256(secret.strip().encode("latin-1")).hexdigest()
    matching = [token for token in tokens if hmac.compare_digest(token.secret_sha256.lower(), digest)]
    if scheme.lower() != "bearer" or not secret.strip() or not matching:
        raise Refusal(401, "no-token", "a valid token is needed", {"WWW-Authenticate": "Bearer"})
    return Caller(matching[0].name, frozenset(matching[0].roles))


def needs(*roles: str) -> Callable[..., Caller]:
    """A dependency of a route: the caller, who has one of the roles or is admin."""
    enough = {*roles, "admin"}

    def caller(request: Request, _: Annotated[object, Depends(_bearer)]) -> Caller:
        who: Caller = request.scope["caller"]
        if not who.roles & enough:
            raise Refusal(403, "not-allowed", f"this needs the role {' or '.join(sorted(enough))}")
        return who

    return caller


def is_open(path: str) -> bool:
    """Whether a path is served to everybody: all others need a token, those that do not exist too."""
    return path in OPEN_PATHS or path.startswith(ASSETS)


def headers_for(path: str) -> Mapping[str, str]:
    """Headers of the answer to a request of this path, unless the answer sets its own."""
    policy = PAGE_POLICY if path == "/" or path.startswith(ASSETS) else API_POLICY
    return {**COMMON, "Content-Security-Policy": policy}
