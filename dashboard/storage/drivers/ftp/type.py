"""The driver type of FTP and FTPS."""

from __future__ import annotations

from dashboard.storage.driver_types import DriverType
from dashboard.storage.drivers.ftp.options import FTP_OPTIONS, check_ftp
from dashboard.storage.drivers.served.options import location, summary
from dashboard.storage.options import Preset

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
)
