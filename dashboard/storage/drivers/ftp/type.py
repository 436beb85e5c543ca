"""The driver type of FTP and FTPS."""

from __future__ import annotations

from dashboard.storage.driver_types import DriverType, Options, RcloneRemote
from dashboard.storage.drivers.ftp.options import FTP_OPTIONS, check_ftp
from dashboard.storage.drivers.served.options import location, summary
from dashboard.storage.options import Preset


def _rclone(options: Options) -> RcloneRemote:
    values = {"type": "ftp", **{name: options.get(name, "") for name in ("host", "port", "user")}}
    secure = {"explicit": {"explicit_tls": "true"}, "implicit": {"tls": "true"}}
    values |= secure.get(options.get("tls", ""), {})
    return RcloneRemote(values, options.get("root", ""), ("pass",))


PRESETS = (
    Preset(
        name="ftp",
        label="FTP and FTPS",
        driver="ftp",
        icon="server",
        keywords="ftps",
        help="Host, user and password as for any FTP program.\n"
        "Keep the encryption on if the server supports it: without it anyone on the network path can read "
        "the password and every file.\n"
        "If signing in works and listing does not, a firewall blocks the server's passive ports.",
        placeholders={"host": "ftp.example.com", "root": "/htdocs"},
    ),
)

FTP = DriverType(
    "ftp",
    "dashboard.storage.drivers.ftp.driver:FtpDriver.from_options",
    FTP_OPTIONS,
    check_ftp,
    presets=PRESETS,
    family="File servers",
    noun="folder",
    icon="server",
    summary=summary,
    location=location,
    rclone=_rclone,
)
