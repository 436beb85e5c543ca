"""Which host a request may be for.

A page of somebody else's can make a browser send requests here under a name of its own (DNS rebinding).
Nothing is built from the name either way, so that no cache can be led to keep an answer with a made-up one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from flask import Flask, request

from dashboard.errors import Kind, StowageError
from dashboard.services.one_line import printable

_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")


def install(app: Flask, hosts: Sequence[str]) -> None:
    """Refuse, before anything else, requests for other hosts; with no ``hosts`` any that is a host at all."""
    # Doubled slashes would be mended by a redirect to an address made from the header.
    app.url_map.merge_slashes = False

    @app.before_request
    def check() -> None:
        sent = request.headers.get("Host", "")
        # Load balancers ask by address, or say none.
        if request.endpoint == "health.show":
            return
        if not _HOST.fullmatch(sent):
            raise _refused("The request does not say which host it is for, or says it in no usable way.")
        if hosts and not known(sent, hosts):
            raise _refused(f"This console does not answer to the name “{printable(sent)}”.")


def known(sent: str, hosts: Sequence[str]) -> bool:
    """Whether a valid Host header names one of ``hosts``, or this machine by its local name."""
    found = _HOST.fullmatch(sent)
    name = found["name"].lower().rstrip(".").strip("[]") if found else ""
    if name == "localhost" or _is_loopback(name):
        return True
    return any(f".{name}".endswith(host) if host.startswith(".") else name == host for host in hosts)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _refused(reason: str) -> StowageError:
    return StowageError(
        Kind.INVALID,
        reason,
        operation="request",
        subject="host",
        remedy="Open it under its usual address. Whoever runs it sets the names it has with STOWAGE_HOSTS.",
    )
