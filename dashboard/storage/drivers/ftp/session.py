"""One FTP connection as the file-server drivers use it. Always binary, always whole paths."""

from __future__ import annotations

import ftplib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from dashboard.errors import Kind
from dashboard.storage.drivers.common.walking import limit_entries
from dashboard.storage.drivers.ftp.connection import FtpConnection, readable
from dashboard.storage.drivers.ftp.errors import is_denied, reply_code, translate_error
from dashboard.storage.drivers.ftp.facts import (
    format_time,
    parse_facts,
    parse_list_line,
    parse_size,
    parse_time,
)
from dashboard.storage.drivers.ftp.replies import lines_of
from dashboard.storage.drivers.ftp.transfers import FtpFileReader, FtpFileWriter, finish_transfer
from dashboard.storage.drivers.served.operations import (
    AlreadyExists,
    FileStat,
    Listing,
    Missing,
    join,
    rename_with_backup,
)
from dashboard.storage.errors import InvalidKey, StorageError, Unsupported
from dashboard.storage.paths import key_text

_PROBED_IDLE = 10.0
_UNKNOWN_COMMAND = (500, 502, 504)
_NOT_FOUND = (450, 550, 551, 553)


class FtpSession:
    """A :class:`Session`. Paths are key bytes; the server's encoding is only known here."""

    def __init__(self, connection: FtpConnection, root: str) -> None:
        self._connection = connection
        self._encoding = connection.account.encoding
        self.broken = False
        self._list = "LIST -a"
        with self.translate_errors("look at", b""):
            self.features = self._fetch_features()
            self._connection.voidcmd("TYPE I")
            home = self._key(ftplib.parse257(self._connection.sendcmd("PWD")).encode("latin-1"))
        self._facts = "MLST" in self.features
        start = b"" if root.startswith("/") else home or b"/"
        self.root = join(start, root.encode()) if start and root else start or root.encode()

    def _fetch_features(self) -> frozenset[str]:
        """https://www.rfc-editor.org/rfc/rfc2389; servers without it have none."""
        try:
            reply = self._connection.sendcmd("FEAT")
        except ftplib.error_perm:
            return frozenset()
        found = frozenset(line.strip().partition(" ")[0].upper() for line in reply.splitlines()[1:])
        for feature, command in (("UTF8", "OPTS UTF8 ON"), ("MLST", "OPTS MLST type;size;modify;unique;")):
            if feature in found and (feature != "UTF8" or self._encoding == "utf-8"):
                with suppress(ftplib.error_perm):
                    self._connection.sendcmd(command)
        return found

    # ---- names

    def _encode_path(self, path: bytes) -> str:
        """As it goes over the line. Raises ``InvalidKey`` for what would be another command or name."""
        told = path
        if self._encoding != "utf-8":
            try:
                told = path.decode("utf-8", "surrogateescape").encode(self._encoding, "surrogateescape")
            except UnicodeEncodeError:
                raise self._unencodable_error(path) from None
        if {0x0A, 0x0D, 0xFF} & set(told):
            raise self._unencodable_error(path)
        # Servers trim spaces; no key ends in one, so this is a folder.
        return told.decode("latin-1") + ("/" if told.endswith((b" ", b"\t")) else "")

    def _unencodable_error(self, path: bytes) -> InvalidKey:
        key = self.display_name(path)
        return InvalidKey(key, f"“{key}” cannot be said over FTP in the server's encoding, {self._encoding}.")

    def _key(self, raw: bytes) -> bytes:
        if self._encoding == "utf-8":
            return raw
        return raw.decode(self._encoding, "surrogateescape").encode("utf-8", "surrogateescape")

    def display_name(self, path: bytes) -> str:
        """A path as people know it: the key."""
        return (
            key_text(path.removeprefix(self.root.rstrip(b"/") + b"/"))
            if path
            else self._connection.account.host
        )

    # ---- errors

    @contextmanager
    def translate_errors(self, operation: str, path: bytes) -> Iterator[None]:
        """From refusals and lost lines to our words."""
        if self.broken:
            # What comes next on this line would be taken for the answer to another question.
            raise self.connection_lost(EOFError())
        try:
            yield
        except (ftplib.error_temp, ftplib.error_perm) as error:
            if reply_code(error) == 421:
                self.broken = True
            raise translate_error(error, operation, self.display_name(path)) from error
        except (OSError, EOFError, ftplib.Error) as error:
            raise self.connection_lost(error) from error

    def connection_lost(self, error: BaseException) -> StorageError:
        """The line is gone, or nobody knows what comes next on it."""
        self.broken = True
        host = self._connection.account.host
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

    def is_alive(self, idle: float) -> bool:
        """Whether the line stands; asked of the server only after some idle time."""
        if self.broken or readable([self._connection.sock], 0):
            # What comes unasked is a farewell.
            return False
        if idle < _PROBED_IDLE:
            return True
        try:
            self._connection.voidcmd("NOOP")
        except (OSError, EOFError, ftplib.Error):
            return False
        return True

    def close(self) -> None:
        """Hang up."""
        self.broken = True
        self._connection.disconnect()

    def supports_create_only(self) -> bool:
        """FTP has no such call."""
        return False

    # ---- looking

    def stat(self, path: bytes) -> FileStat | None:
        """MLST, else SIZE and MDTM, else the folder's listing."""
        with self.translate_errors("look at", path):
            try:
                if not self._facts:
                    return self._stat_without_facts(path)
                for line in self._connection.sendcmd(f"MLST {self._encode_path(path)}").split("\n")[1:-1]:
                    if said := parse_facts(line.removeprefix(" ").encode("latin-1")):
                        return said[1]
                raise self._unreadable_listing_error("look at")
            except ftplib.error_perm as error:
                if reply_code(error) in _NOT_FOUND and not is_denied(error, path):
                    return None
                raise

    def _stat_without_facts(self, path: bytes) -> FileStat | None:
        wire = self._encode_path(path)
        try:
            size = parse_size(self._connection.sendcmd(f"SIZE {wire}")[3:].strip())
        except ftplib.error_perm as error:
            try:
                self._connection.voidcmd(f"CWD {wire}")
            except ftplib.error_perm:
                return self._stat_from_listing(path) if reply_code(error) in _UNKNOWN_COMMAND else None
            return FileStat("folder")
        if size is None:
            raise self._unreadable_listing_error("look at")
        modified = None
        with suppress(ftplib.error_perm):
            modified = parse_time(self._connection.sendcmd(f"MDTM {wire}")[3:])
        return FileStat("file", size, modified)

    def _stat_from_listing(self, path: bytes) -> FileStat | None:
        folder, _, name = path.rpartition(b"/")
        found = None
        with suppress(Missing):
            for each, what in self.list_folder(folder or b"/"):
                found = what if each == name else found
        return found

    def realpath(self, path: bytes) -> bytes:
        """FTP does not tell of links; what they lead to is the server's own business. But the folder has to
        be there: some servers begin to take a file that has no folder, and say so only at its end."""
        found = self.stat(path)
        if found is None or found.kind != "folder":
            raise Missing
        return path

    def list_folder(self, path: bytes) -> Listing:
        """MLSD, else LIST from inside the folder, so that no name is taken for a pattern or a switch."""
        with self.translate_errors("list", path):
            try:
                if self._facts:
                    yield from self._read_listing(f"MLSD {self._encode_path(path)}", parse_facts)
                    return
                self._connection.voidcmd(f"CWD {self._encode_path(path)}")
                yield from self._list_current_folder()
            except ftplib.error_perm as error:
                if reply_code(error) in (*_NOT_FOUND, 501) and not is_denied(error, path):
                    found = self.stat(path)
                    if found is None or found.kind != "folder":
                        raise Missing from error
                raise

    def _list_current_folder(self) -> Iterator[tuple[bytes, FileStat]]:
        """The folder we are in. Servers that do not know the switch take it for a name, and some of them
        say that there is nothing of that name by listing nothing."""
        none = True
        try:
            for each in self._read_listing(self._list, parse_list_line):
                none = False
                yield each
        except ftplib.error_perm:
            if not none or self._list == "LIST":
                raise
        if none and self._list != "LIST":
            for each in self._read_listing("LIST", parse_list_line):
                self._list = "LIST"
                yield each

    def _read_listing(
        self, command: str, read: Callable[[bytes], tuple[bytes, FileStat] | None]
    ) -> Iterator[tuple[bytes, FileStat]]:
        conn = self._connection.transfercmd(command)
        try:
            for line in limit_entries(lines_of(conn)):
                if not line.endswith(b"\n"):
                    raise self.connection_lost(EOFError())
                said = read(line.rstrip(b"\r\n"))
                if said is not None:
                    yield self._key(said[0]), said[1]
                elif not line.isspace() and not line.startswith(b"total "):
                    raise self._unreadable_listing_error("list")
        except BaseException:
            # What else comes on both connections is not waited for.
            self.broken = True
            conn.close()
            raise
        finish_transfer(conn, self._connection.sock)
        self._connection.read_final_reply()

    def _unreadable_listing_error(self, operation: str) -> StorageError:
        host = self._connection.account.host
        return StorageError(
            Kind.UNSUPPORTED,
            f"“{host}” tells of its files in a way that Stowage cannot read, so some would be missing.",
            operation=operation,
            subject=host,
            remedy="Ask whoever runs the server to switch MLSD on.",
        )

    # ---- files

    def open_reader(self, path: bytes, start: int) -> FtpFileReader:
        """RETR, after REST where it begins later."""
        with self.translate_errors("read", path):
            try:
                conn = self._connection.transfercmd(f"RETR {self._encode_path(path)}", start or None)
                return FtpFileReader(self, self._connection, conn, path)
            except ftplib.error_perm as error:
                if reply_code(error) in _NOT_FOUND and not is_denied(error, path) and self.stat(path) is None:
                    raise Missing from error
                raise

    def open_writer(self, path: bytes, target: bytes) -> FtpFileWriter:
        """STOR."""
        command = f"STOR {self._encode_path(path)}"
        with self.translate_errors("write", target):
            try:
                conn = self._connection.transfercmd(command)
            except ftplib.error_perm as error:
                if reply_code(error) not in _NOT_FOUND or is_denied(error, path):
                    raise
                if self._no_folder(path):
                    raise Missing from error
                # Someone else may have made it in this moment.
                conn = self._connection.transfercmd(command)
        return FtpFileWriter(self, self._connection, conn, path, target)

    def _no_folder(self, path: bytes) -> bool:
        return self.stat(path.rpartition(b"/")[0] or b"/") is None

    def set_modified(self, path: bytes, modified: float) -> None:
        """MFMT, where the server offers it; else MDTM with a time, which vsftpd takes. Others look for a file
        of that odd name and find none."""
        command = "MFMT" if "MFMT" in self.features else "MDTM"
        if command in self.features:
            with self.translate_errors("write", path), suppress(ftplib.error_perm):
                self._connection.sendcmd(f"{command} {format_time(modified)} {self._encode_path(path)}")

    def rename(self, path: bytes, to: bytes) -> None:
        """RNFR, RNTO. Most servers replace an existing file; for the others it steps aside first and is
        missing for that moment."""
        with self.translate_errors("write", to):
            try:
                self._rename_or_fail(path, to)
            except (ftplib.error_perm, ftplib.error_temp) as error:
                if self.stat(path) is None:
                    raise Missing from error
                found = self.stat(to)
                if found is None or found.kind != "file":
                    raise
                aside = rename_with_backup(self._rename_or_fail, path, to)
                with suppress(ftplib.error_perm, ftplib.error_temp):
                    self._connection.delete(self._encode_path(aside))

    def _rename_or_fail(self, path: bytes, to: bytes) -> None:
        self._connection.rename(self._encode_path(path), self._encode_path(to))

    def link(self, path: bytes, to: bytes) -> None:
        """FTP has no such call."""
        raise Unsupported("write", "FTP cannot create a file only where there is none.")

    def remove(self, path: bytes) -> None:
        """DELE."""
        with self.translate_errors("delete", path):
            try:
                self._connection.delete(self._encode_path(path))
            except ftplib.error_perm as error:
                if reply_code(error) in _NOT_FOUND and not is_denied(error, path) and self.stat(path) is None:
                    raise Missing from error
                raise

    def make_folder(self, path: bytes) -> None:
        """MKD."""
        with self.translate_errors("write", path):
            try:
                self._connection.voidcmd(f"MKD {self._encode_path(path)}")
            except ftplib.error_perm as error:
                if self.stat(path) is not None:
                    raise AlreadyExists from error
                if self._no_folder(path):
                    raise Missing from error
                raise

    def remove_folder(self, path: bytes) -> bool:
        """RMD, which takes empty folders only."""
        with self.translate_errors("delete", path):
            try:
                self._connection.voidcmd(f"RMD {self._encode_path(path)}")
            except (ftplib.error_perm, ftplib.error_temp):
                return False
            return True
