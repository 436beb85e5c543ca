"""The driver type of SFTP."""

from __future__ import annotations

from dashboard.storage.driver_types import DriverType, Options, RcloneRemote
from dashboard.storage.drivers.served.options import location, summary
from dashboard.storage.drivers.sftp.options import SFTP_OPTIONS, check_sftp
from dashboard.storage.options import Preset


def _rclone(options: Options) -> RcloneRemote:
    values = {"type": "sftp", **{name: options.get(name, "") for name in ("host", "port", "user")}}
    return RcloneRemote(values, options.get("root", ""), ("pass",))


PRESETS = (
    Preset(
        name="sftp",
        label="SFTP",
        driver="sftp",
        icon="key",
        keywords="ssh scp",
        help="Host, user and folder as for ssh or any SFTP program; port 22 unless the server uses another.\n"
        "Sign in with a password, a private key, or both if the server requires both.\n"
        "Host key: leave it blank and test the connection. The test shows the server's fingerprint; compare "
        "it with what “ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub” prints on the server, then copy it.",
        help_url="https://man.openbsd.org/ssh#VERIFYING_HOST_KEYS",
        placeholders={"host": "sftp.example.com"},
    ),
)

SFTP = DriverType(
    "sftp",
    "dashboard.storage.drivers.sftp.driver:SftpDriver.from_options",
    SFTP_OPTIONS,
    check_sftp,
    presets=PRESETS,
    family="File servers",
    noun="folder",
    icon="server",
    summary=summary,
    location=location,
    rclone=_rclone,
)
