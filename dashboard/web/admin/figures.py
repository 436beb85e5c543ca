"""A migration's progress as a page draws it: segments of bars, words for states. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.migration.types import Outcome, Progress, State

YOUNG = 20.0
"""Seconds during which a migration's page asks twice as often."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a bar; ``start`` and ``width`` in percent, as text for an attribute."""

    kind: str
    start: str
    width: str


@dataclass(frozen=True, slots=True)
class Word:
    """A state as people say it, and the badge's look."""

    text: str
    look: str


def segments(total: int, *parts: tuple[str, int]) -> tuple[Segment, ...]:
    """Parts of a whole, side by side; never longer than the bar even while the total still grows."""
    whole = max(total, sum(value for _, value in parts), 1)
    drawn, start = [], 0.0
    for kind, value in parts:
        width = 100.0 * value / whole
        drawn.append(Segment(kind, f"{start:.3f}", f"{width:.3f}"))
        start += width
    return tuple(drawn)


def by_bytes(p: Progress) -> tuple[Segment, ...]:
    """The bar by bytes: what arrived, what is under way, what was there already, what failed."""
    c = p.counters
    moving = sum(f.done for f in p.in_flight)
    return segments(
        c.found_bytes,
        ("done", c.copied_bytes),
        ("going", moving),
        ("skip", c.skipped_bytes),
        ("fail", c.failed_bytes),
    )


def by_objects(p: Progress) -> tuple[Segment, ...]:
    """The bar by objects."""
    c = p.counters
    return segments(c.found, ("done", c.copied), ("skip", c.skipped), ("fail", c.failed))


def objects_percent(p: Progress) -> float:
    """0 to 100 by objects; 100 only when the listing is final and nothing is left."""
    c = p.counters
    if not c.found:
        return 100.0 if c.listing_final and p.state.final else 0.0
    value = 100.0 * c.done / c.found
    return value if c.listing_final else min(value, 99.9)


def word(p: Progress) -> Word:
    """What a badge says of a migration."""
    if p.stopping:
        return Word("Stopping", "warn")
    if p.state is State.FINISHED:
        if p.outcome is Outcome.WITH_ERRORS:
            return Word("Finished with errors", "bad")
        if p.spec.dry_run:
            return Word("Dry run finished", "ok")
        return Word("Finished", "ok")
    return {
        State.PLANNING: Word("Listing", "busy"),
        State.READY: Word("Ready to start", ""),
        State.RUNNING: Word("Comparing" if p.spec.dry_run else "Copying", "busy"),
        State.PAUSED: Word("Paused", "warn"),
        State.VERIFYING: Word("Verifying", "busy"),
        State.CANCELLED: Word("Cancelled", ""),
        State.FAILED: Word("Stopped", "bad"),
    }[p.state]


def working(p: Progress) -> bool:
    """Whether something changes by itself."""
    return p.state in (State.PLANNING, State.RUNNING, State.VERIFYING) or p.stopping


def approved(p: Progress) -> bool:
    """Whether a person has said that it may start; before that the page is a review."""
    return p.state not in (State.PLANNING, State.READY)


def poll_seconds(p: Progress) -> int:
    """How often the page asks; 0 when nothing happens by itself any more."""
    if p.state.final:
        return 0
    return 1 if p.elapsed < YOUNG else 2


def sentence(p: Progress) -> str:
    """For a screen reader, coarse enough not to be read out every two seconds."""
    text = f"{word(p).text}, {int(p.percent // 10 * 10)} percent"
    return f"{text}, {p.counters.failed} failed" if p.counters.failed else text
