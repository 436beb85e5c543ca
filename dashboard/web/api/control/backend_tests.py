"""Backends: testing, counting and comparing them, and the settings of their buckets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from flask import url_for

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.backends.bucket_settings import Finding
from dashboard.services.backends.probes import Step
from dashboard.services.permissions import Permission
from dashboard.services.switching.activation import Comparison
from dashboard.web.api.control.backend_changes import NewBackend, check_secrets, draft
from dashboard.web.api.routes import Header, Reply, Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services

resource = Resource("Tests", "Testing, counting and comparing backends, and the settings of their buckets.")

UNSUPPORTED = {422: "This kind of storage cannot do that."}
LOCATION = Header("Location", "Where the result is.")


@dataclass(frozen=True, slots=True)
class ConnectionTest:
    """A connection test, step by step. It is forgotten after ten minutes."""

    id: str
    steps: tuple[Step, ...]
    noun: str
    finished: bool
    passed: bool
    can_create_bucket: bool


@dataclass(frozen=True, slots=True)
class TestedBackend(NewBackend):
    """A backend to test before it is saved. `existing`: the saved one that it changes, whose secrets it uses
    where none are sent."""

    existing: Annotated[str | None, Field(maximum_length=63)] = None


@dataclass(frozen=True, slots=True)
class ComparisonDetails:
    """How many objects of the active backend another one has. `differing`: it has them in another size. `at`
    is null until the comparison has finished; `sentence` says it in words. `first_missing` and
    `first_differing`: the first 20 keys of each."""

    target: str
    active: str
    running: bool
    total: int
    present: int
    missing: int
    differing: int
    at: float | None
    message: str
    complete: bool
    sentence: str
    first_missing: tuple[str, ...]
    first_differing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """The site that browsers upload from: scheme, host and port."""

    origin: Annotated[str, Field("For example: https://www.example.com", maximum_length=300)]


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found out about a bucket's settings."""

    findings: tuple[Finding, ...]


@resource.route(
    "POST",
    "/tests",
    Permission.CONFIGURE,
    body=TestedBackend,
    returns=ConnectionTest,
    status=202,
    response_headers=(LOCATION,),
    errors={404: "There is no such backend to change.", **UNSUPPORTED},
    storage=True,
)
def test_draft(body: TestedBackend) -> Reply:
    """Test a backend before it is saved."""
    check_secrets(body.secrets)
    return _started(services().probes.start(actor(), draft(body, body.existing)))


@resource.route("GET", "/tests/<id>", Permission.VIEW, returns=ConnectionTest)
def show(id: str) -> ConnectionTest:
    """Return the steps of a test that the same user started."""
    return _test(id)


@resource.route(
    "POST",
    "/backends/<name>/test",
    Permission.TEST,
    returns=ConnectionTest,
    status=202,
    response_headers=(LOCATION,),
    errors=UNSUPPORTED,
    storage=True,
)
def test_saved(name: str) -> Reply:
    """Test a saved backend."""
    return _started(services().probes.start(actor(), name))


@resource.route(
    "POST", "/backends/<name>/container", Permission.CONFIGURE, status=204, errors=UNSUPPORTED, storage=True
)
def create_container(name: str) -> None:
    """Create the bucket, container or folder of a backend.

    Succeeds if there is one already and it is ours.
    """
    services().probes.create_bucket(actor(), name)


@resource.route("POST", "/backends/<name>/refresh", Permission.TEST, status=202, errors={503: "Sealed."})
def refresh(name: str) -> Reply:
    """Check and count a backend in the background.

    Its `status` shows how far the count is.
    """
    services().backends.refresh(actor(), name)
    return Reply(None, 202)


@resource.route("POST", "/refresh", Permission.TEST, status=202, errors={503: "Sealed."})
def refresh_all() -> Reply:
    """Check and count every backend in the background."""
    services().backends.refresh(actor(), None)
    return Reply(None, 202)


@resource.route(
    "POST", "/backends/<name>/comparison", Permission.CONFIGURE, returns=ComparisonDetails, status=202
)
def compare(name: str) -> ComparisonDetails:
    """Compare a backend with the active one in the background, unless a recent comparison exists."""
    return _comparison(services().activation.compare(actor(), name))


@resource.route("GET", "/backends/<name>/comparison", Permission.CONFIGURE, returns=ComparisonDetails)
def comparison(name: str) -> ComparisonDetails:
    """Return the last comparison of a backend with the active one."""
    if services().backends.get(name).active:
        raise InvalidInput("name", f"“{name}” is the active backend; there is nothing to compare.")
    found = services().activation.comparison(name)
    if found is None:
        raise StowageError(
            Kind.NOT_FOUND,
            f"“{name}” was not compared with the active backend.",
            operation="comparison",
            subject=name,
            remedy="Start a comparison with POST.",
        )
    return _comparison(found)


@resource.route(
    "POST",
    "/backends/<name>/findings",
    Permission.TEST,
    body=Site,
    returns=Findings,
    errors=UNSUPPORTED,
    storage=True,
)
def findings(name: str, body: Site) -> Findings:
    """Check the settings of a backend's bucket. Changes nothing."""
    return Findings(services().bucket_settings.findings(actor(), name, body.origin))


@resource.route(
    "POST",
    "/backends/<name>/findings/<finding>/fix",
    Permission.CONFIGURE,
    body=Site,
    returns=Findings,
    errors=UNSUPPORTED,
    storage=True,
)
def fix(name: str, finding: str, body: Site) -> Findings:
    """Fix one finding, and check again."""
    services().bucket_settings.fix(actor(), name, finding, body.origin)
    return Findings(services().bucket_settings.findings(actor(), name, body.origin))


def _started(probe: str) -> Reply:
    return Reply(_test(probe), 202, {"Location": url_for(".tests_show", id=probe)})


def _test(probe: str) -> ConnectionTest:
    run = services().probes.get(actor(), probe)
    return ConnectionTest(probe, run.steps, run.noun, run.finished, run.passed, run.can_create_bucket)


def _comparison(found: Comparison) -> ComparisonDetails:
    return ComparisonDetails(
        target=found.target,
        active=found.active,
        running=found.running,
        total=found.total,
        present=found.present,
        missing=found.missing,
        differing=found.differing,
        at=found.at,
        message=found.message,
        complete=found.complete,
        sentence=found.sentence,
        first_missing=found.first_missing,
        first_differing=found.first_differing,
    )
