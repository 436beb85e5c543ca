"""The driver type of Google Cloud Storage."""

from __future__ import annotations

from dashboard.storage.driver_types import DriverType, Options, RcloneRemote
from dashboard.storage.drivers.common.locations import bucket_location, bucket_summary
from dashboard.storage.drivers.gcs.options import (
    GCS_OPTIONS,
    check_credential,
    check_gcs,
    machine_credentials_to,
)
from dashboard.storage.options import Preset


def _rclone(options: Options) -> RcloneRemote:
    path = f"{options.get('bucket', '')}/{options.get('prefix', '')}"
    return RcloneRemote(
        {"type": "google cloud storage", "bucket_policy_only": "true"}, path, ("service_account_credentials",)
    )


PRESETS = (
    Preset(
        name="gcs",
        label="Google Cloud Storage",
        driver="gcs",
        icon="p-dots",
        keywords="gcp",
        help="Service account: Google Cloud console, IAM & Admin, Service accounts, Create service account.\n"
        "Its key: on the account's page under Keys, Add key, Create new key, JSON. The file is downloaded "
        "once; paste all of it.\n"
        "Rights: on the bucket's page under Permissions, Grant access, to the service account's address, "
        "with the role Storage Object User.\n"
        "To create buckets from here it also needs Storage Admin on the project.",
        help_url="https://cloud.google.com/iam/docs/keys-create-delete",
    ),
)

GCS = DriverType(
    "gcs",
    "dashboard.storage.drivers.gcs.driver:GcsDriver.from_options",
    GCS_OPTIONS,
    check_gcs,
    check_credential,
    presets=PRESETS,
    family="Object storage",
    noun="bucket",
    summary=bucket_summary,
    location=bucket_location,
    rclone=_rclone,
    machine_credentials_to=machine_credentials_to,
)
