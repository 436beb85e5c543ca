"""Version 1 of the API: every resource, under ``/api/v1``. See docs/api.md."""

from __future__ import annotations

from functools import cache

from flask import Blueprint, Flask

from dashboard.web.api import (
    account,
    backends,
    direct_uploads,
    document,
    file_content,
    links,
    migrations,
    uploads,
    zips,
)
from dashboard.web.api.console import (
    audit_control,
    console_backups,
    console_health,
    own_account,
    upload_policy_control,
    usage_control,
)
from dashboard.web.api.control import (
    activity,
    backend_changes,
    backend_tests,
    familiar,
    familiar_files,
    migration_control,
    migration_insight,
    notification_channels,
    people,
    providers,
    schedule_control,
    settings_file,
    usage_figures,
)
from dashboard.web.api.files import browsing, catalogue_files, changing_files, whole_folders
from dashboard.web.context import API_DOCUMENT

RESOURCES = (
    account.resource,
    backends.resource,
    backend_changes.resource,
    backend_tests.resource,
    providers.resource,
    migrations.resource,
    migration_control.resource,
    migration_insight.resource,
    file_content.resource,
    browsing.resource,
    changing_files.resource,
    whole_folders.resource,
    catalogue_files.resource,
    links.resource,
    zips.resource,
    uploads.resource,
    direct_uploads.resource,
    activity.resource,
    audit_control.resource,
    console_health.resource,
    usage_figures.resource,
    usage_control.resource,
    upload_policy_control.resource,
    schedule_control.resource,
    people.resource,
    own_account.resource,
    console_backups.resource,
    settings_file.resource,
    notification_channels.resource,
    familiar.resource,
    familiar_files.resource,
    document.resource,
)
"""In the order of the document."""


def install(app: Flask) -> None:
    """Register every route, and the document that is made from them when somebody asks for it."""
    blueprint = Blueprint("api_v1", __name__)
    for resource in RESOURCES:
        resource.register(blueprint)
    app.register_blueprint(blueprint)
    app.extensions[API_DOCUMENT] = _openapi


@cache
def _openapi() -> document.Json:
    return document.openapi(RESOURCES)
