"""A plan of ``services.files.serving`` as a response. Reused by every route that serves a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime

from flask import Response, current_app, redirect, request

from dashboard.errors import Kind, StowageError
from dashboard.services.files.conditions import Conditions, Outcome
from dashboard.services.files.copies import OpenFile
from dashboard.services.files.serving import Plan, Representation
from dashboard.storage.naming import content_disposition
from dashboard.storage.types import Attributes
from dashboard.web.errors import error_response
from dashboard.web.files.bodies import CLIENT_IS_GONE, Body, FileBody, PulledBody, body_iterable
from dashboard.web.files.content_types import POLICY, content_type, file_name
from dashboard.web.files.offloading import offload_headers
from dashboard.web.headers import set_own_headers

MAX_AGE_SECONDS = 31_536_000
BACKEND_HEADER = "X-Stowage-Backend"
"""Who served the file; followed by “; fallback” if it is not the backend that was asked for."""
_ENCODINGS = frozenset({"br", "compress", "deflate", "gzip", "zstd"})
_LANGUAGE = re.compile(r"[A-Za-z0-9]{1,8}(-[A-Za-z0-9]{1,8})*(, ?[A-Za-z0-9]{1,8}(-[A-Za-z0-9]{1,8})*){0,9}")
_AGE = re.compile(r"max-age=([0-9]{1,9})\Z")


def conditions() -> Conditions:
    """What this request says about which bytes it wants."""
    return Conditions.from_headers(request.method, request.headers)


def client_is_gone() -> Callable[[], bool]:
    """What tells from now on whether the client of this request has closed its connection: never, on a server
    that does not say so."""
    is_gone: Callable[[], bool] = request.environ.get(CLIENT_IS_GONE, lambda: False)
    return is_gone


def respond(
    plan: Plan,
    *,
    name: str | None = None,
    attachment: bool = False,
    public: bool = False,
    cache_control: str | None = None,
    watch: Callable[[Body], Body] | None = None,
) -> Response:
    """Turn a plan into the response, which closes it.

    ``name``: under which it is saved, by default the last part of the key. ``attachment``: save it even if it
    could be shown. ``public``: anyone with the address may read it, so the header does not say who served it
    and pages of other sites may show it. ``cache_control``: instead of what the object's own attributes say.
    ``watch``: called with a body before it is sent; what it returns is sent instead, by this console itself.
    """
    if plan.url:
        plan.close()
        response = current_app.make_response(redirect(plan.url, 307))
        set_own_headers(response, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
        return response
    file, outcome = plan.file, plan.decision.outcome
    if outcome in (Outcome.PRECONDITION_FAILED, Outcome.BEYOND_THE_END):
        return _refused(plan)
    response = current_app.response_class(status=outcome.value)
    own = _common_headers(file, public=public, cache_control=cache_control)
    if outcome is not Outcome.NOT_MODIFIED:
        kind, inline = content_type(file.key, file.attributes)
        response.headers["Content-Type"] = kind
        response.headers["Content-Disposition"] = content_disposition(
            name if name is not None else file_name(file.key), inline=inline and not attachment
        )
        response.headers.extend(_encoding_headers(file.attributes))
        response.headers["Accept-Ranges"] = "bytes"
        response.headers["Content-Length"] = str(plan.decision.length)
        if outcome is Outcome.PART:
            first, last = plan.decision.start, plan.decision.start + plan.decision.length - 1
            response.headers["Content-Range"] = f"bytes {first}-{last}/{file.size}"
        _set_body(response, plan, watch)
    else:
        del response.headers["Content-Type"]
    set_own_headers(response, own)
    return response


def _common_headers(file: Representation, *, public: bool, cache_control: str | None) -> dict[str, str]:
    """What a 200, a 206 and a 304 have alike (RFC 9110, 15.4.5)."""
    own = {
        "Content-Security-Policy": POLICY,
        "X-Frame-Options": "SAMEORIGIN",
        "Cache-Control": cache_control or caching(file.attributes, public=public),
    }
    if public:
        own["Cross-Origin-Resource-Policy"] = "cross-origin"
        own["Referrer-Policy"] = "no-referrer"
    elif file.backend:
        own[BACKEND_HEADER] = f"{file.backend}; fallback" if file.fallback else file.backend
    if file.tag is not None:
        own["ETag"] = str(file.tag)
    if file.modified is not None and (date := _http_date(file.modified)):
        own["Last-Modified"] = date
    return own


def caching(attributes: Attributes, *, public: bool) -> str:
    """The Cache-Control of a file. By default a copy is checked with its entity tag at each use; the object's
    own Cache-Control may allow a time. Only a public file may be kept by shared caches."""
    directives = [part.strip().lower() for part in (attributes.cache_control or "")[:1000].split(",")]
    scope = "public" if public and "private" not in directives else "private"
    if "no-store" in directives:
        return "no-store"
    ages = [int(match[1]) for part in directives if (match := _AGE.match(part))]
    if "no-cache" in directives or not ages:
        return f"{scope}, no-cache"
    immutable = ", immutable" if "immutable" in directives else ""
    return f"{scope}, max-age={min(*ages, MAX_AGE_SECONDS)}{immutable}"


def _encoding_headers(attributes: Attributes) -> Mapping[str, str]:
    """How the stored bytes are encoded, and their language, as far as they are well-formed."""
    headers = {}
    encoding = (attributes.content_encoding or "").strip().lower()
    if encoding in _ENCODINGS:
        headers["Content-Encoding"] = encoding
    language = (attributes.content_language or "").strip()
    if len(language) <= 100 and _LANGUAGE.fullmatch(language):
        headers["Content-Language"] = language
    return headers


def _http_date(at: float) -> str:
    """The time as an HTTP date, never in the future (RFC 9110, 8.8.2.1); empty if it is none."""
    try:
        moment = datetime.fromtimestamp(int(at), UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    now = datetime.now(UTC)
    return (
        format_datetime(min(moment, now.replace(microsecond=0)), usegmt=True) if moment.year >= 1900 else ""
    )


def _set_body(response: Response, plan: Plan, watch: Callable[[Body], Body] | None) -> None:
    """Hand the body to the server, in the way that costs the least."""
    body = plan.body
    if body is None:
        # The length is that of the content also when none is sent (RFC 9110, 8.6), as after HEAD.
        response.response = []
        response.automatically_set_content_length = False
        return
    if isinstance(body, OpenFile) and watch is None and (offloaded := offload_headers(body)):
        body.close()
        response.headers.extend(offloaded)
        for name in ("Content-Length", "Content-Range", "Accept-Ranges"):
            response.headers.pop(name, None)
        response.status_code = 200
        return
    sent: Body
    if isinstance(body, OpenFile):
        sent = FileBody(body)
    else:
        sent = PulledBody(body, plan.decision.length, group=plan.file.backend)
    response.response = body_iterable(request.environ, watch(sent) if watch is not None else sent)
    response.direct_passthrough = True


def _refused(plan: Plan) -> Response:
    """412 and 416, with what the client needs to ask again."""
    plan.close()
    file = plan.file
    if plan.decision.outcome is Outcome.PRECONDITION_FAILED:
        error = StowageError(
            Kind.CHANGED,
            "The file is not the one that the request is about.",
            operation="read",
            remedy="Ask for it again without the condition.",
        )
        response = error_response(412, error.as_dict())
    else:
        error = StowageError(
            Kind.INVALID,
            f"The file ends before that part: it has {file.size:,} bytes.",
            operation="read",
            remedy="Ask for a part of it.",
        )
        response = error_response(416, error.as_dict())
        response.headers["Content-Range"] = f"bytes */{file.size}"
        response.headers["Accept-Ranges"] = "bytes"
    if file.tag is not None:
        response.headers["ETag"] = str(file.tag)
    return response
