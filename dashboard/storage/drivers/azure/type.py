"""The driver type of Azure Blob Storage."""

from __future__ import annotations

from dashboard.storage.driver_types import DriverType, Location, Options, RcloneRemote
from dashboard.storage.drivers.azure.options import AZURE_OPTIONS, check_azure, check_credential
from dashboard.storage.drivers.common.locations import container_on, server_of
from dashboard.storage.options import Preset


def _summary(options: Options) -> str:
    return container_on(options.get("container", ""), options.get("prefix", ""), options.get("account", ""))


def _location(options: Options) -> Location:
    server = f"{server_of(options.get('endpoint', ''))}/{options.get('account', '')}"
    return Location(server, f"{options.get('container', '')}/{options.get('prefix', '')}")


def _rclone(options: Options) -> RcloneRemote:
    path = f"{options.get('container', '')}/{options.get('prefix', '')}"
    return RcloneRemote(
        {"type": "azureblob", "account": options.get("account", ""), "endpoint": options.get("endpoint", "")},
        path,
        ("key",),
    )


PRESETS = (
    Preset(
        name="azure",
        label="Azure Blob Storage",
        driver="azure",
        icon="p-fold",
        keywords="microsoft",
        help="Storage account: its name, in the portal under Storage accounts.\n"
        "Key or connection string: the account's page, Security + networking, Access keys.\n"
        "A SAS token (Shared access signature) is safer: for the blob service, containers and objects, with "
        "the permissions Read, Write, Delete, List and Create.",
        help_url="https://learn.microsoft.com/azure/storage/common/storage-account-keys-manage",
    ),
)

AZURE = DriverType(
    "azure",
    "dashboard.storage.drivers.azure.driver:AzureDriver.from_options",
    AZURE_OPTIONS,
    check_azure,
    check_credential,
    presets=PRESETS,
    family="Object storage",
    noun="container",
    summary=_summary,
    location=_location,
    rclone=_rclone,
)
