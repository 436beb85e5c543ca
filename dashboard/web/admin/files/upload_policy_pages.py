"""Upload policies: listed, added, changed, removed, and all of them as TOML."""

from __future__ import annotations

from flask import make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.media.kinds import KIND_LABELS, FileKind
from dashboard.media.policy import DEFAULT, OnConflict, Scan, UploadPolicy
from dashboard.media.recipes import RECIPES
from dashboard.media.sizes import MB, parse_bytes
from dashboard.services.files.policies import DEFAULT_NAME
from dashboard.services.permissions import Permission
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.downloads import attachment
from dashboard.web.errors import STATUS

SCANS = (
    (Scan.OFF, "Not scanned"),
    (Scan.OPTIONAL, "Scanned if ClamAV can be reached"),
    (Scan.REQUIRED, "Refused unless ClamAV has scanned it"),
)
CONFLICTS = (
    (OnConflict.REFUSE, "Refuse the new file"),
    (OnConflict.RENAME, "Add a number to its name"),
    (OnConflict.REPLACE, "Replace the other file"),
)
FIELDS = ("name", "max_size", "kinds", "endings", "max_pixels", "thumbnails", "toml")
"""The fields that show their own errors."""
_MAX_TEXT = 2000


class UploadPolicyPages(Page):
    """``/settings/uploads``"""

    path = "/settings/uploads"
    endpoint_name = "upload_policies"
    menu_parent = "Settings"
    menu_permission = Permission.CONFIGURE

    @route("", Permission.CONFIGURE)
    def index(self) -> str:
        """The policies, and the form for a new one."""
        return self._page("", DEFAULT, None)

    @route("/<name>", Permission.CONFIGURE)
    def edit(self, name: str) -> str:
        """The form of one policy."""
        return self._page(name, services().upload_policies.get(name), None)

    @route("", Permission.CONFIGURE, methods=("POST",))
    def create(self) -> Response:
        """Add a policy."""
        return self._save("", request.form.get("name", "").strip()[:_MAX_TEXT])

    @route("/<name>", Permission.CONFIGURE, methods=("POST",))
    def change(self, name: str) -> Response:
        """Change a policy."""
        services().upload_policies.get(name)
        return self._save(name, name)

    @route("/<name>/remove", Permission.CONFIGURE, methods=("POST",))
    def remove(self, name: str) -> Response:
        """Remove a policy, or the changes of the default."""
        services().upload_policies.remove(actor(), name)
        flash_done(
            "The default policy has its original values again."
            if name == DEFAULT_NAME
            else f"The policy “{name}” is removed."
        )
        return see_other(url_for("upload_policies.index"))

    @route("/policies.toml", Permission.CONFIGURE)
    def export(self) -> Response:
        """All policies as a file."""
        return attachment(services().upload_policies.as_toml(), "upload-policies.toml", "application/toml")

    @route("/import", Permission.CONFIGURE, methods=("POST",))
    def load(self) -> Response:
        """Add and replace policies from a TOML document."""
        text = request.form.get("toml", "")
        try:
            names = services().upload_policies.load_toml(actor(), text)
        except InvalidInput as error:
            shown = InvalidInput("toml", error.reason, remedy=error.remedy)
            return make_response(self._page("", DEFAULT, shown, toml=text), STATUS[Kind.INVALID])
        flash_done(f"Saved: {', '.join(names)}." if names else "The document has no policy.")
        return see_other(url_for("upload_policies.index"))

    def _save(self, existing: str, name: str) -> Response:
        try:
            policy = _typed_policy()
            services().upload_policies.save(actor(), name, policy, create=not existing)
        except InvalidInput as error:
            page = self._page(existing, None, error, name=name)
            return make_response(page, STATUS[Kind.INVALID])
        flash_done(f"The policy “{name}” is saved.")
        return see_other(url_for("upload_policies.index"))

    def _page(
        self,
        existing: str,
        policy: UploadPolicy | None,
        error: StowageError | None,
        *,
        name: str = "",
        toml: str = "",
    ) -> str:
        settings = services().settings
        return str(
            self.render(
                "admin/upload_policies.html",
                policies=services().upload_policies.list(),
                existing=existing,
                name=name,
                typed=_typed_values() if policy is None else _values(policy),
                kinds=[(kind.value, KIND_LABELS[kind]) for kind in FileKind],
                labels=KIND_LABELS,
                scans=SCANS,
                conflicts=CONFLICTS,
                recipes=list(RECIPES.values()),
                default_name=DEFAULT_NAME,
                settings=settings,
                toml=toml,
                error=error,
                field=error.subject if error else "",
                own_errors=FIELDS,
            )
        )


def _values(policy: UploadPolicy) -> dict[str, object]:
    """A policy as the form shows it."""
    size = policy.max_size
    return {
        **policy.as_dict(),
        "max_size": f"{size // MB} MB" if size % MB == 0 else str(size),
        "max_pixels": f"{policy.max_pixels / 1e6:g}",
        "endings": " ".join(policy.endings),
        "thumbnails": " ".join(policy.thumbnails),
    }


def _typed_values() -> dict[str, object]:
    """What was typed, to show the form again."""
    form = request.form
    texts = {
        name: form.get(name, "")[:_MAX_TEXT] for name in ("max_size", "max_pixels", "endings", "thumbnails")
    }
    return {
        **texts,
        "kinds": form.getlist("kinds"),
        "scan": form.get("scan", ""),
        "on_conflict": form.get("on_conflict", ""),
        "organise_by_date": "organise_by_date" in form,
        "unique_names": "unique_names" in form,
        "direct": "direct" in form,
    }


def _typed_policy() -> UploadPolicy:
    """The policy that was typed. Raises ``InvalidInput``."""
    typed = _typed_values()
    return UploadPolicy.from_dict(
        {
            **typed,
            "max_size": parse_bytes(typed["max_size"], field="max_size"),
            "max_pixels": _pixels(str(typed["max_pixels"])),
            "endings": str(typed["endings"]).replace(",", " ").split(),
            "thumbnails": str(typed["thumbnails"]).replace(",", " ").split(),
        }
    )


def _pixels(text: str) -> int:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e6:
        raise InvalidInput("max_pixels", "This is not a number of megapixels.", remedy="Write 24 or 0.5.")
    return round(number * 1e6)
