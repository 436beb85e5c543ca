"""Links to files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from dashboard.services.files.sharing.link_rules import MAX_SECONDS, MAX_USES
from dashboard.services.files.sharing.links import LinkInfo, LinkState
from dashboard.services.permissions import Permission
from dashboard.web.api import cursors
from dashboard.web.api.cursors import Page
from dashboard.web.api.routes import Header, Reply, Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, external_url, services

resource = Resource("Links", "Addresses that open one file for people without an account, until they expire.")


@dataclass(frozen=True, slots=True)
class LinkToCreate:
    """A link to create. Without `uses` it opens the file any number of times. `user`: the only username that
    may use it, signed in; `network`: the only address, or network as `192.0.2.0/24`."""

    backend: Annotated[str, Field("The backend's name.", maximum_length=63)]
    key: Annotated[str, Field("The file's full path in the backend.", maximum_length=4096)]
    seconds: Annotated[int, Field("How long it works.", minimum=1, maximum=MAX_SECONDS)] = 7 * 86_400
    uses: Annotated[int | None, Field("Complete downloads.", minimum=1, maximum=MAX_USES)] = None
    user: Annotated[str, Field("A username.", maximum_length=64)] = ""
    network: Annotated[str, Field("An address or a network.", maximum_length=64)] = ""


@dataclass(frozen=True, slots=True)
class LinkDetails:
    """A link. Its URL is known only when it is created. `backend` is empty if it was removed; `max_uses`
    null: any number."""

    id: int
    state: LinkState
    backend: str
    key: str
    created_by: str
    created_at: float
    expires_at: float
    max_uses: int | None
    uses: int
    user: str
    network: str
    last_used_at: float | None
    last_address: str
    revoked_at: float | None


@dataclass(frozen=True, slots=True)
class CreatedLink:
    """A link and, this once, its URL: anyone who has it can read the file."""

    url: str
    link: LinkDetails


@dataclass(frozen=True, slots=True)
class LinkList:
    """A page of links, newest first."""

    links: tuple[LinkDetails, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class LinkPage(Page):
    """The query parameters of the list."""

    open: Annotated[bool, Field("Only those that can be used.")] = False


@resource.route("GET", "/links", Permission.READ_FILES, query=LinkPage, returns=LinkList)
def index(query: LinkPage) -> LinkList:
    """List your links, or everybody's if you may manage users."""
    (before,) = cursors.decode(query.cursor, "links", int) or (None,)
    found = services().links.list(actor(), before_id=before, limit=query.limit + 1, only_open=query.open)
    shown, more = cursors.page_of(found, query.limit)
    return LinkList(
        tuple(details(link) for link in shown), cursors.encode("links", shown[-1].id) if more else None
    )


@resource.route(
    "POST",
    "/links",
    Permission.READ_FILES,
    body=LinkToCreate,
    returns=CreatedLink,
    status=201,
    errors={404: "There is no such backend or file."},
    response_headers=(Header("Location", "The link as a resource of this API."),),
    storage=True,
)
def create(body: LinkToCreate) -> Reply:
    """Create a link to a file."""
    made = services().links.create(
        actor(),
        body.backend,
        body.key,
        seconds=body.seconds,
        uses=body.uses,
        user=body.user,
        network=body.network,
    )
    created = CreatedLink(external_url(made.path), details(made.info))
    return Reply(created, 201, {"Location": f"/api/v1/links/{made.info.id}"})


@resource.route("GET", "/links/<int:id>", Permission.READ_FILES, returns=LinkDetails)
def show(id: int) -> LinkDetails:
    """Return one link."""
    return details(services().links.get(actor(), id))


@resource.route("DELETE", "/links/<int:id>", Permission.READ_FILES, returns=LinkDetails)
def revoke(id: int) -> LinkDetails:
    """End a link. It opens nothing any more; downloads that are under way are cut off. Idempotent."""
    return details(services().links.revoke(actor(), id))


def details(link: LinkInfo) -> LinkDetails:
    """A link as the API shows it."""
    return LinkDetails(
        id=link.id,
        state=link.state,
        backend=link.backend,
        key=link.key,
        created_by=link.created_by,
        created_at=link.created_at,
        expires_at=link.expires_at,
        max_uses=link.max_uses,
        uses=link.uses,
        user=link.user,
        network=link.network,
        last_used_at=link.last_used_at,
        last_address=link.last_address,
        revoked_at=link.revoked_at,
    )
