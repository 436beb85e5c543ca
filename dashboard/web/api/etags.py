"""``If-Match``: a change says which state it is based on (RFC 9110, 13.1.1)."""

from __future__ import annotations

from flask import request
from werkzeug.exceptions import PreconditionFailed, PreconditionRequired

from dashboard.web.api.routes import Header

ETAG = Header("ETag", "Its version, for “If-Match” of a later change.")
IF_MATCH = Header("If-Match", "The ETag of what the change is based on, or `*` for any.", required=True)
ERRORS = {412: "It was changed meanwhile.", 428: "“If-Match” is missing."}


def etag(version: int) -> str:
    """The strong ETag of a version."""
    return f'"{version}"'


def check_version(version: int) -> None:
    """Raise 428 if the request has no ``If-Match``, 412 if it names other versions than this one."""
    if "If-Match" not in request.headers:
        raise PreconditionRequired
    if not request.if_match.contains(str(version)):
        raise PreconditionFailed
