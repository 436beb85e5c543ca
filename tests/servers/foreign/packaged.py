"""File servers out of Debian's packages, unpacked into ``.venv/interop`` by ``.ci/install-interop``, or as
this machine has them. They run as somebody
without rights when root runs the tests, else as whoever does."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import paramiko

from dashboard.storage.drivers.sftp.options import fingerprint
from dashboard.storage.types import Secret
from tests.servers.foreign.server import (
    UNPRIVILEGED,
    USER,
    ForeignServer,
    is_accessible_to_all,
    unprivileged_user,
    user_name,
)

UNPACKED = Path(sys.prefix).resolve() / "interop" / "root"

_PASSWORD_CRYPT = (
    "$6$stowage$nTI9OgdAfjSMEQK1rHyZosGIP4v/sN/ObKCIAe8D2dlLZUpyPX9ZJhjssTxlkMrNX0.Qh4Vw1KAWu4E.0bL3i1"
)
"""``openssl passwd -6`` of the password."""


def part(path: str) -> Path | None:
    """A file of the packages: unpacked, else installed."""
    for found in (UNPACKED / path, Path("/") / path):
        if found.exists():
            return found
    return None


class Packaged(ForeignServer):
    needs: tuple[str, ...]
    """The program, then what else it cannot do without."""
    package = ""
    configuration = ""
    """``@NAME@`` stands for what ``values`` says."""

    @classmethod
    def why_not(cls) -> str:
        """The package is missing, or whoever would run it cannot read it."""
        if missing := [each for each in cls.needs if part(each) is None]:
            return f"Debian's package {cls.package} is not here ({missing[0]}); `make interop` unpacks it"
        if not unprivileged_user():
            return ""
        if shutil.which("setpriv") is None:
            return f"there is no setpriv to start it as {UNPRIVILEGED}, and root should not run it"
        return (
            ""
            if is_accessible_to_all(UNPACKED)
            else f"{UNPRIVILEGED} cannot reach {UNPACKED}, and root should not run it"
        )

    def unprivileged(self) -> str:
        """See ``ForeignServer``."""
        return unprivileged_user()

    def command(self) -> Sequence[str]:
        """With the libraries that were unpacked beside it."""
        values = {
            "PORT": str(self.port),
            "FOLDER": str(self.folder),
            "FILES": str(self.files),
            "USER": self.unprivileged() or user_name(),
            **self.values(),
        }
        text = self.configuration.lstrip()
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        (self.folder / "server.conf").write_text(text)
        libraries = f"{UNPACKED}/usr/lib/{os.uname().machine}-linux-gnu:{UNPACKED}/lib"
        return ["env", f"LD_LIBRARY_PATH={libraries}", *self.program()]

    def values(self) -> Mapping[str, str]:
        """What else the configuration names."""
        return {}

    def program(self) -> Sequence[str]:
        """The program with its arguments."""
        raise NotImplementedError

    @property
    def binary(self) -> str:
        """The path of the program."""
        return str(part(self.needs[0]))

    @property
    def root(self) -> str:
        """Above ``usr``, where the program and what belongs to it were found."""
        return self.binary.partition("/usr/")[0]

    def folder_options(self, folder: str) -> dict[str, str]:
        """How a folder of a server is reached over FTP or SFTP."""
        return {
            "host": "127.0.0.1",
            "port": str(self.port),
            "user": USER,
            "root": str(self.files / folder),
        }

    def make_host_key(self) -> None:
        """A key for SSH, known beforehand."""
        key = paramiko.ECDSAKey.generate()
        key.write_private_key_file(str(self.folder / "host_key"))
        self.host_key = fingerprint(key.asbytes())


class OpenSSH(Packaged):
    """sshd with its own SFTP server. A user other than root can only sign itself in, by key."""

    driver_name = "sftp"
    package = "openssh-server"
    needs = ("usr/sbin/sshd",)
    configuration = """
Port @PORT@
ListenAddress 127.0.0.1
HostKey @FOLDER@/host_key
PidFile none
AuthorizedKeysFile @FOLDER@/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
MaxStartups 200
Subsystem sftp internal-sftp
"""

    def program(self) -> Sequence[str]:
        """See ``Packaged``."""
        self.make_host_key()
        own = paramiko.ECDSAKey.generate()
        own.write_private_key_file(str(self.folder / "own_key"))
        self._own_key = (self.folder / "own_key").read_text()
        (self.folder / "authorized_keys").write_text(f"{own.get_name()} {own.get_base64()}\n")
        return [self.binary, "-D", "-e", "-f", str(self.folder / "server.conf")]

    def options(self, folder: str) -> Mapping[str, str]:
        """See ``ForeignServer``."""
        who = {"user": self.unprivileged() or user_name(), "host_key": self.host_key}
        return self.folder_options(folder) | who

    def secrets(self) -> Mapping[str, Secret]:
        """See ``ForeignServer``."""
        return {"private_key": Secret(self._own_key)}


class ProFTPD(Packaged):
    """FTP with MLSD."""

    driver_name = "ftp"
    package = "proftpd-core"
    needs = ("usr/sbin/proftpd",)
    engine = ""
    configuration = """
