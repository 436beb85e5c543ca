"""What a migration that has ended did, in words, and the one next step that follows from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dashboard.errors import StowageError
from dashboard.migration.types import FailureGroup, OnConflict, Progress, State, Verify
from dashboard.services.switching.activation import Comparison
from dashboard.web.context import services
from dashboard.web.formatting import number, plural, size

HOW = {Verify.SIZE: "size", Verify.CHECKSUM: "checksum", Verify.READBACK: "reading it back"}


@dataclass(frozen=True, slots=True)
class Ending:
    """The result: a sentence, what else to know, and how it looks: ``ok``, ``warn``, ``bad`` or plain."""

    title: str
    text: tuple[str, ...]
    look: str


@dataclass(frozen=True, slots=True)
class Next:
    """The next step of a migration that has ended. ``step``: ``retry``, ``start``, ``activate``, ``compare``,
    ``missing``, ``active`` or nothing. ``comparison``: of the destination with the active backend."""

    step: str
    active: str = ""
    comparison: Comparison | None = None


def ending(p: Progress, failures: tuple[FailureGroup, ...]) -> Ending:
    """Say what is at the destination now, and what is not."""
    c, there = p.counters, p.counters.copied + p.counters.skipped
    objects = plural(c.found, "object")
    if p.state is State.CANCELLED:
        rest = f"The other {number(c.found - there)} were not copied." if c.found > there else ""
        return Ending(f"Cancelled: {number(there)} of {objects} are in {p.destination}.", _text(rest), "")
    if p.state is State.FAILED:
        return Ending(p.message or "It stopped.", _text(p.remedy, _arrived(p)), "bad")
    if not c.found:
        return Ending("There was nothing to copy.", _text(f"Nothing in {p.source} matched."), "")
    text = _text(_stayed_behind(p, failures), _left_at_source(p))
    if not there:
        return Ending(f"None of the {objects} could be copied.", text, "bad")
    if c.failed:
        return Ending(f"{number(there)} of {objects} are in {p.destination}{_compared(p)}.", text, "warn")
    look = "warn" if _left(p) else "ok"
    every = "The object is" if c.found == 1 else f"All {objects} are"
    return Ending(f"{every} in {p.destination}{_compared(p)}.", text, look)


def next_step(p: Progress) -> Next:
    """The one thing to do next. Making the destination active is offered only where it is known to hold all
    that the active backend holds: this migration copied all of it, or the two were compared since."""
    if p.state is not State.FINISHED:
        return Next("")
    if p.spec.dry_run or p.counters.failed:
        return Next("start" if p.spec.dry_run else "retry")
    return _switch_or_compare(p)


def _switch_or_compare(p: Progress) -> Next:
    try:
        if services().backends.get(p.destination).active:
            return Next("active", p.destination)
        active = services().backends.summary().active
        comparison = services().activation.comparison(p.destination) if active else None
    except StowageError:
        return Next("")
    if comparison is not None and (comparison.at or 0.0) >= (p.finished_at or 0.0):
        return Next("activate" if comparison.complete else "missing", active, comparison)
    if not active or (p.source == active and copied_everything(p)):
        return Next("activate", active)
    return Next("compare", active)


def copied_everything(p: Progress) -> bool:
    """Whether the destination holds every object that the source held when it was listed."""
    filtered = p.spec.prefix or p.spec.include or p.spec.exclude
    same = p.spec.on_conflict is not OnConflict.NEWER or not p.counters.skipped
    return bool(p.counters.found) and not filtered and not p.counters.failed and same


def _compared(p: Progress) -> str:
    compared = f", each compared by {HOW[p.spec.verify]}" if p.counters.verified == p.counters.copied else ""
    return ", compared by size only" if p.spec.verify is Verify.SIZE else compared


def _stayed_behind(p: Progress, failures: tuple[FailureGroup, ...]) -> str:
    count = p.counters.failed
    if not count:
        return ""
    where = f"still in {p.source}; nothing is lost."
    behind = (
        f"1 object could not be copied. It is {where}"
        if count == 1
        else f"{count:,} objects could not be copied. They are {where}"
    )
    if len(failures) > 1:
        return f"{behind} The list has the {len(failures)} reasons."
    return f"{behind} {failures[0].reason}" if failures else behind


def _left(p: Progress) -> int:
    return p.counters.found - p.counters.deleted if p.spec.delete_source else 0


def _left_at_source(p: Progress) -> str:
    left = _left(p)
    if not left:
        return ""
    of = plural(p.counters.found, "object")
    why = "a move deletes only what it has copied and verified itself."
    return f"{number(left)} of {of} are still in {p.source}: {why}"


def _arrived(p: Progress) -> str:
    c = p.counters
    if not c.copied:
        return "Nothing was copied."
    return f"{number(c.copied + c.skipped)} of {plural(c.found, 'object')} are in {p.destination}."


def _text(*sentences: str) -> tuple[str, ...]:
    return tuple(sentence for sentence in sentences if sentence)


@dataclass(frozen=True, slots=True)
class Quoted:
    """A line of what was planned and what was done."""

    what: str
    planned: str
    done: str
    difference: str


def quoted(p: Progress) -> tuple[Quoted, ...]:
    """What the plan said and what happened; nothing if nothing was planned."""
    c = p.counters
    plan = c.to_copy + c.to_replace + c.to_compare + c.to_keep_both
    if not plan:
        return ()
    plan_bytes = c.to_copy_bytes + c.to_replace_bytes + c.to_compare_bytes + c.to_keep_both_bytes
    return (
        Quoted("Objects", number(plan), number(c.copied), _difference(plan, c.copied, number)),
        Quoted("Size", size(plan_bytes), size(c.copied_bytes), _difference(plan_bytes, c.copied_bytes, size)),
    )


def _difference(planned: int, done: int, write: Callable[[float], str]) -> str:
    if planned == done:
        return "as planned"
    return f"{write(abs(done - planned))} {'more' if done > planned else 'less'}"
