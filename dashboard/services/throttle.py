"""Slowing down whoever guesses passwords, by username and by address.

An attempt is counted before the password is looked at, so that a hundred at once count as a hundred.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import time

from sqlalchemy import delete
from sqlalchemy.orm import Session

from dashboard.errors import Kind, StowageError
from dashboard.models.accounts import SignInAttempts

FREE = 5
"""Failures before the first wait."""
FIRST_WAIT = 30.0
LONGEST_WAIT = 900.0
FORGET = 3600.0
"""Seconds without a failure after which the count starts again."""


def count_attempt(session: Session, username: str, address: str, *, now: float | None = None) -> None:
    """Take note of an attempt, in a writing transaction. Raises ``THROTTLED`` while one must wait."""
    now = time.time() if now is None else now
    session.execute(delete(SignInAttempts).where(SignInAttempts.last_at < now - FORGET))
    rows = [_row(session, scope, name) for scope, name in _names(username, address)]
    wait = max((row.blocked_until - now for row in rows), default=0.0)
    if wait > 0:
        raise _too_many(wait)
    for row in rows:
        row.failures += 1
        row.last_at = now
        if row.failures >= FREE:
            # A float: 2**n of a long attack would not fit.
            doublings = min(row.failures - FREE, 10)
            row.blocked_until = now + min(FIRST_WAIT * 2.0**doublings, LONGEST_WAIT)


def forgive(session: Session, username: str, address: str) -> None:
    """The attempt was right: forget the failures for this username, and this one for the address.

    The address keeps its other failures: someone with an account of their own may guess for others.
    """
    for scope, name in _names(username, address):
        row = session.get(SignInAttempts, (scope, name))
        if row is None:
            continue
        row.failures = 0 if scope == "user" else max(0, row.failures - 1)
        if row.failures < FREE:
            row.blocked_until = 0.0


def forget_user(session: Session, username: str) -> None:
    """An administrator set a new password: let its owner in at once."""
    session.execute(
        delete(SignInAttempts).where(SignInAttempts.scope == "user", SignInAttempts.name == _digest(username))
    )


def _row(session: Session, scope: str, name: str) -> SignInAttempts:
    row = session.get(SignInAttempts, (scope, name))
    if row is None:
        row = SignInAttempts(scope=scope, name=name, failures=0, last_at=0.0, blocked_until=0.0)
        session.add(row)
    return row


def _names(username: str, address: str) -> list[tuple[str, str]]:
    names = [("user", _digest(username))]
    if address:
        names.append(("address", _digest(block(address))))
    return names


def block(address: str) -> str:
    """The address, or for IPv6 the /64 that one customer has."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def _too_many(wait: float) -> StowageError:
    seconds = math.ceil(wait)
    shown = f"{seconds} seconds" if seconds < 120 else f"{math.ceil(seconds / 60)} minutes"
    if seconds == 1:
        shown = "1 second"
    return StowageError(
        Kind.THROTTLED,
        f"Too many sign-ins failed. Wait {shown}, then try again.",
        operation="sign in",
        remedy="If the password is lost, an administrator can set a new one.",
    )
