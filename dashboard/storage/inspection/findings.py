"""Findings about a bucket's settings, in the same words for every provider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.errors import ContainerMissing, StorageError
from dashboard.storage.inspection.powers import Finding

DAYS = 7
"""The rule that we add aborts unfinished uploads after this many days."""
SETTINGS_SECONDS = 15.0
"""How long a provider may take to respond, because a person is waiting for the page."""
CORS, UNFINISHED, LEFTOVERS = "cors", "unfinished-uploads", "leftover-uploads"
MAX_LEFTOVERS = 1000
"""Unfinished uploads that are listed, or aborted, at a time."""
_FATAL_KINDS = frozenset({Kind.BAD_CREDENTIALS, Kind.UNREACHABLE, Kind.TIMEOUT, Kind.SEALED})
_KEEP = "If they are to be kept, remove this lifecycle rule at the provider."


@dataclass(frozen=True, slots=True)
class CorsRule:
    """Which sites may send which requests from a browser, with which headers, in lowercase."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...]

    def is_for(self, origin: str, method: str, *, patterns: bool) -> bool:
        """Whether the rule applies to such requests. Without ``patterns`` a star stands for every site or
        none."""
        if not {method, "*"} & set(self.methods):
            return False
        if not patterns:
            return origin in self.origins or "*" in self.origins
        return any(_matches(origin, each) for each in self.origins)

    def refuses(self, headers: Sequence[str]) -> tuple[str, ...]:
        """Return the headers that such a request may not send."""
        return tuple(name for name in headers if not any(_matches(name, each) for each in self.headers))


def blocked_headers(
    rules: Sequence[CorsRule],
    origin: str,
    headers: Sequence[str],
    *,
    patterns: bool = False,
    first_only: bool = True,
) -> tuple[str, ...] | None:
    """Return the headers that an upload from this site may not send, or None if no rule allows uploads. With
    ``first_only`` only the first rule for a site and a method counts, else the best one."""
    fit = [rule.refuses(headers) for rule in rules if rule.is_for(origin, "PUT", patterns=patterns)]
    return None if not fit else fit[0] if first_only else min(fit, key=len)


def rule_position(rules: Sequence[CorsRule], origin: str) -> int:
    """Return the index for a new rule for uploads if only the first rule for a site and a method counts:
    before the one that counts now, else at the end."""
    fit = (number for number, rule in enumerate(rules) if rule.is_for(origin, "PUT", patterns=False))
    return next(fit, len(rules))


def cors_finding(origin: str, refused: tuple[str, ...] | None, *, reach: str = "") -> Finding:
    """The finding for the result of :func:`blocked_headers`; ``reach``: what else a rule applies to."""
    if refused == ():
        return Finding(CORS, f"Browsers may upload from {origin}.", good=True)
    remedy = (
        f"Fixing adds a rule that lets pages of {origin} read and upload with signed addresses"
        f"{reach}; the other rules stay."
    )
    sentence = f"Browser uploads will fail: no CORS rule for {origin}."
    if refused:
        sentence = (
            f"Browser uploads that send {' and '.join(refused)} will fail: the CORS rule for {origin} does "
            "not allow that."
        )
    return Finding(CORS, sentence, remedy, fixable=True)


def unfinished_finding(*, dropped: bool, sentence: str = "") -> Finding:
    """Whether unfinished uploads are aborted; ``sentence`` replaces the usual one where it would be wrong."""
    if dropped:
        return Finding(UNFINISHED, sentence or "Unfinished uploads are removed automatically.", good=True)
    return Finding(
        UNFINISHED,
        sentence or "Interrupted uploads stay in the bucket, hidden but billed: no rule aborts them.",
        f"Fixing adds a rule that aborts them {DAYS} days after they began; other rules stay.",
        fixable=True,
    )


def leftovers_finding(begun: Sequence[float], now: float) -> Finding:
    """The finding for unfinished uploads that began at these times (seconds since the epoch), of which at
    most ``MAX_LEFTOVERS`` are listed."""
    if not begun:
        return Finding(LEFTOVERS, "It contains no unfinished uploads.", good=True)
    count = f"{len(begun):,}" + (" or more" if len(begun) >= MAX_LEFTOVERS else "")
    first = datetime.fromtimestamp(min(begun), UTC).strftime("%Y-%m-%d")
    sentence = f"Unfinished uploads in it: {count}, hidden but billed; the oldest began on {first}."
    old = sum(is_leftover(each, now) for each in begun)
    if not old:
        return Finding(
            LEFTOVERS,
            sentence,
            f"They may be in progress; after {DAYS} days they can be aborted here.",
            good=True,
        )
    remedy = (
        f"{old:,} of them began more than {DAYS} days ago and can be aborted, no matter who began them. "
        "Younger ones may be in progress and stay."
    )
    return Finding(LEFTOVERS, sentence, remedy, fixable=True, button="Abort them")


def is_leftover(begun: float, now: float) -> bool:
    """Whether an upload that began then is considered abandoned."""
    return begun < now - DAYS * 86_400


def expiry_finding(prefix: str, when: str, *, some: str = "") -> Finding:
    """The finding for a lifecycle rule that deletes objects under ``prefix``; ``some`` says which, if not all
    of them."""
    sentence = [
        f"Objects under “{prefix}”" if prefix else "Objects",
        some,
        "are deleted by the bucket itself",
        when,
    ]
    return Finding("expiry", " ".join(filter(None, sentence)) + ".", _KEEP)


def overlaps(prefix: str, own: str) -> bool:
    """Whether objects can exist under both prefixes."""
    return prefix.startswith(own) or own.startswith(prefix)


def unavailable_finding(name: str, what: str, error: StorageError) -> Finding:
    """The finding for a setting that may not be read. Other errors, such as an unreachable server, are
    raised."""
    if isinstance(error, ContainerMissing) or error.kind in _FATAL_KINDS:
        raise error
    return Finding(name, f"{what} could not be seen: {error.reason}", error.remedy)


def unavailable_cors(error: StorageError) -> Finding:
    """See :func:`unavailable_finding`."""
    return unavailable_finding(CORS, "Whether browsers may upload", error)


def unavailable_unfinished(error: StorageError) -> Finding:
    """See :func:`unavailable_finding`."""
    return unavailable_finding(UNFINISHED, "Whether unfinished uploads are removed", error)


def unknown_finding_error(name: str) -> InvalidInput:
    """The error for a finding that cannot be fixed."""
    return InvalidInput("finding", f"There is no finding “{name}” to fix.")


def _matches(text: str, pattern: str) -> bool:
    """Whether the text matches; a star stands for anything and other characters for themselves."""
    return fnmatchcase(text, pattern.replace("[", "[[]").replace("?", "[?]"))
