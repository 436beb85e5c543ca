"""The read-only API: the values of the pages as JSON, for users who are signed in."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify, request

from dashboard.errors import InvalidInput
from dashboard.services.backends.backends import BackendInfo
from dashboard.services.database import MAX_INTEGER
from dashboard.services.permissions import Permission
from dashboard.web.context import services
from dashboard.web.guards import declare

blueprint = Blueprint("api_v1", __name__, url_prefix="/api/v1")

_MOST = 200


@blueprint.get("/migrations")
@declare(Permission.VIEW)
def migrations() -> Response:
    """``{"migrations": [...], "next_before": id or null}``, newest first; ``limit`` and ``before`` page."""
    limit, before = _whole("limit", 50, _MOST), _whole("before", 0, MAX_INTEGER)
    found = services().migrations.list(limit=limit + 1 if limit < _MOST else limit, before_id=before or None)
    shown = found[:limit]
    more = len(found) > limit or (limit == _MOST and len(found) == _MOST)
    return jsonify(
        migrations=[each.as_dict() for each in shown],
        next_before=shown[-1].id if shown and more else None,
    )


@blueprint.get("/migrations/<int:id>")
@declare(Permission.VIEW)
def migration(id: int) -> Response:
    """One migration, see ``Progress.as_dict``."""
    return jsonify(services().migrations.progress(id).as_dict())


@blueprint.get("/backends")
@declare(Permission.VIEW)
def backends() -> Response:
    """``{"backends": [...], "next_offset": number or null}``; ``limit`` and ``offset`` page. Of a secret only
    whether it is set."""
    limit, offset = _whole("limit", _MOST, _MOST), _whole("offset", 0, MAX_INTEGER)
    found = services().backends.list(offset=offset, limit=limit + 1)
    return jsonify(
        backends=[_backend(b) for b in found[:limit]],
        next_offset=offset + limit if len(found) > limit else None,
    )


def _backend(b: BackendInfo) -> dict[str, Any]:
    return {
        "name": b.name,
        "driver": b.driver,
        "preset": b.preset,
        "summary": b.summary,
        "options": dict(b.options),
        "secrets_set": sorted(b.secrets),
        "active": b.active,
        "fallback_position": b.fallback_position,
        "version": b.version,
        "status": asdict(b.status),
    }


def _whole(name: str, default: int, most: int) -> int:
    text = request.args.get(name, "")
    if not text:
        return default
    digits = len(str(most))
    if not (text.isascii() and text.isdigit()) or len(text) > digits or not 0 < int(text) <= most:
        raise InvalidInput(name, f"“{name}” must be a whole number from 1 to {most}.")
    return int(text)
