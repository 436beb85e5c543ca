"""An FTP session. Transfers are binary, and paths are absolute."""

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
    """A :class:`Session` over FTP. Converts paths between UTF-8 and the server's encoding."""

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
        """Send FEAT, https://www.rfc-editor.org/rfc/rfc2389. Servers without it have no features."""
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
        """Encode a path as an argument. Raises ``InvalidKey`` if it would become another command or name."""
        encoded = path
        if self._encoding != "utf-8":
            try:
                encoded = path.decode("utf-8", "surrogateescape").encode(self._encoding, "surrogateescape")
            except UnicodeEncodeError:
                raise self._unencodable_error(path) from None
        if {0x0A, 0x0D, 0xFF} & set(encoded):
            raise self._unencodable_error(path)
        # Servers trim trailing spaces. No key ends in one, so this is a folder.
        return encoded.decode("latin-1") + ("/" if encoded.endswith((b" ", b"\t")) else "")

    def _unencodable_error(self, path: bytes) -> InvalidKey:
        key = self.display_name(path)
        return InvalidKey(key, f"“{key}” cannot be written in the server's encoding, {self._encoding}.")

    def _key(self, raw: bytes) -> bytes:
        if self._encoding == "utf-8":
            return raw
        return raw.decode(self._encoding, "surrogateescape").encode("utf-8", "surrogateescape")

    def display_name(self, path: bytes) -> str:
        """Return the key of a path, for errors; the host for an empty path."""
        return (
            key_text(path.removeprefix(self.root.rstrip(b"/") + b"/"))
            if path
            else self._connection.account.host
        )

    # ---- errors

    @contextmanager
    def translate_errors(self, operation: str, path: bytes) -> Iterator[None]:
        """Raise refusals and lost connections as ``StorageError``."""
        if self.broken:
            # The next reply on this connection may belong to an earlier command.
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
        """Mark the session as broken, because its connection is lost or out of step, and return the error."""
        self.broken = True
        host = self._connection.account.host
        if isinstance(error, TimeoutError):
            return StorageError(
                Kind.TIMEOUT,
                f"“{host}” did not respond in time, or its data port cannot be reached.",
                operation="connect",
                subject=host,
                remedy="Check the server and the network; its passive ports must be open in the firewall.",
            )
        return StorageError(
            Kind.UNREACHABLE,
            f"“{host}” closed the connection unexpectedly.",
            operation="connect",
            subject=host,
            remedy="Check the server and the network, then try again.",
        )

    # ---- the connection

    def is_alive(self, idle: float) -> bool:
        """See ``Session``. Sends NOOP only after some idle time."""
        if self.broken or readable([self._connection.sock], 0):
            # An unexpected reply announces that the server closes the connection.
            return False
        if idle < _PROBED_IDLE:
            return True
        try:
            self._connection.voidcmd("NOOP")
        except (OSError, EOFError, ftplib.Error):
            return False
        return True

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self.broken = True
        self._connection.disconnect()

    def supports_create_only(self) -> bool:
        """False: FTP has no hard links."""
        return False

    # ---- metadata and listings

    def stat(self, path: bytes) -> FileStat | None:
        """Send MLST, or SIZE and MDTM, or list the parent folder."""
        with self.translate_errors("look at", path):
            try:
                if not self._facts:
                    return self._stat_without_facts(path)
                for line in self._connection.sendcmd(f"MLST {self._encode_path(path)}").split("\n")[1:-1]:
                    if entry := parse_facts(line.removeprefix(" ").encode("latin-1")):
                        return entry[1]
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
        """Return the path of an existing folder; FTP cannot resolve links. The check is needed because some
        servers accept a file into a missing folder and fail only at its end."""
        found = self.stat(path)
        if found is None or found.kind != "folder":
            raise Missing
        return path

    def list_folder(self, path: bytes) -> Listing:
        """Send MLSD, or LIST without a path after CWD, so that no name is taken for a pattern or a switch."""
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
        """List the current folder. Servers that do not know the switch ``-a`` take it for a name, and some
        report an unknown name by an empty listing."""
        empty = True
        try:
            for each in self._read_listing(self._list, parse_list_line):
                empty = False
                yield each
        except ftplib.error_perm:
            if not empty or self._list == "LIST":
                raise
        if empty and self._list != "LIST":
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
                entry = read(line.rstrip(b"\r\n"))
                if entry is not None:
                    yield self._key(entry[0]), entry[1]
                elif not line.isspace() and not line.startswith(b"total "):
                    raise self._unreadable_listing_error("list")
        except BaseException:
            # Do not wait for the remaining replies and data.
            self.broken = True
            conn.close()
            raise
        finish_transfer(conn, self._connection.sock)
        self._connection.read_final_reply()

    def _unreadable_listing_error(self, operation: str) -> StorageError:
        host = self._connection.account.host
        return StorageError(
            Kind.UNSUPPORTED,
            f"“{host}” describes files in a format that Stowage cannot read, so some would be missing.",
            operation=operation,
            subject=host,
            remedy="Ask the server's administrator to enable MLSD.",
        )

    # ---- files

    def open_reader(self, path: bytes, start: int) -> FtpFileReader:
        """Send RETR, after REST if ``start`` is not 0."""
        with self.translate_errors("read", path):
            try:
                conn = self._connection.transfercmd(f"RETR {self._encode_path(path)}", start or None)
                return FtpFileReader(self, self._connection, conn, path)
            except ftplib.error_perm as error:
                if reply_code(error) in _NOT_FOUND and not is_denied(error, path) and self.stat(path) is None:
                    raise Missing from error
                raise

    def open_writer(self, path: bytes, target: bytes) -> FtpFileWriter:
        """Send STOR."""
        command = f"STOR {self._encode_path(path)}"
        with self.translate_errors("write", target):
            try:
                conn = self._connection.transfercmd(command)
            except ftplib.error_perm as error:
                if reply_code(error) not in _NOT_FOUND or is_denied(error, path):
                    raise
                if self._no_folder(path):
                    raise Missing from error
                # Someone else may have just created the folder.
                conn = self._connection.transfercmd(command)
        return FtpFileWriter(self, self._connection, conn, path, target)

    def _no_folder(self, path: bytes) -> bool:
        return self.stat(path.rpartition(b"/")[0] or b"/") is None

    def set_modified(self, path: bytes, modified: float) -> None:
        """Send MFMT if the server has it, or MDTM with a time, which vsftpd accepts. Other servers look for a
        file of that name and do not find it."""
        command = "MFMT" if "MFMT" in self.features else "MDTM"
        if command in self.features:
            with self.translate_errors("write", path), suppress(ftplib.error_perm):
                self._connection.sendcmd(f"{command} {format_time(modified)} {self._encode_path(path)}")

    def rename(self, path: bytes, to: bytes) -> None:
        """Send RNFR and RNTO. Most servers replace an existing file. For others it is renamed to a backup
        first and is missing for a moment."""
        with self.translate_errors("write", to):
            try:
                self._rename_or_fail(path, to)
            except (ftplib.error_perm, ftplib.error_temp) as error:
                if self.stat(path) is None:
                    raise Missing from error
                found = self.stat(to)
                if found is None or found.kind != "file":
                    raise
                backup = rename_with_backup(self._rename_or_fail, path, to)
                with suppress(ftplib.error_perm, ftplib.error_temp):
                    self._connection.delete(self._encode_path(backup))

    def _rename_or_fail(self, path: bytes, to: bytes) -> None:
        self._connection.rename(self._encode_path(path), self._encode_path(to))

    def link(self, path: bytes, to: bytes) -> None:
        """Raise ``Unsupported``: FTP has no hard links."""
        raise Unsupported("write", "FTP cannot create a file without replacing an existing one.")

    def remove(self, path: bytes) -> None:
        """Send DELE."""
        with self.translate_errors("delete", path):
            try:
                self._connection.delete(self._encode_path(path))
            except ftplib.error_perm as error:
                if reply_code(error) in _NOT_FOUND and not is_denied(error, path) and self.stat(path) is None:
                    raise Missing from error
                raise

    def make_folder(self, path: bytes) -> None:
        """Send MKD."""
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
        """Send RMD, which removes only empty folders."""
        with self.translate_errors("delete", path):
            try:
                self._connection.voidcmd(f"RMD {self._encode_path(path)}")
            except (ftplib.error_perm, ftplib.error_temp):
                return False
            return True