@ENGINE@
ServerType standalone
DefaultAddress 127.0.0.1
Port @PORT@
User @USER@
Group @GROUP@
AuthUserFile @FOLDER@/users
AuthOrder mod_auth_file.c
RequireValidShell off
RootLogin on
AllowOverwrite on
Umask 022
UseReverseDNS off
WtmpLog off
TransferLog none
SystemLog @FOLDER@/system.log
PidFile @FOLDER@/proftpd.pid
ScoreboardFile none
DelayTable none
"""

    def values(self) -> Mapping[str, str]:
        """One user, who is the one the server runs as."""
        users = self.folder / "users"
        ids = _ids(self.unprivileged())
        users.write_text(f"{USER}:{_PASSWORD_CRYPT}:{ids[0]}:{ids[1]}::{self.files}:/bin/sh\n")
        users.chmod(0o600)
        return {"GROUP": grp.getgrgid(ids[1]).gr_name, "ENGINE": self.engine}

    def program(self) -> Sequence[str]:
        """See ``Packaged``."""
        return [self.binary, "--nodaemon", "--config", str(self.folder / "server.conf")]

    def options(self, folder: str) -> Mapping[str, str]:
        """See ``ForeignServer``."""
        return self.folder_options(folder) | {"tls": "none"}


class ProFTPDOverSSH(ProFTPD):
    """The same server's mod_sftp."""

    driver_name = "sftp"
    package = "proftpd-mod-crypto"
    needs = ("usr/sbin/proftpd", "usr/lib/proftpd/mod_sftp.so")
    engine = """
ModulePath @ROOT@/usr/lib/proftpd
LoadModule mod_sftp.c
SFTPEngine on
SFTPHostKey @FOLDER@/host_key
SFTPAuthMethods password
"""

    def values(self) -> Mapping[str, str]:
        """See ``ProFTPD``."""
        self.make_host_key()
        engine = self.engine.replace("@ROOT@", self.root).replace("@FOLDER@", str(self.folder))
        return {**super().values(), "ENGINE": engine}

    def options(self, folder: str) -> Mapping[str, str]:
        """See ``ForeignServer``."""
        return self.folder_options(folder) | {"host_key": self.host_key}


class Vsftpd(Packaged):
    """FTP without MLSD. Everybody may write: its accounts are the machine's own."""

    driver_name = "ftp"
    package = "vsftpd"
    needs = ("usr/sbin/vsftpd",)
    configuration = """
listen=YES
listen_address=127.0.0.1
listen_port=@PORT@
background=NO
run_as_launching_user=YES
anonymous_enable=YES
local_enable=NO
write_enable=YES
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_world_readable_only=NO
anon_umask=022
anon_root=@FILES@
ftp_username=@USER@
allow_writeable_chroot=YES
seccomp_sandbox=NO
secure_chroot_dir=@FOLDER@/empty
xferlog_enable=NO
"""

    def program(self) -> Sequence[str]:
        """See ``Packaged``."""
        (self.folder / "empty").mkdir()
        return [self.binary, str(self.folder / "server.conf")]

    def options(self, folder: str) -> Mapping[str, str]:
        """See ``ForeignServer``."""
        return self.folder_options(folder) | {"user": "anonymous", "tls": "none"}


class PureFTPd(Packaged):
    """FTP with MLSD; changes its user at every sign-in, which only root can."""

    driver_name = "ftp"
    package = "pure-ftpd"
    needs = ("usr/sbin/pure-ftpd", "usr/bin/pure-pw")

    @classmethod
    def why_not(cls) -> str:
        """See ``Packaged``."""
        if os.getuid() != 0 and part(cls.needs[0]) is not None:
            return "Pure-FTPd can only be started by root"
        return super().why_not()

    def unprivileged(self) -> str:
        """See ``ForeignServer``."""
        return ""

    def program(self) -> Sequence[str]:
        """See ``Packaged``."""
        users, database = self.folder / "users", self.folder / "users.pdb"
        uid, gid = _ids(UNPRIVILEGED)
        users.write_text(f"{USER}:{_PASSWORD_CRYPT}:{uid}:{gid}::{self.files}/./::::::::::::\n")
        subprocess.run([str(part(self.needs[1])), "mkdb", str(database), "-f", str(users)], check=True)
        self.folder.chmod(0o755)
        os.chown(self.files, uid, gid)
        listen = ["-S", f"127.0.0.1,{self.port}", "-P", "127.0.0.1"]
        return [
            self.binary,
            *listen,
            "-l",
            f"puredb:{database}",
            "-E",
            "-H",
            "-u",
            "1",
            "-C",
            "100",
            "-c",
            "100",
        ]

    def new_folder(self) -> str:
        """See ``ForeignServer``."""
        name = super().new_folder()
        os.chown(self.files / name, *_ids(UNPRIVILEGED))
        return name

    def options(self, folder: str) -> Mapping[str, str]:
        """See ``ForeignServer``."""
        return self.folder_options(folder) | {"root": f"/{folder}", "tls": "none"}


def _ids(user: str) -> tuple[int, int]:
    if not user:
        return os.getuid(), os.getgid()
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid
