"""Checks the Host header.

Another site can make a browser send requests here under its own name (DNS rebinding). No URL is ever built
from the header, so no cache can be poisoned with a forged one either.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from flask import Flask, request

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.environment.live_settings import LiveSettings
from dashboard.services.text import printable
from dashboard.settings import Settings
from dashboard.web.context import services

_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")


def install(app: Flask, live: LiveSettings) -> None:
    """Refuse requests for other hosts before anything else. If none are set, allow any valid host. Each
    request follows the settings file, which is checked once a second at most."""
    # Werkzeug would fix doubled slashes by a redirect to a URL built from the header.
    app.url_map.merge_slashes = False

    @app.before_request
    def check() -> None:
        sent = request.headers.get("Host", "")
        # Load balancers use an address, or send no Host at all.
        if request.endpoint in ("health.show", "health.ready"):
            return
        if not _HOST.fullmatch(sent):
            raise _host_error("The request has no valid Host header.")
        live.poll()
        hosts = live.current.hosts
        if hosts and not is_allowed(sent, hosts):
            raise _host_error(f"This console does not answer to the name “{printable(sent)}”.")


def is_allowed(sent: str, hosts: Sequence[str]) -> bool:
    """Return whether a valid Host header names one of ``hosts``, or this machine by a local name."""
    match = _HOST.fullmatch(sent)
    name = match["name"].lower().rstrip(".").strip("[]") if match else ""
    if name == "localhost" or _is_loopback(name):
        return True
    return any(f".{name}".endswith(host) if host.startswith(".") else name == host for host in hosts)


def lockout(settings: Settings) -> InvalidInput | None:
    """Return why the sender of this request could not get back in with these settings, if they could not."""
    if settings.hosts and not is_allowed(request.host, settings.hosts):
        name = request.host.rpartition(":")[0] or request.host
        return InvalidInput(
            "STOWAGE_HOSTS",
            f"This would lock you out: you are using the console as {printable(request.host)}.",
            remedy=f"Add {printable(name)} to the list.",
        )
    if settings.secure_cookies and not request.is_secure and not services().settings.secure_cookies:
        return InvalidInput(
            "STOWAGE_SECURE_COOKIES",
            "This would lock you out: you are using the console without HTTPS.",
            remedy="Open it over HTTPS, behind a proxy with STOWAGE_TRUSTED_PROXIES, and change it there.",
        )
    return None


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
