"""Throttling of guesses: at passwords, and at the addresses of links.

Failures are counted by username and address, so that an attacker elsewhere locks nobody out; by address, so
that one machine cannot try all names; and by username, with a higher limit and a shorter wait. The last
count does not apply to addresses from which its owner is signed in. An attempt is counted before its password
is checked, so that a hundred at once count as a hundred.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy import delete, or_
from sqlalchemy.orm import Session

from dashboard.errors import TooMany
from dashboard.models.console import SignInAttempts

FORGET = 3600.0
"""Seconds without a failure after which the count starts again."""


@dataclass(frozen=True, slots=True)
class Limit:
    """``free_attempts`` failures before the first wait; waits double, in seconds, up to ``longest_wait``."""

    free_attempts: int
    longest_wait: float
    first_wait: float = 30.0


LIMITS: Mapping[str, Limit] = MappingProxyType(
    {
        "pair": Limit(free_attempts=5, longest_wait=900.0),
        "address": Limit(free_attempts=20, longest_wait=900.0),
        "user": Limit(free_attempts=100, longest_wait=60.0),
        "own": Limit(free_attempts=5, longest_wait=900.0),
        "code": Limit(free_attempts=10, longest_wait=300.0),
        "link": Limit(free_attempts=30, longest_wait=900.0),
    }
)
"""By scope; ``own`` is the current password of somebody who is signed in and changes it, ``code`` a one-time
code after a right password, ``link`` an address from which links are opened that do not exist."""


def refuse_blocked(session: Session, username: str, address: str, *, known: bool = False) -> None:
    """Raise ``THROTTLED`` while this person or address must wait. Counts nothing."""
    now = time.time()
    _refuse(now, [session.get(SignInAttempts, name) for name in _names(username, address, known=known)])


def count_attempt(
    session: Session, username: str, address: str, *, known: bool = False, now: float | None = None
) -> None:
    """Count a sign-in attempt, in a writing transaction. Raises ``THROTTLED`` while one must wait.

    ``known``: the person is signed in from this address.
    """
    now = time.time() if now is None else now
    session.execute(delete(SignInAttempts).where(SignInAttempts.last_at < now - FORGET))
    _count(session, _names(username, address, known=known), now)


def count_own_password(session: Session, username: str, address: str) -> None:
    """Like :func:`count_attempt`, for the current password of somebody who is signed in."""
    _count(session, [("own", _pair(username, address))], time.time())


def forget_own(session: Session, username: str, address: str) -> None:
    """Forget wrong guesses of :func:`count_own_password`, after a right one."""
    own = (SignInAttempts.scope == "own") & (SignInAttempts.name == _pair(username, address))
    session.execute(delete(SignInAttempts).where(own))


def count_code(session: Session, username: str) -> None:
    """Like :func:`count_attempt`, for the one-time code of somebody whose password was right."""
    _count(session, [("code", _digest(username))], time.time())


def forget_codes(session: Session, username: str) -> None:
    """Forget wrong codes, after a right one."""
    name = (SignInAttempts.scope == "code") & (SignInAttempts.name == _digest(username))
    session.execute(delete(SignInAttempts).where(name))


def refuse_link_guesses(session: Session, address: str) -> None:
    """Raise ``THROTTLED`` while this address must wait, because it opened too many links that do not exist.
    Counts nothing."""
    row = session.get(SignInAttempts, ("link", _digest(network_of(address))))
    if row is not None and row.blocked_until > time.time():
        raise _too_many(
            row.blocked_until - time.time(),
            "links that do not exist were opened",
            operation="open link",
            remedy="Check the address of the link.",
        )


def count_link_guess(session: Session, address: str) -> None:
    """Count a link that does not exist, in a writing transaction."""
    now = time.time()
    session.execute(delete(SignInAttempts).where(SignInAttempts.last_at < now - FORGET))
    _add_failure(_row(session, "link", _digest(network_of(address))), now)


def reset_failures(session: Session, username: str, address: str) -> None:
    """After a successful sign-in, reset the failures of this name from this address, and uncount this attempt
    in the other scopes.

    The address keeps its other failures: someone with an account may guess the passwords of others.
    """
    for scope, name in _names(username, address):
        row = session.get(SignInAttempts, (scope, name))
        if row is None:
            continue
        row.failures = 0 if scope == "pair" else max(0, row.failures - 1)
        if row.failures < LIMITS[scope].free_attempts:
            row.blocked_until = 0.0


def forget_user(session: Session, username: str) -> None:
    """Delete all failures of a name, after an administrator has set a new password."""
    mine = SignInAttempts.name.startswith(_digest(username)[:32])
    of_pairs = SignInAttempts.scope.in_(("pair", "own")) & mine
    of_name = (SignInAttempts.scope == "user") & (SignInAttempts.name == _digest(username))
    session.execute(delete(SignInAttempts).where(or_(of_pairs, of_name)))


def network_of(address: str) -> str:
    """Return the address, or for IPv6 the /64 network that one customer has."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _count(session: Session, names: list[tuple[str, str]], now: float) -> None:
    rows = [_row(session, scope, name) for scope, name in names]
    _refuse(now, rows)
    for row in rows:
        _add_failure(row, now)


def _add_failure(row: SignInAttempts, now: float) -> None:
    limit = LIMITS[row.scope]
    row.failures += 1
    row.last_at = now
    if row.failures >= limit.free_attempts:
        # A float: 2**n of a long attack would not fit.
        doublings = min(row.failures - limit.free_attempts, 10)
        row.blocked_until = now + min(limit.first_wait * 2.0**doublings, limit.longest_wait)


def _refuse(now: float, rows: list[SignInAttempts | None] | list[SignInAttempts]) -> None:
    wait = max((row.blocked_until - now for row in rows if row is not None), default=0.0)
    if wait > 0:
        raise _too_many(
            wait,
            "sign-ins failed",
            operation="sign in",
            remedy="If the password is lost, an administrator can set a new one.",
        )


def _row(session: Session, scope: str, name: str) -> SignInAttempts:
    row = session.get(SignInAttempts, (scope, name))
    if row is None:
        row = SignInAttempts(scope=scope, name=name, failures=0, last_at=0.0, blocked_until=0.0)
        session.add(row)
    return row


def _names(username: str, address: str, *, known: bool = False) -> list[tuple[str, str]]:
    names = [("pair", _pair(username, address))]
    if not known:
        names.append(("user", _digest(username)))
    if address:
        names.append(("address", _digest(network_of(address))))
    return names


def _pair(username: str, address: str) -> str:
    """The name's hash comes first, so that all rows of a name can be found by a prefix."""
    return _digest(username)[:32] + _digest(network_of(address))[:32]


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def _too_many(wait: float, reason: str, *, operation: str, remedy: str) -> TooMany:
    seconds = math.ceil(wait)
    shown = f"{seconds} seconds" if seconds < 120 else f"{math.ceil(seconds / 60)} minutes"
    if seconds == 1:
        shown = "1 second"
    return TooMany(
        f"Too many {reason}. Wait {shown}, then try again.",
        operation=operation,
        remedy=remedy,
        retry_after=wait,
    )
