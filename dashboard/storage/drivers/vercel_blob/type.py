"""The driver type of Vercel Blob."""

from __future__ import annotations

from dashboard.storage.driver_types import DriverType, Location, Options
from dashboard.storage.drivers.common.locations import container_on, host_of, server_of
from dashboard.storage.drivers.vercel_blob.options import VERCEL_OPTIONS, check_token, check_vercel
from dashboard.storage.options import Preset


def _summary(options: Options) -> str:
    return container_on(
        options.get("store", ""), options.get("prefix", ""), host_of(options.get("endpoint", ""))
    )


def _location(options: Options) -> Location:
    server = f"{server_of(options.get('endpoint', ''))}/{options.get('store', '').lower()}"
    return Location(server, options.get("prefix", ""))


PRESETS = (
    Preset(
        name="vercel_blob",
        label="Vercel Blob",
        driver="vercel_blob",
        icon="p-bars",
        help="Token: in the Vercel dashboard open the project the store is connected to, Settings, "
        "Environment Variables, and copy BLOB_READ_WRITE_TOKEN. It is for one store.\n"
        "Store ID and access: on the page of the store under Storage.\n"
        "Vercel Blob keeps no user metadata and reports no checksums, so objects are read back to verify "
        "them.",
        help_url="https://vercel.com/docs/vercel-blob/using-blob-sdk",
    ),
)

VERCEL_BLOB = DriverType(
    "vercel_blob",
    "dashboard.storage.drivers.vercel_blob.driver:VercelBlobDriver.from_options",
    VERCEL_OPTIONS,
    check_vercel,
    check_token,
    presets=PRESETS,
    family="Object storage",
    noun="store",
    summary=_summary,
    location=_location,
)
