"""Where a cluster is, and what lets one in."""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from autoft.errors import ConfigError
from autoft.tuner.ray_token import find_token

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
ADDRESS = "RAY_API_SERVER_ADDRESS"


@dataclass(frozen=True)
class Access:
    """An address, and the token that is shown there."""

    address: str
    """A URL without a slash at the end."""
    token: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What goes with every request."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def access_to(address: str | None = None, environment: Mapping[str, str] = os.environ) -> Access:
    """How to reach a cluster's dashboard.

    Args:
        address: its URL; default: RAY_API_SERVER_ADDRESS, else port 8265 of this machine.
        environment: where Ray's variables are.

    Raises:
        ConfigError: not a URL of a dashboard, a token that others can read, or no token for another machine.
    """
    url = check_address(address or environment.get(ADDRESS) or DEFAULT_ADDRESS)
    token = find_token(environment)
    if token is None and not is_loopback(url):
        raise ConfigError(
            f"--address {url}: is another machine, and there is no token; a cluster without one runs anybody's code. "
            "Start it with RAY_AUTH_MODE=token, and write its token to ~/.ray/auth_token (chmod 600) or RAY_AUTH_TOKEN"
        )
    return Access(url, token)


def check_address(address: str) -> str:
    """The URL of a dashboard as it is used: with a scheme, without a slash at the end.

    Raises:
        ConfigError: anything else, a password in it included.
    """
    given = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(given)
        port, host = parts.port, parts.hostname
    except ValueError:
        parts, port, host = urlsplit(""), None, None
    if parts.scheme not in {"http", "https"} or not host or port == 0 or parts.query or parts.fragment:
        raise ConfigError(f"--address: must be the URL of a Ray dashboard such as http://head:8265, got {address!r}")
    if "@" in parts.netloc:
        raise ConfigError(
            "--address: must hold no user or password; tokens go into ~/.ray/auth_token or RAY_AUTH_TOKEN"
        )
    return given.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether the host is this machine, and reached without a network."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
