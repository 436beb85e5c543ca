"""The driver type of WebDAV."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from dashboard.storage.driver_types import DriverType, Location, Options, RcloneRemote
from dashboard.storage.drivers.common.locations import server_of
from dashboard.storage.drivers.webdav.options import WEBDAV_OPTIONS, check_webdav
from dashboard.storage.options import Preset


def _summary(options: Options) -> str:
    address = options.get("endpoint", "").partition("://")[2]
    return f"{address}/{options.get('prefix', '')}".rstrip("/")


def _location(options: Options) -> Location:
    endpoint = options.get("endpoint", "")
    # Users of the same address may see different files.
    server = f"{options.get('username', '')}@{server_of(endpoint)}"
    folder = unquote(urlsplit(endpoint).path).strip("/")
    return Location(server, f"{folder}/{options.get('prefix', '')}".lstrip("/"))


def _rclone(options: Options) -> RcloneRemote:
    values = {
        "type": "webdav",
        "url": options.get("endpoint", ""),
        "vendor": "other",
        "user": options.get("username", ""),
    }
    return RcloneRemote(values, options.get("prefix", ""), ("pass",))


PRESETS = (
    Preset(
        name="nextcloud",
        label="Nextcloud",
        driver="webdav",
        icon="p-peaks",
        keywords="owncloud",
        help="WebDAV address: in Nextcloud under Files, Files settings (bottom left), WebDAV; it looks like "
        "https://cloud.example.com/remote.php/dav/files/ada.\n"
        "Password: create an app password for Stowage under Personal settings, Security, Devices & sessions. "
        "Your own password works only without two-factor authentication.\n"
        "ownCloud works the same way.",
        help_url="https://docs.nextcloud.com/server/latest/user_manual/en/files/access_webdav.html",
        labels={"password": "App password"},
        placeholders={"endpoint": "https://cloud.example.com/remote.php/dav/files/ada", "prefix": "Photos/"},
    ),
    Preset(
        name="webdav",
        label="WebDAV",
        driver="webdav",
        icon="globe",
        keywords="dav http",
        help="Any WebDAV server: Apache, nginx, a NAS, a provider's “network drive”.\n"
        "Enter the same address as in a file manager, with its complete path.",
    ),
)

WEBDAV = DriverType(
    "webdav",
    "dashboard.storage.drivers.webdav.driver:WebDavDriver.from_options",
    WEBDAV_OPTIONS,
    check_webdav,
    presets=PRESETS,
    family="File servers",
    noun="folder",
    icon="server",
    summary=_summary,
    location=_location,
    rclone=_rclone,
)
