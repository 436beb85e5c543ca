"""What is wrong, worst first, each with its next step. Pure: values in, notices out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from flask import url_for

from dashboard.migration.types import Outcome, Progress, State
from dashboard.services.backends.service import BackendInfo
from dashboard.services.backends.values import Summary
from dashboard.services.fallback.write_back import Backlog
from dashboard.storage.wrappers.fallback.standing_in import FOLDER

FORGOTTEN_AFTER = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Trouble:
    """One notice: what is wrong, why, and where the next step is."""

    tone: str
    title: str
    text: str
    step: str
    url: str


def troubles(
    backends: Summary,
    migrations: Sequence[Progress],
    *,
    runner_alive: bool,
    away: Sequence[Backlog] = (),
) -> tuple[Trouble, ...]:
    """All notices of the overview."""
    found = [_of_backend(backend) for backend in backends.worst]
    if more := backends.troubled - len(backends.worst):
        found.append(
            Trouble(
                "warn",
                f"{more:,} more {'backend does' if more == 1 else 'backends do'} not work well.",
                "The list shows which.",
                "See the backends",
                url_for("backends.index"),
            )
        )
    found += [_of_migration(p) for p in _latest(migrations)]
    found += [trouble for each in away for trouble in _of_away(each)]
    if not runner_alive and any(not p.state.final and p.state is not State.PAUSED for p in migrations):
        found.append(
            Trouble(
                "bad",
                "Nothing is working on the migrations.",
                "The runner has stopped; start “stowage run” again and they go on where they were.",
                "See the migrations",
                url_for("migrations.index"),
            )
        )
    rank = {"bad": 0, "warn": 1, "info": 2}
    return tuple(sorted((t for t in found if t), key=lambda t: rank[t.tone]))


def _of_backend(backend: BackendInfo) -> Trouble | None:
    status = backend.status
    if status.badge not in ("down", "degraded"):
        return None
    down = status.badge == "down"
    return Trouble(
        "bad" if down else "warn",
        f"{backend.name} {'does not work' if down else 'works with difficulty'}.",
        " ".join(part for part in (status.message, status.remedy) if part),
        "See the check",
        url_for("backends.show", name=backend.name),
    )


def _of_away(away: Backlog) -> list[Trouble]:
    """What was written elsewhere while a backend was away."""
    home, page = away.home, url_for("backends.show", name=away.home)
    found = []
    if away.waiting:
        objects = "1 object waits" if away.waiting == 1 else f"{away.waiting:,} objects wait"
        text = f"Kept in {away.stand_in}; sent home once {home} is well."
        found.append(Trouble("warn", f"{objects} to be sent home to {home}.", text, "See the check", page))
    if away.overtaken:
        text = (
            f"Written while {home} was away, but {home} has something under the same key that may be newer. "
            f"Both are kept; the others are in {away.stand_in} under “{FOLDER}”."
        )
        title = f"Objects for {home} were overtaken: {away.overtaken:,}."
        found.append(Trouble("warn", title, text, "See the backend", page))
    if away.lost:
        text = f"{away.stand_in} does not have them as they were written there."
        title = f"Objects that waited for {home} are lost: {away.lost:,}."
        found.append(Trouble("bad", title, text, "See the backend", page))
    return found


def _latest(migrations: Sequence[Progress]) -> list[Progress]:
    """The newest run of each pair: an old failure that a later run mended is no trouble."""
    newest: dict[tuple[str, str, str], Progress] = {}
    for p in migrations:
        newest.setdefault((p.source, p.destination, p.spec.prefix), p)
    return list(newest.values())


def _of_migration(p: Progress) -> Trouble | None:
    pair, page = f"{p.source} → {p.destination}", url_for("migrations.show", id=p.id)
    if p.state is State.READY:
        return Trouble(
            "info", f"{pair} waits for you.", "The plan is ready; nothing was copied yet.", "Review it", page
        )
    if p.state is State.PAUSED and p.message:
        return Trouble("warn", f"{pair} is paused.", f"{p.message} {p.remedy}".strip(), "See it", page)
    if time.time() - (p.finished_at or time.time()) > FORGOTTEN_AFTER:
        return None
    if p.state is State.FAILED:
        return Trouble("bad", f"{pair} stopped.", f"{p.message} {p.remedy}".strip(), "See why", page)
    if p.outcome is Outcome.WITH_ERRORS:
        count = p.counters.failed
        return Trouble(
            "warn",
            f"{count:,} {'object' if count == 1 else 'objects'} failed in {pair}.",
            "The page groups them by reason.",
            "See why",
            page,
        )
    return None
