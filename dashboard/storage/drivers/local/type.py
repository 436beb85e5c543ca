"""What the rest of the program knows about folders of this machine."""

from __future__ import annotations

import os

from dashboard.storage.driver_types import DriverType, Location, Options, RcloneRemote
from dashboard.storage.drivers.local.options import LOCAL_OPTIONS, check_local
from dashboard.storage.options import Preset


def _summary(options: Options) -> str:
    return options.get("root", "")


def _location(options: Options) -> Location:
    path = os.path.realpath(options.get("root", "/")).strip("/")
    return Location("", f"{path}/" if path else "")


def _rclone(options: Options) -> RcloneRemote:
    return RcloneRemote({"type": "alias", "remote": options.get("root", "")}, "")


def _free_bytes(options: Options) -> int | None:
    try:
        found = os.statvfs(options.get("root", ""))
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


PRESETS = (
    Preset(
        name="local",
        label="Local disk",
        driver="local",
        icon="disk",
        keywords="folder hard drive ssd",
        help="A folder on the machine Stowage runs on.\n"
        "The user that runs Stowage must be able to read and write it.",
    ),
    Preset(
        name="share",
        label="Mounted network share",
        driver="local",
        icon="share",
        keywords="nas nfs smb cifs samba",
        help="A share of a NAS or file server (NFS, SMB) that this machine has mounted, for example through "
        "/etc/fstab. Mount it first and give the folder it is mounted at, or one below. While it is not "
        "mounted, Stowage leaves the empty folder alone.\n"
        "The user that runs Stowage must be able to read and write it: mount SMB with that user's uid.\n"
        "Shares of Windows and macOS treat “A” and “a” as the same name: of two such files the second is "
        "reported as failed and never replaces the first.\n"
        "Where the server can be reached by SFTP or WebDAV, that works without mounting anything.",
        defaults={"mounted": "true"},
        labels={"root": "Folder it is mounted at"},
        placeholders={"root": "/mnt/nas/files"},
    ),
)

LOCAL = DriverType(
    "local",
    "dashboard.storage.drivers.local.driver:LocalDriver.from_options",
    LOCAL_OPTIONS,
    check_local,
    presets=PRESETS,
    family="On this server",
    noun="folder",
    icon="disk",
    summary=_summary,
    location=_location,
    rclone=_rclone,
    free_bytes=_free_bytes,
)
