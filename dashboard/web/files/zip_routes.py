"""``/zip/<token>``: files that were selected, as one zip that is made while it is sent."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, current_app, request

from dashboard.services.files.copies import Prefetched, Source
from dashboard.services.files.serving import FIRST_BYTES
from dashboard.services.permissions import Permission
from dashboard.storage.naming import content_disposition
from dashboard.web.context import actor, services
from dashboard.web.downloads import count_download
from dashboard.web.files.bodies import IteratedSource, PulledBody, body_iterable
from dashboard.web.guards import declare
from dashboard.web.sessions import accept_tokens

blueprint = Blueprint("zips", __name__)


class _CountedSource:
    """A source whose download counts as in progress until it is closed."""

    def __init__(self, source: Source, finish: Callable[[], None]) -> None:
        self._source = source
        self._finish = finish

    def read(self, size: int) -> bytes:
        """See ``Source``."""
        return self._source.read(size)

    def close(self) -> None:
        """See ``Source``."""
        self._source.close()
        self._finish()


@blueprint.get("/zip/<token>")
@declare(Permission.READ_FILES)
@accept_tokens
def download(token: str) -> Response:
    """The zip, with its exact length. The connection is cut if a file changes meanwhile: what arrived then is
    not a zip. Parts of it cannot be had."""
    who = actor()
    found = services().zips.open(who, token)
    response = current_app.response_class(mimetype="application/zip")
    response.headers["Content-Length"] = str(found.length)
    response.headers["Content-Disposition"] = content_disposition(found.name)
    response.headers["Accept-Ranges"] = "none"
    if request.method == "HEAD":
        response.automatically_set_content_length = False
        return response
    source = _CountedSource(IteratedSource(found.chunks()), count_download(who.name))
    try:
        # That the first file cannot be read is still a status then.
        first = source.read(FIRST_BYTES)
    except BaseException:
        source.close()
        raise
    body = PulledBody(Prefetched(first, source), found.length, group=found.backend)
    response.response = body_iterable(request.environ, body)
    response.direct_passthrough = True
    return response
