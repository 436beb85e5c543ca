"""A review in words, for pages, the API and the terminal: what is in order, and what stands in the way."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.migration.types import Counters, Progress
from dashboard.services.migrations.review import Review
from dashboard.services.text import size


@dataclass(frozen=True, slots=True)
class Note:
    """``level``: ``ok``, ``warn``, ``bad`` (it cannot be started) or ``idle`` (not known). ``suggestion``: a
    prefix to use instead."""

    level: str
    text: str
    remedy: str = ""
    suggestion: str = ""


def to_do(counters: Counters) -> int:
    """How many objects are copied, replaced or compared."""
    c = counters
    return c.to_copy + c.to_replace + c.to_compare + c.to_keep_both


def start_label(p: Progress) -> str:
    """What starting it does: “Copy 402 objects (1.2 GB)”."""
    c = p.counters
    copied = c.to_copy + c.to_replace + c.to_keep_both
    amount = size(c.to_copy_bytes + c.to_replace_bytes + c.to_keep_both_bytes)
    compared = f"{c.to_compare:,} {_objects(c.to_compare)}"
    if not copied:
        return f"Compare {compared} ({size(c.to_compare_bytes)})"
    label = f"{'Move' if p.spec.delete_source else 'Copy'} {copied:,} {_objects(copied)} ({amount})"
    return f"{label}, compare {c.to_compare:,}" if c.to_compare else label


def review_notes(p: Progress, review: Review | None) -> tuple[Note, ...]:
    """Everything that a person should know before the start, what stands in the way first. Call it when the
    listing is complete."""
    notes = [*_amount(p), *_names(p)] if p.counters.found else [_nothing(p, review)]
    if review is not None:
        notes += [*_source(p, review), *_destination(p, review)]
    order = ("bad", "warn", "idle", "ok")
    return tuple(sorted(notes, key=lambda note: order.index(note.level)))


def blocked(notes: tuple[Note, ...]) -> bool:
    """Whether it cannot be started."""
    return any(note.level == "bad" for note in notes)


def _nothing(p: Progress, review: Review | None) -> Note:
    if p.spec.include or p.spec.exclude:
        where = f" under “{p.spec.prefix}”" if p.spec.prefix else ""
        return Note("bad", f"Nothing in {p.source}{where} matches the patterns.", "Check the patterns.")
    if not p.spec.prefix:
        return Note("bad", f"{p.source} is empty; there is nothing to copy.")
    suggestion = review.suggestion if review else ""
    remedy = f"Did you mean “{suggestion}”?" if suggestion else "Check the prefix."
    return Note("bad", f"Nothing in {p.source} under “{p.spec.prefix}”.", remedy, suggestion)


def _amount(p: Progress) -> list[Note]:
    c = p.counters
    if to_do(c):
        return []
    if c.failed == c.found:
        return [Note("bad", f"None of the {c.found:,} {_objects(c.found)} can be copied to {p.destination}.")]
    there = "Everything" if not c.failed else "Everything that can be copied"
    return [Note("bad", f"{there} is in {p.destination} already; there is nothing to copy.")]


def _names(p: Progress) -> list[Note]:
    count = p.counters.failed
    if not count:
        return [Note("ok", f"{p.destination} can hold every name.")]
    text = f"{count:,} {_objects(count)} cannot be copied as asked."
    remedy = f"For example, {p.destination} cannot hold the name. The list of failed objects has the reasons."
    return [Note("warn", text, remedy)]


def _source(p: Progress, review: Review) -> list[Note]:
    if not p.counters.found:
        return []
    if review.unreadable:
        text = f"Objects of {p.source} are listed but cannot be read: {review.unreadable}"
        return [Note("bad", text, review.remedy)]
    return [Note("ok", f"Objects of {p.source} can be read.")]


def _destination(p: Progress, review: Review) -> list[Note]:
    notes = []
    if review.write_tested:
        notes.append(Note("ok", f"{p.destination} takes files: a test object was written and removed."))
    else:
        text = f"Not tested whether {p.destination} takes files: a dry run writes nothing."
        notes.append(Note("idle", text))
    needed = p.counters.to_copy_bytes + p.counters.to_keep_both_bytes
    if lacking := review.lacks(p.counters):
        free = size(review.free or 0)
        text = f"{p.destination} is too small: {size(needed)} are needed, {free} are free."
        notes.append(Note("bad", text, f"Free {size(lacking)} there, then check again."))
    elif review.free is not None:
        text = f"{size(review.free)} are free in {p.destination}, {size(needed)} are needed."
        notes.append(Note("ok", text))
    else:
        notes.append(Note("idle", f"{p.destination} does not say how much space is free."))
    if review.is_empty is not None:
        where = f" under “{p.spec.prefix}”" if p.spec.prefix else ""
        state = "is empty" if review.is_empty else "already holds objects"
        notes.append(Note("ok" if review.is_empty else "idle", f"{p.destination} {state}{where}."))
    return notes


def _objects(count: int) -> str:
    return "object" if count == 1 else "objects"
