"""One FTP connection as the file-server drivers use it. Always binary, always whole paths."""

from __future__ import annotations

import ftplib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from dashboard.errors import Kind
from dashboard.storage.drivers.common.walking import bounded
from dashboard.storage.drivers.ftp.errors import code_of, denied, translate
from dashboard.storage.drivers.ftp.facts import facts, listed, size_of, time_of, time_text
from dashboard.storage.drivers.ftp.line import Line, readable
from dashboard.storage.drivers.ftp.replies import lines_of
from dashboard.storage.drivers.ftp.transfers import FtpSink, FtpSource, finish
from dashboard.storage.drivers.served.operations import Absent, Found, Listing, Taken, join, step_aside
from dashboard.storage.errors import InvalidKey, StorageError, Unsupported
from dashboard.storage.paths import key_text

_PROBED_IDLE = 10.0
_UNKNOWN_COMMAND = (500, 502, 504)
_NOT_FOUND = (450, 550, 551, 553)


class FtpSession:
    """A :class:`Session`. Paths are key bytes; the server's encoding is only known here."""

    def __init__(self, line: Line, root: str) -> None:
        self._line = line
        self._encoding = line.account.encoding
        self.broken = False
        self._list = "LIST -a"
        with self.replies("look at", b""):
            self.features = self._ask_features()
            self._line.voidcmd("TYPE I")
            home = self._key(ftplib.parse257(self._line.sendcmd("PWD")).encode("latin-1"))
        self._facts = "MLST" in self.features
        start = b"" if root.startswith("/") else home or b"/"
        self.root = join(start, root.encode()) if start and root else start or root.encode()

    def _ask_features(self) -> frozenset[str]:
        """https://www.rfc-editor.org/rfc/rfc2389; servers without it have none."""
        try:
            reply = self._line.sendcmd("FEAT")
        except ftplib.error_perm:
            return frozenset()
        found = frozenset(line.strip().partition(" ")[0].upper() for line in reply.splitlines()[1:])
        for feature, command in (("UTF8", "OPTS UTF8 ON"), ("MLST", "OPTS MLST type;size;modify;unique;")):
            if feature in found and (feature != "UTF8" or self._encoding == "utf-8"):
                with suppress(ftplib.error_perm):
                    self._line.sendcmd(command)
        return found

    # ---- names

    def _wire(self, path: bytes) -> str:
        """As it goes over the line. Raises ``InvalidKey`` for what would be another command or name."""
        told = path
        if self._encoding != "utf-8":
            try:
                told = path.decode("utf-8", "surrogateescape").encode(self._encoding, "surrogateescape")
            except UnicodeEncodeError:
                raise self._unspeakable(path) from None
        if {0x0A, 0x0D, 0xFF} & set(told):
            raise self._unspeakable(path)
        # Servers trim spaces; no key ends in one, so this is a folder.
        return told.decode("latin-1") + ("/" if told.endswith((b" ", b"\t")) else "")

    def _unspeakable(self, path: bytes) -> InvalidKey:
        key = self.shown(path)
        return InvalidKey(key, f"“{key}” cannot be said over FTP in the server's encoding, {self._encoding}.")

    def _key(self, raw: bytes) -> bytes:
        if self._encoding == "utf-8":
            return raw
        return raw.decode(self._encoding, "surrogateescape").encode("utf-8", "surrogateescape")

    def shown(self, path: bytes) -> str:
        """A path as people know it: the key."""
        return key_text(path.removeprefix(self.root.rstrip(b"/") + b"/")) if path else self._line.account.host

    # ---- errors

    @contextmanager
    def replies(self, operation: str, path: bytes) -> Iterator[None]:
        """From refusals and lost lines to our words."""
        if self.broken:
            # What comes next on this line would be taken for the answer to another question.
            raise self.lost(EOFError())
        try:
            yield
        except (ftplib.error_temp, ftplib.error_perm) as error:
            if code_of(error) == 421:
                self.broken = True
            raise translate(error, operation, self.shown(path)) from error
        except (OSError, EOFError, ftplib.Error) as error:
            raise self.lost(error) from error

    def lost(self, error: BaseException) -> StorageError:
        """The line is gone, or nobody knows what comes next on it."""
        self.broken = True
        host = self._line.account.host
        if isinstance(error, TimeoutError):
            return StorageError(
                Kind.TIMEOUT,
                f"“{host}” did not answer in time, or its data port cannot be reached.",
                operation="connect",
                subject=host,
                remedy="Check the server and the network; its passive ports must be open in the firewall.",
            )
        return StorageError(
            Kind.UNREACHABLE,
            f"“{host}” closed the connection in the middle of its work.",
            operation="connect",
            subject=host,
            remedy="Check the server and the network between, then try again.",
        )

    # ---- the connection

    def ready(self, idle: float) -> bool:
        """Whether the line stands; asked of the server only after some idle time."""
        if self.broken or readable([self._line.sock], 0):
            # What comes unasked is a farewell.
            return False
        if idle < _PROBED_IDLE:
            return True
        try:
            self._line.voidcmd("NOOP")
        except (OSError, EOFError, ftplib.Error):
            return False
        return True

    def close(self) -> None:
        """Hang up."""
        self.broken = True
        self._line.hang_up()

    def creates_only(self) -> bool:
        """FTP has no such call."""
        return False

    # ---- looking

    def look(self, path: bytes) -> Found | None:
        """MLST, else SIZE and MDTM, else the folder's listing."""
        with self.replies("look at", path):
            try:
                if not self._facts:
                    return self._look_without_facts(path)
                for line in self._line.sendcmd(f"MLST {self._wire(path)}").split("\n")[1:-1]:
                    if said := facts(line.removeprefix(" ").encode("latin-1")):
                        return said[1]
                raise self._unreadable("look at")
            except ftplib.error_perm as error:
                if code_of(error) in _NOT_FOUND and not denied(error, path):
                    return None
                raise

    def _look_without_facts(self, path: bytes) -> Found | None:
        wire = self._wire(path)
        try:
            size = size_of(self._line.sendcmd(f"SIZE {wire}")[3:].strip())
        except ftplib.error_perm as error:
            try:
                self._line.voidcmd(f"CWD {wire}")
            except ftplib.error_perm:
                return self._look_in_folder(path) if code_of(error) in _UNKNOWN_COMMAND else None
            return Found("folder")
        if size is None:
            raise self._unreadable("look at")
        modified = None
        with suppress(ftplib.error_perm):
            modified = time_of(self._line.sendcmd(f"MDTM {wire}")[3:])
        return Found("file", size, modified)

    def _look_in_folder(self, path: bytes) -> Found | None:
        folder, _, name = path.rpartition(b"/")
        found = None
        with suppress(Absent):
            for each, what in self.scan(folder or b"/"):
                found = what if each == name else found
        return found

    def real(self, path: bytes) -> bytes:
        """FTP does not tell of links; what they lead to is the server's own business. But the folder has to
        be there: some servers begin to take a file that has no folder, and say so only at its end."""
        found = self.look(path)
        if found is None or found.kind != "folder":
            raise Absent
        return path

    def scan(self, path: bytes) -> Listing:
        """MLSD, else LIST from inside the folder, so that no name is taken for a pattern or a switch."""
        with self.replies("list", path):
            try:
                if self._facts:
                    yield from self._lines(f"MLSD {self._wire(path)}", facts)
                    return
                self._line.voidcmd(f"CWD {self._wire(path)}")
                yield from self._listed()
            except ftplib.error_perm as error:
                if code_of(error) in (*_NOT_FOUND, 501) and not denied(error, path):
                    found = self.look(path)
                    if found is None or found.kind != "folder":
                        raise Absent from error
                raise

    def _listed(self) -> Iterator[tuple[bytes, Found]]:
        """The folder we are in. Servers that do not know the switch take it for a name, and some of them
        say that there is nothing of that name by listing nothing."""
        none = True
        try:
            for each in self._lines(self._list, listed):
                none = False
                yield each
        except ftplib.error_perm:
            if not none or self._list == "LIST":
                raise
        if none and self._list != "LIST":
            for each in self._lines("LIST", listed):
                self._list = "LIST"
                yield each

    def _lines(
        self, command: str, read: Callable[[bytes], tuple[bytes, Found] | None]
    ) -> Iterator[tuple[bytes, Found]]:
        conn = self._line.transfercmd(command)
        try:
            for line in bounded(lines_of(conn)):
                if not line.endswith(b"\n"):
                    raise self.lost(EOFError())
                said = read(line.rstrip(b"\r\n"))
                if said is not None:
                    yield self._key(said[0]), said[1]
                elif not line.isspace() and not line.startswith(b"total "):
                    raise self._unreadable("list")
        except BaseException:
            # What else comes on both connections is not waited for.
            self.broken = True
            conn.close()
            raise
        finish(conn, self._line.sock)
        self._line.complete()

    def _unreadable(self, operation: str) -> StorageError:
        host = self._line.account.host
        return StorageError(
            Kind.UNSUPPORTED,
            f"“{host}” tells of its files in a way that Stowage cannot read, so some would be missing.",
            operation=operation,
            subject=host,
            remedy="Ask whoever runs the server to switch MLSD on.",
        )

    # ---- files

    def source(self, path: bytes, start: int) -> FtpSource:
        """RETR, after REST where it begins later."""
        with self.replies("read", path):
            try:
                conn = self._line.transfercmd(f"RETR {self._wire(path)}", start or None)
                return FtpSource(self, self._line, conn, path)
            except ftplib.error_perm as error:
                if code_of(error) in _NOT_FOUND and not denied(error, path) and self.look(path) is None:
                    raise Absent from error
                raise

    def create(self, path: bytes, target: bytes) -> FtpSink:
        """STOR."""
        command = f"STOR {self._wire(path)}"
        with self.replies("write", target):
            try:
                conn = self._line.transfercmd(command)
            except ftplib.error_perm as error:
                if code_of(error) not in _NOT_FOUND or denied(error, path):
                    raise
                if self._no_folder(path):
                    raise Absent from error
                # Someone else may have made it in this moment.
                conn = self._line.transfercmd(command)
        return FtpSink(self, self._line, conn, path, target)

    def _no_folder(self, path: bytes) -> bool:
        return self.look(path.rpartition(b"/")[0] or b"/") is None

    def touch(self, path: bytes, modified: float) -> None:
        """MFMT, where the server offers it; else MDTM with a time, which vsftpd takes. Others look for a file
        of that odd name and find none."""
        command = "MFMT" if "MFMT" in self.features else "MDTM"
        if command in self.features:
            with self.replies("write", path), suppress(ftplib.error_perm):
                self._line.sendcmd(f"{command} {time_text(modified)} {self._wire(path)}")

    def rename(self, path: bytes, to: bytes) -> None:
        """RNFR, RNTO. Most servers replace an existing file; for the others it steps aside first and is
        missing for that moment."""
        with self.replies("write", to):
            try:
                self._plain_rename(path, to)
            except (ftplib.error_perm, ftplib.error_temp) as error:
                if self.look(path) is None:
                    raise Absent from error
                found = self.look(to)
                if found is None or found.kind != "file":
                    raise
                aside = step_aside(self._plain_rename, path, to)
                with suppress(ftplib.error_perm, ftplib.error_temp):
                    self._line.delete(self._wire(aside))

    def _plain_rename(self, path: bytes, to: bytes) -> None:
        self._line.rename(self._wire(path), self._wire(to))

    def link(self, path: bytes, to: bytes) -> None:
        """FTP has no such call."""
        raise Unsupported("write", "FTP cannot create a file only where there is none.")

    def remove(self, path: bytes) -> None:
        """DELE."""
        with self.replies("delete", path):
            try:
                self._line.delete(self._wire(path))
            except ftplib.error_perm as error:
                if code_of(error) in _NOT_FOUND and not denied(error, path) and self.look(path) is None:
                    raise Absent from error
                raise

    def make_folder(self, path: bytes) -> None:
        """MKD."""
        with self.replies("write", path):
            try:
                self._line.voidcmd(f"MKD {self._wire(path)}")
            except ftplib.error_perm as error:
                if self.look(path) is not None:
                    raise Taken from error
                if self._no_folder(path):
                    raise Absent from error
                raise

    def remove_folder(self, path: bytes) -> bool:
        """RMD, which takes empty folders only."""
        with self.replies("delete", path):
            try:
                self._line.voidcmd(f"RMD {self._wire(path)}")
            except (ftplib.error_perm, ftplib.error_temp):
                return False
            return True
