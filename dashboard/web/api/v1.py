"""Version 1 of the API: every resource, under ``/api/v1``. See docs/api.md."""

from __future__ import annotations

from flask import Blueprint

from dashboard.web.api import account, backends, document, migrations, uploads

PREFIX = "/api/v1"

RESOURCES = (account.resource, backends.resource, migrations.resource, uploads.resource)
"""In the order of the document."""

blueprint = Blueprint("api_v1", __name__, url_prefix=PREFIX)

for _resource in (*RESOURCES, document.resource_for(PREFIX, RESOURCES)):
    _resource.register(blueprint)
