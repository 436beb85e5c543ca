"""For load balancers, supervisors and monitoring: ``/healthz``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

import time
from collections.abc import Iterable

from flask import Blueprint, Response

from dashboard import __version__
from dashboard.services.backends.status import Badge
from dashboard.services.permissions import Permission
from dashboard.web.context import services
from dashboard.web.guards import Access, declare
from dashboard.web.sessions import accept_tokens

blueprint = Blueprint("health", __name__)

MAX_BACKENDS = 500
"""Backends with series of their own; more of them would be too much for a monitoring system."""
MAX_LABEL = 100
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[dict[str, str], float]


@blueprint.get("/healthz")
@declare(Access.ALWAYS)
def show() -> Response:
    """Return 200 while the process serves requests. Reveals nothing else to anonymous clients."""
    return Response("ok\n", mimetype="text/plain")


@blueprint.get("/readyz")
@declare(Access.ALWAYS)
def ready() -> Response:
    """Return 200 if the console can take files and run jobs, else 503 with the names of the parts that
    cannot. Reveals no more than these words to anonymous clients."""
    failing = [part for part in services().readiness.parts() if not part.ready]
    text = "".join(f"{part.name}: {part.word}\n" for part in failing) or "ready\n"
    return Response(text, 503 if failing else 200, mimetype="text/plain")


@blueprint.get("/metrics")
@declare(Permission.METRICS)
@accept_tokens
def metrics() -> Response:
    """Everything that is measured, in Prometheus' text format 0.0.4. Names of backends are in it, nothing
    secret."""
    return Response("".join(_families()), content_type=CONTENT_TYPE)


def _families() -> Iterable[str]:
    yield family("build_info", "The version that runs.", [({"version": __version__}, 1)])
    parts = services().readiness.parts()
    yield family("ready", "Whether each part works.", [({"part": p.name}, float(p.ready)) for p in parts])
    beat = services().runner.heartbeat()
    since: list[Sample] = [({}, max(time.time() - beat, 0.0))] if beat is not None else []
    yield family("runner_heartbeat_age_seconds", "Time since the runner's last sign of life.", since)
    yield from _backends()
    backlogs = services().write_back.summary()
    yield family(
        "waiting_writes",
        "Objects that wait on another backend until theirs is back.",
        [({"backend": b.home, "stand_in": b.stand_in}, b.waiting) for b in backlogs[:MAX_BACKENDS]],
    )
    files = services().upkeep.databases()
    yield family("database_bytes", "Size of a database.", [({"database": f.name}, f.size) for f in files])
    yield family("database_wal_bytes", "Size of its log.", [({"database": f.name}, f.wal) for f in files])
    disks = services().upkeep.disks(())
    yield family("disk_free_bytes", "Free space beside the databases.", [({}, d.free) for d in disks])
    yield family("disk_total_bytes", "All space there.", [({}, d.total) for d in disks])


def _backends() -> Iterable[str]:
    shown = services().backends.list(limit=MAX_BACKENDS)
    up: list[Sample] = []
    states: list[Sample] = []
    times: list[Sample] = []
    objects: list[Sample] = []
    sizes: list[Sample] = []
    for backend in shown:
        label, status = {"backend": backend.name}, backend.status
        if status.badge is not Badge.UNKNOWN:
            up.append((label, float(status.badge is not Badge.DOWN)))
        states += [({**label, "state": badge.value}, float(badge is status.badge)) for badge in Badge]
        if status.latency_ms is not None:
            times.append((label, status.latency_ms / 1000))
        if status.objects is not None and status.bytes is not None:
            objects.append((label, status.objects))
            sizes.append((label, status.bytes))
    yield family("backends", "Configured backends.", [({}, services().backends.count())])
    yield family("backend_up", "Whether the last check was answered.", up)
    yield family("backend_state", "1 for the state that the last check found.", states)
    yield family("backend_answer_seconds", "How long the last check took.", times)
    yield family("backend_objects", "Objects, by the last count.", objects)
    yield family("backend_bytes", "Their size, by the last count.", sizes)


def family(name: str, text: str, samples: Iterable[Sample]) -> str:
    """A gauge with its samples; nothing if there are none. Label values may be any text."""
    lines = [f"stowage_{name}{_labels(labels)} {value:.17g}\n" for labels, value in samples]
    if not lines:
        return ""
    return f"# HELP stowage_{name} {text}\n# TYPE stowage_{name} gauge\n{''.join(lines)}"


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escape(value[:MAX_LABEL])}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escape(value: str) -> str:
    value = value.encode("utf-8", "replace").decode()
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
