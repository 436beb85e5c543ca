"""Addresses that programs written for other consoles already use: thin spellings of what ``/api/v1`` does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.errors import Kind, StowageError
from dashboard.services.backends.backends import BackendInfo
from dashboard.services.backends.importing import importable
from dashboard.services.backends.probes import MAX_SECONDS
from dashboard.services.permissions import Permission
from dashboard.storage.library.environment_variables import SELECTORS, VARIABLES
from dashboard.storage.registry import location
from dashboard.web.api.routes import Resource
from dashboard.web.context import actor, services

resource = Resource("Familiar addresses", "Addresses of other consoles, for their programs.", prefix="")

POLL_SECONDS = 0.1
MEGABYTE = 1_000_000
NO_ACTIVE = {404: "There is no active backend."}
RELOADED = "The settings file has been read again."


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """Whether a backend was reachable when it was last checked, and what to know about it."""

    success: bool
    message: str


@dataclass(frozen=True, slots=True)
class ActiveStorage:
    """The active backend: its driver, its name, and its last check."""

    type: str
    name: str
    status: ConnectionState


@dataclass(frozen=True, slots=True)
class FileCounts:
    """Objects at the last counts: on this machine, elsewhere, and by backend; null where never counted."""

    local: int
    cloud: int
    total_size_mb: float
    backends: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class StorageHealth:
    """The worst state of the active backend and of the others: healthy, read_only, degraded, down or
    unknown."""

    overall_status: str
    active_storage: ActiveStorage
    file_counts: FileCounts


@dataclass(frozen=True, slots=True)
class HealthResponse:
    """The state of the storage, as of the last checks and counts."""

    success: bool
    health: StorageHealth


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """What the storage service is."""

    success: bool
    service: str
    active: str
    type: str
    backends: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ActionResult:
    """Whether it worked, and a sentence about it."""

    success: bool
    message: str


@dataclass(frozen=True, slots=True)
class EnvironmentVariable:
    """A variable that Stowage understands. `sets`: the option of a backend that it would set. Its value is
    never shown."""

    name: str
    is_set: bool
    sets: str


@dataclass(frozen=True, slots=True)
class EnvironmentVariables:
    """The variables that “Import from the environment” understands."""

    success: bool
    variables: tuple[EnvironmentVariable, ...]


def _health() -> HealthResponse:
    every = services().backends.list()
    active = next((each for each in every if each.active), None)
    if active is None:
        raise StowageError(Kind.NOT_FOUND, "There is no active backend.", operation="storage health")
    shown = active.status
    message = shown.message or ("Connected" if shown.badge == "healthy" else "Not checked yet.")
    counts = {each.name: each.status.objects for each in every}
    local = sum(counts[each.name] or 0 for each in every if _on_this_machine(each))
    size = sum(each.status.bytes or 0 for each in every)
    return HealthResponse(
        True,
        StorageHealth(
            _worst(every),
            ActiveStorage(
                active.driver,
                active.name,
                ConnectionState(shown.badge not in ("down", "unknown"), message),
            ),
            FileCounts(
                local, sum(c or 0 for c in counts.values()) - local, round(size / MEGABYTE, 3), counts
            ),
        ),
    )


def _on_this_machine(backend: BackendInfo) -> bool:
    return not location(backend.driver, backend.options).server


def _worst(every: tuple[BackendInfo, ...]) -> str:
    badges = [each.status.badge.value for each in every]
    return next(badge for badge in ("down", "degraded", "read_only", "unknown", "healthy") if badge in badges)


@resource.route("GET", "/admin/storage/status/", Permission.VIEW, returns=HealthResponse, errors=NO_ACTIVE)
def storage_status() -> HealthResponse:
    """Return the state of the storage. See also `/api/v1/status`."""
    return _health()


@resource.route("GET", "/admin/storage/health/", Permission.VIEW, returns=HealthResponse, errors=NO_ACTIVE)
def storage_health() -> HealthResponse:
    """Return the state of the storage. See also `/api/v1/backends`."""
    return _health()


@resource.route("GET", "/admin/storage-service/info", Permission.VIEW, returns=ServiceInfo)
def service_info() -> ServiceInfo:
    """Return what the storage service is. See also `/api/v1/backends`."""
    every = services().backends.list()
    active = next((each for each in every if each.active), None)
    return ServiceInfo(
        True,
        "Stowage",
        active.name if active else "",
        active.driver if active else "",
        tuple(each.name for each in every),
    )


@resource.route(
    "POST",
    "/admin/storage/test-connection/",
    Permission.TEST,
    returns=ActionResult,
    errors={**NO_ACTIVE, 422: "This kind of storage cannot do that."},
    storage=True,
)
def test_connection() -> ActionResult:
    """Test the active backend, and wait for the result. See also `/api/v1/backends/{name}/test`."""
    return _test()


@resource.route(
    "POST",
    "/admin/storage-service/test-connection",
    Permission.TEST,
    returns=ActionResult,
    errors={**NO_ACTIVE, 422: "This kind of storage cannot do that."},
    storage=True,
)
def test_service() -> ActionResult:
    """Test the active backend, and wait for the result. See also `/api/v1/backends/{name}/test`."""
    return _test()


def _test() -> ActionResult:
    probe = services().probes.start(actor(), services().backends.summary().active)
    deadline = time.monotonic() + MAX_SECONDS + 5
    while not (run := services().probes.get(actor(), probe)).finished and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    failed = next((step for step in run.steps if step.state == "failed"), None)
    if failed is not None:
        return ActionResult(False, f"{failed.message} {failed.remedy}".strip())
    return ActionResult(run.passed, "Connected" if run.passed else "The test has not finished.")


@resource.route(
    "POST", "/admin/storage/update-counts/", Permission.TEST, returns=ActionResult, errors={503: "Sealed."}
)
def update_counts() -> ActionResult:
    """Count the objects of every backend in the background. See also `/api/v1/refresh`."""
    services().backends.refresh(actor(), None)
    return ActionResult(True, "Every backend is being counted; the figures change when it has finished.")


@resource.route("GET", "/environment-variables", Permission.CONFIGURE, returns=EnvironmentVariables)
def variables() -> EnvironmentVariables:
    """List the environment variables of other programs that Stowage understands, and which of them are set.

    No values: many are secrets, and an address may hold a password.
    """
    environ = importable(services().settings.environment)
    options = {**dict.fromkeys(SELECTORS, "preset"), **{each.name: each.option for each in VARIABLES}}
    return EnvironmentVariables(
        True, tuple(EnvironmentVariable(name, bool(environ.get(name)), to) for name, to in options.items())
    )


@resource.route("POST", "/environment-variables/reload", Permission.ENVIRONMENT, returns=ActionResult)
def reload() -> ActionResult:
    """Read the settings file again. See also `/api/v1/environment/reload`."""
    state = services().environment.reload(actor())
    if state.error:
        return ActionResult(False, state.error)
    if state.pending:
        return ActionResult(True, f"{RELOADED} These count after a restart: {', '.join(state.pending)}.")
    return ActionResult(True, RELOADED)
