"""What is found of a place's settings, in the same words for every provider that has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.errors import ContainerMissing, StorageError
from dashboard.storage.inspection.powers import Finding

DAYS = 7
"""After which an unfinished upload is dropped by the rule we add."""
SETTINGS_SECONDS = 15.0
"""Seconds a provider may keep us waiting; somebody is looking at the page."""
CORS, UNFINISHED, LEFTOVERS = "cors", "unfinished-uploads", "leftover-uploads"
MOST_LEFTOVERS = 1000
"""Unfinished uploads that are looked at, and aborted, at once."""
_HOPELESS = frozenset({Kind.BAD_CREDENTIALS, Kind.UNREACHABLE, Kind.TIMEOUT, Kind.SEALED})
_KEEP = "If they are to be kept, remove this lifecycle rule at the provider."


@dataclass(frozen=True, slots=True)
class CorsRule:
    """Which sites may send which requests from a browser, with which headers, in small letters."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...]

    def is_for(self, origin: str, method: str, *, patterns: bool) -> bool:
        """Whether it speaks of such requests. Without ``patterns`` a star stands for every site or none."""
        if not {method, "*"} & set(self.methods):
            return False
        if not patterns:
            return origin in self.origins or "*" in self.origins
        return any(_matches(origin, each) for each in self.origins)

    def refuses(self, headers: Sequence[str]) -> tuple[str, ...]:
        """Those headers that such a request may not have."""
        return tuple(name for name in headers if not any(_matches(name, each) for each in self.headers))


def blocked_headers(
    rules: Sequence[CorsRule],
    origin: str,
    headers: Sequence[str],
    *,
    patterns: bool = False,
    first_only: bool = True,
) -> tuple[str, ...] | None:
    """The headers an upload from this site may not send; None where no rule lets it upload. With
    ``first_only`` the first rule for a site and a method decides alone, else any will do."""
    fit = [rule.refuses(headers) for rule in rules if rule.is_for(origin, "PUT", patterns=patterns)]
    return None if not fit else fit[0] if first_only else min(fit, key=len)


def cors_finding(origin: str, refused: tuple[str, ...] | None, *, reach: str = "") -> Finding:
    """What :func:`blocked_headers` means for uploads; ``reach``: what else a rule applies to."""
    if refused == ():
        return Finding(CORS, f"Browsers may upload from {origin}.", good=True)
    remedy = (
        f"Fixing adds a rule that lets pages of {origin} read and upload with signed addresses"
        f"{reach}; the other rules stay."
    )
    told = f"Browser uploads will fail: no CORS rule for {origin}."
    if refused:
        told = (
            f"Browser uploads that send {' and '.join(refused)} will fail: the CORS rule for {origin} does "
            "not allow that."
        )
    return Finding(CORS, told, remedy, fixable=True)


def unfinished_finding(*, dropped: bool, sentence: str = "") -> Finding:
    """What becomes of uploads that broke off; ``sentence`` where the usual one would not be true."""
    if dropped:
        return Finding(UNFINISHED, sentence or "Unfinished uploads are tidied away.", good=True)
    return Finding(
        UNFINISHED,
        sentence or "Uploads that broke off stay in the bucket, unseen and paid for: no rule drops them.",
        f"Fixing adds a rule that drops them {DAYS} days after they began; the other rules stay.",
        fixable=True,
    )


def leftovers_finding(begun: Sequence[float], now: float) -> Finding:
    """What lies in a place of uploads that began then (seconds since the epoch); at most
    ``MOST_LEFTOVERS`` of them are looked at."""
    if not begun:
        return Finding(LEFTOVERS, "No unfinished uploads lie in it.", good=True)
    count = f"{len(begun):,}" + (" or more" if len(begun) >= MOST_LEFTOVERS else "")
    first = datetime.fromtimestamp(min(begun), UTC).strftime("%Y-%m-%d")
    told = f"Unfinished uploads in it: {count}, unseen and paid for; the oldest began on {first}."
    old = sum(is_leftover(each, now) for each in begun)
    if not old:
        return Finding(
            LEFTOVERS, told, f"They may be under way; after {DAYS} days they can be aborted here.", good=True
        )
    remedy = (
        f"{old:,} of them began more than {DAYS} days ago and can be aborted, whoever began them. Younger "
        "ones may be under way and stay."
    )
    return Finding(LEFTOVERS, told, remedy, fixable=True, button="Abort them")


def is_leftover(begun: float, now: float) -> bool:
    """Whether an upload that began then is taken for one that nobody goes on with."""
    return begun < now - DAYS * 86_400


def expiry_finding(prefix: str, when: str, *, some: str = "") -> Finding:
    """A lifecycle rule deletes what is under ``prefix``; ``some`` says which where it is not all of it."""
    told = [
        f"Objects under “{prefix}”" if prefix else "Objects",
        some,
        "are deleted by the bucket itself",
        when,
    ]
    return Finding("expiry", " ".join(filter(None, told)) + ".", _KEEP)


def overlaps(prefix: str, own: str) -> bool:
    """Whether there can be objects under both prefixes."""
    return prefix.startswith(own) or own.startswith(prefix)


def unavailable_finding(name: str, what: str, error: StorageError) -> Finding:
    """A look that was refused is itself worth saying; one that nobody answered is an error, and raised."""
    if isinstance(error, ContainerMissing) or error.kind in _HOPELESS:
        raise error
    return Finding(name, f"{what} could not be seen: {error.reason}", error.remedy)


def unavailable_cors(error: StorageError) -> Finding:
    """As :func:`unavailable_finding`."""
    return unavailable_finding(CORS, "Whether browsers may upload", error)


def unavailable_unfinished(error: StorageError) -> Finding:
    """As :func:`unavailable_finding`."""
    return unavailable_finding(UNFINISHED, "Whether unfinished uploads are tidied away", error)


def unknown_finding_error(name: str) -> InvalidInput:
    """The error for a finding nobody can mend."""
    return InvalidInput("finding", f"There is nothing to fix by the name of “{name}”.")


def _matches(text: str, pattern: str) -> bool:
    """Whether it fits, where a star stands for anything and other signs for themselves."""
    return fnmatchcase(text, pattern.replace("[", "[[]").replace("?", "[?]"))
