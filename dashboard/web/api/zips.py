"""Many files as one zip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from flask import url_for

from dashboard.services.files.zips.zip_downloads import MAX_SELECTED, SELECTION_SECONDS
from dashboard.services.permissions import Permission
from dashboard.web.api.routes import Reply, Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, external_url, services

resource = Resource("Zip downloads", "Many files of a backend as one zip, made while it is sent.")


@dataclass(frozen=True, slots=True)
class ZipToDownload:
    """What goes into the zip. `folders` end in a slash and go in with everything below them; an empty one is
    the whole backend."""

    backend: Annotated[str, Field("The backend's name.", maximum_length=63)]
    files: Annotated[tuple[str, ...], Field("Keys.", maximum_items=MAX_SELECTED, maximum_length=4096)] = ()
    folders: Annotated[
        tuple[str, ...], Field("Prefixes.", maximum_items=MAX_SELECTED, maximum_length=4096)
    ] = ()


@dataclass(frozen=True, slots=True)
class PreparedZip:
    """Where the zip is, for the same user and for `seconds`. Its `Content-Length` is exact."""

    url: str
    seconds: int


@resource.route(
    "POST",
    "/zips",
    Permission.READ_FILES,
    body=ZipToDownload,
    returns=PreparedZip,
    status=201,
    errors={404: "There is no such backend."},
)
def select(body: ZipToDownload) -> Reply:
    """Select files to download as one zip.

    Get the URL with the same token or session. A file that does not exist is found out then, with 404; one
    that changes during the download ends it.
    """
    token = services().zips.select(actor(), body.backend, files=body.files, folders=body.folders)
    url = external_url(url_for("zips.download", token=token))
    return Reply(PreparedZip(url, int(SELECTION_SECONDS)), 201)
