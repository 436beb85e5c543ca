"""Upload policies: what may be uploaded, and what is done to it; and deleting old files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from werkzeug.wrappers import Response

from dashboard.media.policy import UploadPolicy
from dashboard.services.files.cleanup.cleanup_values import Cleanup, OldFilesPlan
from dashboard.services.files.policies import DEFAULT_NAME
from dashboard.services.permissions import Permission
from dashboard.web.api.files.catalogue_files import CataloguedFile, catalogued
from dashboard.web.api.routes import Content, Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services
from dashboard.web.downloads import attachment

resource = Resource("Upload policies", "What may be uploaded, and what is done to it; deleting old files.")

MAX_TOML = 200_000


@dataclass(frozen=True, slots=True)
class PolicyList:
    """Every policy by name. `default` is used where an upload names none."""

    policies: Mapping[str, UploadPolicy]
    default: str


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """Policies as TOML, a table for each."""

    toml: Annotated[str, Field(maximum_length=MAX_TOML)]


@dataclass(frozen=True, slots=True)
class SavedPolicies:
    """The names of the policies that were saved."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AgeQuery:
    """Which files: those not modified for a number of days, of one backend or (empty) of all."""

    days: Annotated[int, Field(minimum=0)] = 30
    backend: Annotated[str, Field(maximum_length=63)] = ""


@dataclass(frozen=True, slots=True)
class DeletionPlan:
    """What a deletion would delete. Send `before`, `planned_at`, `last_id` and `files` to start it."""

    backend: str
    days: int
    before: float
    planned_at: float
    last_id: int
    files: int
    bytes: int
    oldest: tuple[CataloguedFile, ...]


@dataclass(frozen=True, slots=True)
class OldFilesRequest:
    """A plan that is confirmed by its number of files."""

    before: float
    planned_at: float
    last_id: int
    files: int
    backend: Annotated[str, Field(maximum_length=63)] = ""


@dataclass(frozen=True, slots=True)
class OldFilesDeletions:
    """The latest deletions, newest first."""

    deletions: tuple[Cleanup, ...]


@resource.route("GET", "/upload-policies", Permission.CONFIGURE, returns=PolicyList)
def list_policies() -> PolicyList:
    """Return every policy."""
    return PolicyList(services().upload_policies.list(), DEFAULT_NAME)


@resource.route(
    "GET",
    "/upload-policies.toml",
    Permission.CONFIGURE,
    returns=Content("application/toml", "A table for each policy."),
)
def export_policies() -> Response:
    """Return every policy as TOML."""
    return attachment(services().upload_policies.as_toml(), "upload-policies.toml", "application/toml")


@resource.route("POST", "/upload-policies", Permission.CONFIGURE, body=PolicyDocument, returns=SavedPolicies)
def save_policies(body: PolicyDocument) -> SavedPolicies:
    """Add and replace policies, all or none.

    Policies that the document does not name stay as they are.
    """
    return SavedPolicies(services().upload_policies.load_toml(actor(), body.toml))


@resource.route("DELETE", "/upload-policies/<name>", Permission.CONFIGURE, status=204)
def remove_policy(name: str) -> None:
    """Remove a policy, or the changes of the default."""
    services().upload_policies.remove(actor(), name)


@resource.route(
    "GET",
    "/old-files",
    Permission.READ_FILES,
    query=AgeQuery,
    returns=DeletionPlan,
    errors={404: "There is no such backend."},
)
def plan_old_files(query: AgeQuery) -> DeletionPlan:
    """Return which files were not modified for a time. Deletes nothing."""
    plan: OldFilesPlan = services().old_files.plan(query.days, query.backend)
    values = {name: getattr(plan, name) for name in DeletionPlan.__dataclass_fields__}
    return DeletionPlan(**{**values, "oldest": tuple(map(catalogued, plan.oldest))})


@resource.route("GET", "/old-files/deletions", Permission.READ_FILES, returns=OldFilesDeletions)
def old_file_deletions() -> OldFilesDeletions:
    """Return the latest deletions of old files."""
    return OldFilesDeletions(tuple(services().old_files.list()))


@resource.route(
    "POST",
    "/old-files/deletions",
    Permission.WRITE_FILES,
    body=OldFilesRequest,
    returns=Cleanup,
    status=202,
    errors={404: "There is no such backend."},
)
def delete_old_files(body: OldFilesRequest) -> Cleanup:
    """Start to delete what a plan has shown.

    A file that was changed since it was last counted is kept.
    """
    return services().old_files.request(
        actor(),
        body.backend,
        before=body.before,
        planned_at=body.planned_at,
        last_id=body.last_id,
        files=body.files,
    )
