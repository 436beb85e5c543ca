"""The form of a new migration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask import make_response, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.migration.types import OnConflict, Spec, Verify
from dashboard.services.permissions import Permission
from dashboard.web.admin.frame import Page, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.errors import STATUS
from dashboard.web.numbers import whole

_MOST_PATTERNS = 200
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Choice:
    """One radio button with the sentence that goes with it."""

    value: str
    label: str
    sentence: str


CONFLICTS = (
    Choice("skip-same", "Skip what is the same", "Leaves it if it is the same; replaces it if it differs."),
    Choice("newer", "Replace if ours is newer", "Replaces it only if the source was modified later."),
    Choice("overwrite", "Replace always", "Copies everything again, whatever is there."),
    Choice("keep-both", "Keep both", "Writes ours beside it under a free name; the report says which."),
    Choice("fail", "Stop at it", "Touches nothing that exists; lists the object as failed."),
)

PROOFS = (
    Choice("size", "Size", "Compares sizes. Costs nothing, proves little."),
    Choice(
        "checksum",
        "Checksum",
        "Compares checksums taken while copying with those that both sides keep. A source without TLS that "
        "keeps none is read twice.",
    ),
    Choice(
        "readback",
        "Full read-back",
        "Reads every copy back and compares. Costs a second transfer, and what the provider charges for it.",
    ),
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What stands in the form, as text."""

    source: str = ""
    destination: str = ""
    prefix: str = ""
    include: str = ""
    exclude: str = ""
    on_conflict: str = OnConflict.SKIP_SAME.value
    verify: str = Verify.CHECKSUM.value
    workers: str = ""
    dry_run: bool = False
    delete_source: bool = False

    @property
    def unusual(self) -> bool:
        """Whether the fold must be open."""
        return bool(self.include or self.exclude or self.delete_source)


class NewMigration(Page):
    """``/migrations/new``"""

    at = "/migrations/new"
    known_as = "migration_new"
    under = "Migrations"

    @route("", Permission.MIGRATE)
    def index(self) -> str:
        """The form; prefilled from the address, or like an earlier migration."""
        like = whole(request.args, "like")
        return self._page(_like(like) if like else _prefilled(request.args), None)

    @route("", Permission.MIGRATE, methods=("POST",))
    def create(self) -> Response:
        """Begin to list; the next page shows what was found before anything is copied."""
        wish = _typed(request.form)
        try:
            spec = _spec(wish)
            created = services().migrations.create(actor(), wish.source, wish.destination, spec)
        except StowageError as error:
            if error.kind not in (Kind.INVALID, Kind.CONFLICT, Kind.NOT_FOUND):
                raise
            return make_response(self._page(wish, error), STATUS[error.kind])
        return see_other(url_for("migrations.show", id=created))

    def _page(self, wish: Wish, error: StowageError | None) -> str:
        return str(
            self.render(
                "admin/migration_new.html",
                wish=wish,
                error=error,
                field=error.subject if error else "",
                backends=services().backends.choices(),
                conflicts=CONFLICTS,
                proofs=PROOFS,
                most_workers=services().settings.max_workers,
            )
        )


def _prefilled(given: Mapping[str, str]) -> Wish:
    """From the source's page, or from the active backend to the one other there is."""
    backends = services().backends.choices()
    names = [b.name for b in backends]
    active = next((b.name for b in backends if b.active), "")
    source = given.get("source", "") if given.get("source", "") in names else active
    others = [name for name in names if name != source]
    destination = given.get("destination", "")
    if destination not in others:
        destination = others[0] if len(others) == 1 else ""
    return Wish(source=source, destination=destination, prefix=given.get("prefix", "")[:_LONGEST])


def _like(id: int) -> Wish:
    p = services().migrations.progress(id)
    s = p.spec
    return Wish(
        source=p.source,
        destination=p.destination,
        prefix=s.prefix,
        include="\n".join(s.include),
        exclude="\n".join(s.exclude),
        on_conflict=s.on_conflict.value,
        verify=s.verify.value,
        workers=str(s.workers),
        delete_source=s.delete_source,
    )


def _typed(form: MultiDict[str, str]) -> Wish:
    def text(name: str) -> str:
        return form.get(name, "")[:_LONGEST]

    return Wish(
        source=text("source"),
        destination=text("destination"),
        # Not stripped: a key may begin or end with a space.
        prefix=text("prefix"),
        include=text("include"),
        exclude=text("exclude"),
        on_conflict=text("on_conflict"),
        verify=text("verify"),
        workers=text("workers").strip(),
        dry_run=bool(form.get("dry_run")),
        delete_source=bool(form.get("delete_source")),
    )


def _spec(wish: Wish) -> Spec:
    """Raises ``InvalidInput`` naming the field."""
    if not wish.source:
        raise InvalidInput("source", "Choose where to copy from.")
    if not wish.destination:
        raise InvalidInput("destination", "Choose where to copy to.")
    if wish.on_conflict not in [choice.value for choice in CONFLICTS]:
        raise InvalidInput("on_conflict", "Choose what to do with an object that is there already.")
    if wish.verify not in [choice.value for choice in PROOFS]:
        raise InvalidInput("verify", "Choose how copies are verified.")
    most = services().settings.max_workers
    workers = wish.workers or str(most)
    if not (workers.isascii() and workers.isdigit() and 1 <= int(workers[:6]) <= most):
        raise InvalidInput("workers", f"Workers are threads: between 1 and {most} of them.")
    return Spec(
        prefix=wish.prefix,
        include=_patterns("include", wish.include),
        exclude=_patterns("exclude", wish.exclude),
        on_conflict=OnConflict(wish.on_conflict),
        verify=Verify(wish.verify),
        dry_run=wish.dry_run,
        delete_source=wish.delete_source,
        workers=int(workers),
    )


def _patterns(field: str, text: str) -> tuple[str, ...]:
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(lines) > _MOST_PATTERNS:
        raise InvalidInput(
            field, f"That is more than {_MOST_PATTERNS} patterns.", remedy="Use “**” to say more in one."
        )
    return lines
