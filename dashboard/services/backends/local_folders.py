"""Which folders of this machine the console lets a backend be."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import dashboard
from dashboard.settings import Settings
from dashboard.storage.checks.folders import FolderPolicy

SYSTEM = (
    *("/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/sbin"),
    *("/usr/bin", "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/sbin"),
    *("/usr/local/bin", "/usr/local/lib", "/usr/local/sbin"),
    *("/run/secrets", "/var/spool/cron"),
)
"""What decides which programs run, when, and who signs in."""
_AT_HOME = ("~root/.ssh", "~/.ssh", "~/.gnupg", "~/.aws", "~/.config/systemd", "~/.local/bin")


def folder_policy(settings: Settings) -> FolderPolicy:
    """Nothing of the console's own, of its program and environment, of the system; and only the folders in
    ``STOWAGE_LOCAL_ROOTS`` where that is set. The instance folder's ``files`` may always be one."""
    own = (settings.database, settings.work_database, settings.key_file, settings.instance / "cache")
    allowed = (*settings.local_roots, settings.instance / "files") if settings.local_roots else ()
    return FolderPolicy(
        own=tuple(map(str, own)),
        system=(*_program(), *SYSTEM, *(os.path.expanduser(path) for path in _AT_HOME)),
        allowed=tuple(map(str, allowed)),
    )


def _program() -> tuple[str, ...]:
    package = Path(dashboard.__file__).parent
    beside = (package.parent / name for name in ("templates", "static", "wsgi.py", ".git"))
    paths = [str(package), *(str(path) for path in beside if path.exists())]
    paths += [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")]
    if sys.prefix != sys.base_prefix:
        paths.append(sys.prefix)
    return tuple(dict.fromkeys(paths))
