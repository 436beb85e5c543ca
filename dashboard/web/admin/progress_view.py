"""A migration's progress as pages show it: segments of bars, badges for states. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dashboard.migration.types import Outcome, Progress, State, Verify
from dashboard.services.migrations.review_notes import to_do

FAST_POLL_SECONDS = 6.0
"""Seconds after its start during which a migration's page polls twice as often."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a bar; ``start`` and ``width`` in percent, as text for an attribute."""

    kind: str
    start: str
    width: str


@dataclass(frozen=True, slots=True)
class Badge:
    """The text and the CSS class of a state's badge."""

    text: str
    style: str


def segments(total: int, *parts: tuple[str, int]) -> tuple[Segment, ...]:
    """Lay out parts side by side; never longer than the bar, even while the total still grows."""
    whole = max(total, sum(value for _, value in parts), 1)
    drawn, start = [], 0.0
    for kind, value in parts:
        width = 100.0 * value / whole
        drawn.append(Segment(kind, f"{start:.3f}", f"{width:.3f}"))
        start += width
    return tuple(drawn)


def by_bytes(p: Progress) -> tuple[Segment, ...]:
    """The bar by bytes: copied, in flight, skipped, failed."""
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


def badge(p: Progress) -> Badge:
    """Return the badge of a migration's state."""
    if p.stopping:
        return Badge("Stopping", "warn")
    if p.state is State.FINISHED:
        if p.outcome is Outcome.WITH_ERRORS:
            return Badge(
                f"{p.counters.failed:,} failed", "bad" if p.counters.failed == p.counters.found else "warn"
            )
        if p.spec.dry_run:
            return Badge("Dry run finished", "ok")
        return Badge("Finished", "ok")
    if p.state is State.READY and p.counters.listing_final and not to_do(p.counters):
        return Badge("Nothing to copy", "warn")
    return {
        State.PLANNING: Badge("Listing", "busy"),
        State.READY: Badge("Ready to start", ""),
        State.RUNNING: Badge("Comparing" if p.spec.dry_run else "Copying", "busy"),
        State.PAUSED: Badge("Paused", "warn"),
        State.VERIFYING: Badge("Verifying", "busy"),
        State.CANCELLED: Badge("Cancelled", ""),
        State.FAILED: Badge("Stopped", "bad"),
    }[p.state]


def is_active(p: Progress) -> bool:
    """Return whether a runner is working on the migration, or about to stop."""
    return p.state in (State.PLANNING, State.RUNNING, State.VERIFYING) or p.stopping


def is_approved(p: Progress) -> bool:
    """Return whether the migration has been approved; before that, the page is a review."""
    return p.state not in (State.PLANNING, State.READY)


def poll_seconds(p: Progress) -> int:
    """Return the page's polling interval in seconds; 0 once nothing changes any more."""
    if p.state.final:
        return 0
    return 1 if p.elapsed < FAST_POLL_SECONDS else 2


def sentence(p: Progress) -> str:
    """Text for screen readers, coarse enough not to be announced every two seconds."""
    text = f"{badge(p).text}, {int(p.percent // 10 * 10)} percent"
    return f"{text}, {p.counters.failed} failed" if p.counters.failed else text


# ---- one bar by bytes, whose legend are the figures under it

MIN_WIDTH = 0.8
"""Percent of the bar that a segment has at least: about 3 px."""


@dataclass(frozen=True, slots=True)
class BarPart:
    """A segment of the bar and the figure under it. ``state``: of the objects in the ledger that it counts.
    ``start`` and ``width`` in percent, as text for an attribute."""

    label: str
    objects: int
    fill: str
    dot: str
    state: str
    start: str = "0"
    width: str = "0"


def bar(p: Progress) -> tuple[BarPart, ...]:
    """Verified, copied, already there, failed, rest: by bytes, or by objects if none has any."""
    c = p.counters
    moving = sum(f.done for f in p.in_flight)
    by_size = p.spec.verify is Verify.SIZE
    copied, copied_bytes = c.copied - c.verified, c.copied_bytes - c.verified_bytes
    done = "copied" if by_size else "copied, to verify"
    ended = p.state.final
    parts = (
        (BarPart("copied and verified", c.verified, "f1", "c1", "verified"), c.verified_bytes),
        (BarPart(done, copied, "f1" if by_size else "mid", "mid", "copied"), copied_bytes + moving),
        (BarPart("already there", c.skipped, "skip", "skip", "skipped"), c.skipped_bytes),
        (BarPart("failed", c.failed, "fail", "fail", "failed"), c.failed_bytes),
        (
            BarPart("not copied" if ended else "to go", c.found - c.done, "", "rest", "pending"),
            max(0, c.found_bytes - c.done_bytes - moving),
        ),
    )
    sizes = [size if c.found_bytes else part.objects for part, size in parts]
    widths = _widths(
        sizes, [bool(size) or bool(part.objects) for (part, _), size in zip(parts, sizes, strict=True)]
    )
    drawn, start = [], 0.0
    for (part, _), width in zip(parts, widths, strict=True):
        drawn.append(replace(part, start=f"{start:.2f}", width=f"{width:.2f}"))
        start += width
    return tuple(drawn)


def _widths(sizes: Sequence[int], there: Sequence[bool]) -> list[float]:
    """Percent of the bar for each; what is there is seen, at the cost of the widest."""
    whole = max(1, sum(sizes))
    widths = [
        max(100.0 * size / whole, MIN_WIDTH if is_there else 0.0)
        for size, is_there in zip(sizes, there, strict=True)
    ]
    excess = sum(widths) - 100.0
    if excess > 0:
        widest = max(range(len(widths)), key=widths.__getitem__)
        widths[widest] -= excess
    return widths
