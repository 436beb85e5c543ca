"""The notices of the overview: what is wrong, worst first, each with a next step. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from flask import url_for

from dashboard.migration.types import Outcome, Progress, State
from dashboard.services.backends.backends import BackendInfo
from dashboard.services.backends.values import Summary
from dashboard.services.fallback.write_back import Backlog
from dashboard.services.files.fallback_reads import FallbackReadCount
from dashboard.storage.wrappers.fallback.waiting_writes import FOLDER

FORGOTTEN_AFTER = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice: what is wrong, why, and a link to the next step."""

    tone: str
    title: str
    text: str
    action: str
    url: str


def notices(
    backends: Summary,
    migrations: Sequence[Progress],
    *,
    runner_alive: bool,
    backlogs: Sequence[Backlog] = (),
    fallback_reads: Sequence[FallbackReadCount] = (),
) -> tuple[Notice, ...]:
    """Return all notices, worst first."""
    notices = [_of_backend(backend) for backend in backends.worst]
    if others := backends.failing - len(backends.worst):
        notices.append(
            Notice(
                "warn",
                f"{others:,} more {'backend is' if others == 1 else 'backends are'} not healthy.",
                "They are marked in the list of backends.",
                "See the backends",
                url_for("backends.index"),
            )
        )
    notices += [_of_migration(p) for p in _latest(migrations)]
    notices += [notice for backlog in backlogs for notice in _of_backlog(backlog)]
    notices += [_of_fallback_reads(count) for count in fallback_reads]
    if not runner_alive and any(not p.state.final and p.state is not State.PAUSED for p in migrations):
        notices.append(
            Notice(
                "bad",
                "No runner is working on the migrations.",
                "The runner has stopped. Start “stowage run” again, and they resume where they stopped.",
                "See the migrations",
                url_for("migrations.index"),
            )
        )
    rank = {"bad": 0, "warn": 1, "info": 2}
    return tuple(sorted((t for t in notices if t), key=lambda t: rank[t.tone]))


def _of_backend(backend: BackendInfo) -> Notice | None:
    status = backend.status
    if status.badge not in ("down", "degraded"):
        return None
    down = status.badge == "down"
    return Notice(
        "bad" if down else "warn",
        f"{backend.name} is {status.badge}.",
        " ".join(part for part in (status.message, status.remedy) if part),
        "See the check",
        url_for("backends.show", name=backend.name),
    )


def _of_fallback_reads(count: FallbackReadCount) -> Notice:
    reads = "1 read" if count.reads == 1 else f"{count.reads:,} reads"
    return Notice(
        "info",
        f"{count.served_by} answered {reads} of {count.home} since yesterday.",
        f"{count.home} did not have these files or was unavailable.",
        "See the backend",
        url_for("backends.show", name=count.home),
    )


def _of_backlog(backlog: Backlog) -> list[Notice]:
    """Objects that were written to another backend while this one was unavailable."""
    home, page = backlog.home, url_for("backends.show", name=backlog.home)
    notices = []
    if backlog.waiting:
        objects = "1 object is" if backlog.waiting == 1 else f"{backlog.waiting:,} objects are"
        title = f"{objects} waiting to be written back to {home}."
        text = f"Stored in {backlog.stand_in} until {home} is available again."
        notices.append(Notice("warn", title, text, "See the check", page))
    if backlog.overtaken:
        text = (
            f"They were written while {home} was unavailable, but {home} now has objects with the same keys "
            f"that may be newer. Both are kept; the others are in {backlog.stand_in} under “{FOLDER}”."
        )
        title = f"Objects for {home} were overtaken: {backlog.overtaken:,}."
        notices.append(Notice("warn", title, text, "See the backend", page))
    if backlog.lost:
        text = f"They are missing or damaged in {backlog.stand_in}, where they were stored."
        title = f"Objects waiting for {home} were lost: {backlog.lost:,}."
        notices.append(Notice("bad", title, text, "See the backend", page))
    return notices


def _latest(migrations: Sequence[Progress]) -> list[Progress]:
    """The latest migration of each pair: a failure that a later run resolved needs no notice."""
    newest: dict[tuple[str, str, str], Progress] = {}
    for p in migrations:
        newest.setdefault((p.source, p.destination, p.spec.prefix), p)
    return list(newest.values())


def _of_migration(p: Progress) -> Notice | None:
    pair, page = f"{p.source} → {p.destination}", url_for("migrations.show", id=p.id)
    if p.state is State.READY:
        return Notice(
            "info",
            f"{pair} is waiting for your approval.",
            "The plan is ready; nothing has been copied yet.",
            "Review it",
            page,
        )
    if p.state is State.PAUSED and p.message:
        return Notice("warn", f"{pair} is paused.", f"{p.message} {p.remedy}".strip(), "See it", page)
    if time.time() - (p.finished_at or time.time()) > FORGOTTEN_AFTER:
        return None
    if p.state is State.FAILED:
        return Notice("bad", f"{pair} stopped.", f"{p.message} {p.remedy}".strip(), "See why", page)
    if p.outcome is Outcome.WITH_ERRORS:
        count = p.counters.failed
        return Notice(
            "warn",
            f"{count:,} {'object' if count == 1 else 'objects'} failed in {pair}.",
            "The page groups them by reason.",
            "See why",
            page,
        )
    return None
