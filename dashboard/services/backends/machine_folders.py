"""Folders of this machine: which of them a backend may be, and where cached backends keep their copies."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import dashboard
from dashboard.envfile.backups import Backups
from dashboard.envfile.store import EnvFile
from dashboard.settings import Settings
from dashboard.storage.checks.folders import FolderPolicy
from dashboard.storage.checks.wrappers import CACHE_FOLDER, CACHE_READS

SYSTEM = (
    *("/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/sbin"),
    *("/usr/bin", "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/sbin"),
    *("/usr/local/bin", "/usr/local/lib", "/usr/local/sbin"),
    *("/run/secrets", "/var/spool/cron"),
)
"""Folders that decide which programs run, when, and who can sign in."""
_AT_HOME = ("~root/.ssh", "~/.ssh", "~/.gnupg", "~/.aws", "~/.config/systemd", "~/.local/bin")


def folder_policy(settings: Settings) -> FolderPolicy:
    """Refuses the folders of the console, of its program and of the system; allows only those in
    ``STOWAGE_LOCAL_ROOTS`` if that is set. The instance folder's ``files`` is always allowed."""
    kept = (settings.instance / name for name in ("cache", "uploads", "thumbnails"))
    env_file = settings.environment.file if settings.environment else settings.instance / ".env"
    own = (settings.database, settings.work_database, settings.key_file, *kept)
    own = (*own, env_file, Backups(EnvFile(env_file)).folder)
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


class CacheFolders:
    """``instance/cache/<id>-<version>``, one folder for each configuration: an edited backend starts with an
    empty cache, so it never serves entries of another bucket or encryption key.

    Thread-safe. These folders may be removed at any time.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = root

    def options_for(self, backend_id: int, version: int, *, reads: bool) -> Mapping[str, str]:
        """The options of a driver's cache. Without ``reads`` it sees what the backend itself holds."""
        if self._root is None:
            return {}
        folder = self._root / f"{backend_id}-{version}"
        return {CACHE_FOLDER: str(folder), CACHE_READS: "true" if reads else "false"}

    def forget(self, backend_id: int) -> None:
        """Remove all cached objects of a backend, as far as its folders can be removed."""
        if self._root is not None:
            for folder in self._root.glob(f"{backend_id}-*"):
                shutil.rmtree(folder, ignore_errors=True)
