"""The form of a new migration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask import make_response, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.migration.types import AUTOMATIC, MAX_CARRIERS, OnConflict, Spec, Verify
from dashboard.services.permissions import Permission
from dashboard.web.admin.page import Page, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.errors import STATUS
from dashboard.web.numbers import parse_integer

_MAX_PATTERNS = 200
_MAX_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class RadioOption:
    """A radio button, its label and its explanation."""

    value: str
    label: str
    sentence: str


CONFLICTS = (
    RadioOption("skip-same", "Skip identical", "Leaves identical objects alone and replaces different ones."),
    RadioOption("newer", "Replace if newer", "Replaces an object only if the source was modified later."),
    RadioOption("overwrite", "Replace always", "Copies everything again, whatever is there."),
    RadioOption(
        "keep-both", "Keep both", "Stores the copy next to it under a free name, which the report shows."
    ),
    RadioOption("fail", "Report as failed", "Never replaces an object; reports it as failed."),
)

VERIFICATIONS = (
    RadioOption("size", "Size", "Compares sizes. Costs nothing and proves little."),
    RadioOption(
        "checksum",
        "Checksum",
        "Compares checksums taken while copying with those that both sides keep. A source without TLS that "
        "keeps none is read twice.",
    ),
    RadioOption(
        "readback",
        "Full read-back",
        "Reads every copy back and compares. Costs a second transfer, and what the provider charges for it.",
    ),
)


@dataclass(frozen=True, slots=True)
class MigrationForm:
    """The fields of the form, as text."""

    source: str = ""
    destination: str = ""
    prefix: str = ""
    include: str = ""
    exclude: str = ""
    on_conflict: str = OnConflict.SKIP_SAME.value
    verify: str = Verify.CHECKSUM.value
    workers: str = ""
    carriers: str = ""
    bandwidth_limit: str = ""
    objects_per_second: str = ""
    dry_run: bool = False
    delete_source: bool = False

    @property
    def has_advanced(self) -> bool:
        """Whether the advanced fields must be shown."""
        return bool(
            self.include
            or self.exclude
            or self.carriers
            or self.delete_source
            or self.bandwidth_limit
            or self.objects_per_second
        )


class NewMigration(Page):
    """``/migrations/new``"""

    path = "/migrations/new"
    endpoint_name = "migration_new"
    menu_parent = "Migrations"

    @route("", Permission.MIGRATE)
    def index(self) -> str:
        """The form, filled from the query string or from an earlier migration."""
        like = parse_integer(request.args, "like")
        return self._page(_from_migration(like) if like else _prefilled(request.args), None)

    @route("", Permission.MIGRATE, methods=("POST",))
    def create(self) -> Response:
        """Create the migration; the next page shows what was found before anything is copied."""
        form = _read_form(request.form)
        try:
            spec = _spec(form)
            created = services().migrations.create(actor(), form.source, form.destination, spec)
        except StowageError as error:
            if error.kind not in (Kind.INVALID, Kind.CONFLICT, Kind.NOT_FOUND):
                raise
            return make_response(self._page(form, error), STATUS[error.kind])
        return see_other(url_for("migrations.show", id=created))

    def _page(self, form: MigrationForm, error: StowageError | None) -> str:
        return str(
            self.render(
                "admin/migrations/new.html",
                form=form,
                error=error,
                field=error.subject if error else "",
                backends=services().backends.choices(),
                conflicts=CONFLICTS,
                verifications=VERIFICATIONS,
                max_workers=services().settings.max_workers,
                max_carriers=MAX_CARRIERS,
                default_limits=services().migration_limits.of(Spec()).as_dict(),
            )
        )


def _prefilled(given: Mapping[str, str]) -> MigrationForm:
    """Default to the active backend as source and, if there is only one other, that as destination."""
    backends = services().backends.choices()
    names = [b.name for b in backends]
    active = next((b.name for b in backends if b.active), "")
    source = given.get("source", "") if given.get("source", "") in names else active
    others = [name for name in names if name != source]
    destination = given.get("destination", "")
    if destination not in others:
        destination = others[0] if len(others) == 1 else ""
    return MigrationForm(
        source=source, destination=destination, prefix=given.get("prefix", "")[:_MAX_CHARACTERS]
    )


def _from_migration(id: int) -> MigrationForm:
    p = services().migrations.progress(id)
    s = p.spec
    return MigrationForm(
        source=p.source,
        destination=p.destination,
        prefix=s.prefix,
        include="\n".join(s.include),
        exclude="\n".join(s.exclude),
        on_conflict=s.on_conflict.value,
        verify=s.verify.value,
        workers=str(s.workers) if s.workers != AUTOMATIC else "",
        carriers=str(s.carriers or ""),
        bandwidth_limit=s.bandwidth_limit,
        objects_per_second=s.objects_per_second,
        delete_source=s.delete_source,
    )


def _read_form(form: MultiDict[str, str]) -> MigrationForm:
    def text(name: str) -> str:
        return form.get(name, "")[:_MAX_CHARACTERS]

    return MigrationForm(
        source=text("source"),
        destination=text("destination"),
        # Not stripped: a key may begin or end with a space.
        prefix=text("prefix"),
        include=text("include"),
        exclude=text("exclude"),
        on_conflict=text("on_conflict"),
        verify=text("verify"),
        workers=text("workers").strip(),
        carriers=text("carriers").strip(),
        bandwidth_limit=text("bandwidth_limit").strip(),
        objects_per_second=text("objects_per_second").strip(),
        dry_run=bool(form.get("dry_run")),
        delete_source=bool(form.get("delete_source")),
    )


def _spec(form: MigrationForm) -> Spec:
    """Parse the form. Raises ``InvalidInput`` naming the field."""
    if not form.source:
        raise InvalidInput("source", "Choose where to copy from.")
    if not form.destination:
        raise InvalidInput("destination", "Choose where to copy to.")
    if form.on_conflict not in [choice.value for choice in CONFLICTS]:
        raise InvalidInput("on_conflict", "Choose what to do with an object that already exists.")
    if form.verify not in [choice.value for choice in VERIFICATIONS]:
        raise InvalidInput("verify", "Choose how copies are verified.")
    most = services().settings.max_workers
    workers = _number(form.workers, most)
    if workers is None:
        raise InvalidInput("workers", f"The number of workers must be between 1 and {most}.")
    carriers = _number(form.carriers, MAX_CARRIERS)
    if carriers is None:
        raise InvalidInput("carriers", f"The number of carriers must be between 1 and {MAX_CARRIERS}.")
    return Spec(
        prefix=form.prefix,
        include=_patterns("include", form.include),
        exclude=_patterns("exclude", form.exclude),
        on_conflict=OnConflict(form.on_conflict),
        verify=Verify(form.verify),
        dry_run=form.dry_run,
        delete_source=form.delete_source,
        workers=workers or AUTOMATIC,
        carriers=carriers,
        bandwidth_limit=form.bandwidth_limit,
        objects_per_second=form.objects_per_second,
    )


def _number(text: str, most: int) -> int | None:
    """Return the number, 0 if the field is empty, None if it is not between 1 and ``most``."""
    if not text:
        return 0
    is_number = text.isascii() and text.isdigit() and len(text) <= 6
    return int(text) if is_number and 1 <= int(text) <= most else None


def _patterns(field: str, text: str) -> tuple[str, ...]:
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(lines) > _MAX_PATTERNS:
        raise InvalidInput(
            field, f"That is more than {_MAX_PATTERNS} patterns.", remedy="Combine some with “*” or “**”."
        )
    return lines
