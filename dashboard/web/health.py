"""The health check for load balancers and supervisors."""

from __future__ import annotations

from flask import Blueprint, Response

from dashboard.web.guards import Access, declare

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
@declare(Access.ALWAYS)
def show() -> Response:
    """Return 200 while the process serves requests. Reveals nothing else to anonymous clients."""
    return Response("ok\n", mimetype="text/plain")
