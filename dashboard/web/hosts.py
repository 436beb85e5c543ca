"""Checks the Host header.

Another site can make a browser send requests here under its own name (DNS rebinding). No URL is ever built
from the header, so no cache can be poisoned with a forged one either.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from flask import Flask, request

from dashboard.errors import Kind, StowageError
from dashboard.services.text import printable

_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")


def install(app: Flask, hosts: Sequence[str]) -> None:
    """Refuse requests for other hosts before anything else. If ``hosts`` is empty, allow any valid host."""
    # Werkzeug would fix doubled slashes by a redirect to a URL built from the header.
    app.url_map.merge_slashes = False

    @app.before_request
    def check() -> None:
        sent = request.headers.get("Host", "")
        # Load balancers use an address, or send no Host at all.
        if request.endpoint == "health.show":
            return
        if not _HOST.fullmatch(sent):
            raise _host_error("The request has no valid Host header.")
        if hosts and not is_allowed(sent, hosts):
            raise _host_error(f"This console does not answer to the name “{printable(sent)}”.")


def is_allowed(sent: str, hosts: Sequence[str]) -> bool:
    """Return whether a valid Host header names one of ``hosts``, or this machine by a local name."""
    match = _HOST.fullmatch(sent)
    name = match["name"].lower().rstrip(".").strip("[]") if match else ""
    if name == "localhost" or _is_loopback(name):
        return True
    return any(f".{name}".endswith(host) if host.startswith(".") else name == host for host in hosts)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _host_error(reason: str) -> StowageError:
    return StowageError(
        Kind.INVALID,
        reason,
        operation="request",
        subject="host",
        remedy="Use its usual address. An administrator can allow other names with STOWAGE_HOSTS.",
    )
