"""The rules for Plivo's base URL."""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")


class PlivoAddress(NamedTuple):
    tls: bool
    host: str
    port: int
    path: str


def parse_address(base_url: str, aws_endpoint_url: str = "") -> PlivoAddress:
    """The parts of the address.

    https is allowed anywhere, http only to loopback. If AWS's endpoint is http as well, http is
    also allowed to that endpoint's host and to ``host.docker.internal``, because `sam local` runs
    functions in a container.

    Raises
    ------
    ValueError
        Names the broken rule. The address is not quoted: it may hold a password.
    """
    printable = base_url.isascii() and base_url.isprintable()
    if not printable or any(mark in base_url for mark in " \\@?#"):  # urlsplit drops some
        raise ValueError("Plivo's base URL must not have credentials, a query or a fragment")
    try:
        parts = urlsplit(base_url)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        scheme, host, port = "", "", None
    if scheme not in ("https", "http"):
        raise ValueError("Plivo's base URL must be https://host[:port][/path]")
    if (_ip(host) is None and not _HOST_NAME.fullmatch(host)) or port == 0:
        raise ValueError("Plivo's base URL must name a host, and a port from 1 to 65535 if any")
    if not _PATH.fullmatch(parts.path):
        raise ValueError("the path of Plivo's base URL may hold letters, digits and -._~ only")
    tls = scheme == "https"
    if not tls and not _is_loopback(host) and host not in _local_hosts(aws_endpoint_url):
        raise ValueError("Plivo's base URL must be https unless it is a loopback address")
    return PlivoAddress(tls, host, port or (443 if tls else 80), parts.path.rstrip("/"))


def _local_hosts(aws_endpoint_url: str) -> frozenset[str]:
    endpoint = urlsplit(aws_endpoint_url)
    if endpoint.scheme != "http" or not endpoint.hostname:
        return frozenset()
    return frozenset({"host.docker.internal", endpoint.hostname})


def _is_loopback(host: str) -> bool:
    address = _ip(host)
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_loopback
    return host == "localhost" or address == ipaddress.IPv6Address("::1")


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return None if "%" in host else ipaddress.ip_address(host)
    except ValueError:
        return None
