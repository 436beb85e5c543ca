"""``/d/<token>``: a file for everyone who has its link. The token is the permission; see
``services.files.sharing.links``."""

from __future__ import annotations

from functools import partial

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.exceptions import Unauthorized
from werkzeug.wrappers import Response as AnyResponse

from dashboard.services.files.conditions import Conditions, Outcome
from dashboard.services.files.serving import Plan
from dashboard.services.files.sharing.link_rules import SignInRequired
from dashboard.services.files.sharing.link_uses import Delivery, Recipient
from dashboard.services.files.sharing.links import SharedFile
from dashboard.web.context import address, services
from dashboard.web.files.content_types import file_name
from dashboard.web.files.counted_body import CountedBody
from dashboard.web.files.response import conditions, respond
from dashboard.web.guards import Access, declare
from dashboard.web.headers import set_own_headers

blueprint = Blueprint("shared", __name__)


@blueprint.get("/d/<token>")
@declare(Access.LINK)
def open_link(token: str) -> AnyResponse:
    """The file. A browser that opens a link with limited uses gets a page with a button first: programs that
    check links in messages would use them up."""
    recipient = _recipient()
    try:
        file = services().links.open(token, recipient)
    except SignInRequired:
        return _to_sign_in(token)
    if file.is_limited and _wants_a_page():
        return _page(token, file)
    plan = services().serving.plan(file.backend, file.key, conditions())
    delivery = _begin(plan, file, recipient)
    try:
        response = respond(
            plan,
            public=True,
            attachment=request.args.get("download") == "1",
            cache_control="no-store" if file.is_limited else "private, no-cache",
            watch=None if delivery is None else partial(CountedBody, delivery=delivery),
        )
    except BaseException:
        plan.close()
        if delivery is not None:
            delivery.close()
        raise
    if file.is_personal:
        set_own_headers(response, {"Cross-Origin-Resource-Policy": "same-origin"})
    return response


@blueprint.post("/d/<token>")
@declare(Access.LINK)
def download(token: str) -> AnyResponse:
    """The button of the page: changes nothing, and leads to the file itself."""
    return redirect(url_for("shared.open_link", token=token, download=1), 303)


def _begin(plan: Plan, file: SharedFile, recipient: Recipient) -> Delivery | None:
    """Count the download, if bytes are sent; closes the plan if it may not begin."""
    decision = plan.decision
    if request.method == "HEAD" or decision.outcome not in (Outcome.COMPLETE, Outcome.PART):
        return None
    tag = str(plan.file.tag) if plan.file.tag else str(plan.file.modified)
    try:
        delivery = services().links.uses.begin(
            file.link_id,
            recipient,
            start=decision.start,
            end=decision.start + decision.length,
            size=plan.file.size,
            content=tag,
        )
    except BaseException:
        plan.close()
        raise
    if plan.body is None:
        delivery.close(complete=True)
    return delivery


def _page(token: str, file: SharedFile) -> Response:
    """The page with the button. Whether the file is there is checked now: a use is not spent on an error."""
    found = services().serving.plan(file.backend, file.key, Conditions(method="HEAD")).file
    page = render_template("links/open.html", token=token, name=file_name(file.key), size=found.size)
    response = make_response(page)
    set_own_headers(response, {"Referrer-Policy": "no-referrer"})
    return response


def _recipient() -> Recipient:
    name = current_user.info.username if current_user.is_authenticated else ""
    return Recipient(name, address())


def _wants_a_page() -> bool:
    """Whether a browser opens the link by itself, and not a part of the file or for another page."""
    accepts = any(kind == "text/html" for kind, _ in request.accept_mimetypes)
    return accepts and "Range" not in request.headers and request.args.get("download") != "1"


def _to_sign_in(token: str) -> AnyResponse:
    if not _wants_a_page():
        raise Unauthorized
    return redirect(url_for("sign_in.show", next=url_for("shared.open_link", token=token)), 303)
