"""Third-party servers, each in a temporary folder and on a free port of 127.0.0.1.

``SERVERS`` names them: those of Debian's packages, which ``make interop`` unpacks into ``.venv/interop``, and
what ``rclone serve`` offers. ``why_not`` says why one cannot be started on this machine.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.servers.foreign import packaged, packaged_web, rclone
from tests.servers.foreign.server import ForeignServer

SERVERS: Mapping[str, type[ForeignServer]] = {
    "openssh": packaged.OpenSSH,
    "proftpd-sftp": packaged.ProFTPDOverSSH,
    "proftpd": packaged.ProFTPD,
    "vsftpd": packaged.Vsftpd,
    "pure-ftpd": packaged.PureFTPd,
    "apache": packaged_web.Apache,
    "nginx": packaged_web.Nginx,
    "lighttpd": packaged_web.Lighttpd,
    "rclone-s3": rclone.OverS3,
    "rclone-webdav": rclone.OverWebDAV,
    "rclone-ftp": rclone.OverFTP,
    "rclone-sftp": rclone.OverSFTP,
}


def why_not(name: str) -> str:
    """Return why this server cannot be started on this machine; empty if it can."""
    return SERVERS[name].why_not()


def start(name: str) -> ForeignServer:
    """Start a server. The caller closes it."""
    server = SERVERS[name]()
    server.start()
    return server
