"""``/files/<backend>/<key>``: one address for a file, whichever backend has it."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, request
from werkzeug.routing import BaseConverter

from dashboard.services.permissions import Permission
from dashboard.storage.paths import key_text
from dashboard.web.context import actor, services
from dashboard.web.files.response import conditions, respond
from dashboard.web.guards import declare
from dashboard.web.sessions import accept_tokens

blueprint = Blueprint("files", __name__)


class ObjectKey(BaseConverter):
    """``<object_key:key>``: the rest of the path, whatever it holds: slashes at either end, empty parts, line
    breaks."""

    regex = r"[\s\S]+"
    part_isolating = False
    weight = 300


def install(app: Flask) -> None:
    """Add the converter and the routes."""
    app.url_map.converters["object_key"] = ObjectKey
    app.register_blueprint(blueprint)


def requested_key(prefix: str) -> str:
    """The key after ``prefix`` in the path of this request, byte for byte: the framework replaces bytes that
    are not UTF-8."""
    raw: bytes = request.environ.get("PATH_INFO", "").encode("latin-1", "replace")
    return key_text(raw.removeprefix(prefix.encode()))


@blueprint.get("/files/<backend>/<object_key:key>")
@declare(Permission.READ_FILES)
@accept_tokens
def show(backend: str, key: str) -> Response:
    """The file. ``download=1`` saves it even if it could be shown; ``direct=1`` redirects to a signed URL of
    the backend if it has them."""
    actor().require(Permission.READ_FILES)
    plan = services().serving.plan(
        backend,
        requested_key(f"/files/{backend}/"),
        conditions(),
        direct=request.args.get("direct") == "1",
    )
    return respond(plan, attachment=request.args.get("download") == "1")
