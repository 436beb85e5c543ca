"""What is no sentence for people: by its file, by the call it stands in, and the few others by themselves."""

from __future__ import annotations

NOT_FOR_PAGES = (
    "cli/",  # commands are in English
    "storage/integrations/",  # for programmers
    "storage/library/aio/",
    "models/",  # SQL
    "web/headers.py",
    "web/health.py",  # for Prometheus
    "web/admin/settings/api_document.py",  # the API's document
    "storage/naming.py",
    "services/backends/snippets.py",  # programs
    "media/decoding/",  # inside the sandbox
    "storage/library/fakes.py",  # for tests of other programs
    "storage/library/adapters.py",
    "storage/library/lazy_listing.py",
    "services/catalogue/key_conditions.py",  # SQL
    "services/postgresql/dialect.py",
    "services/postgresql/connections.py",  # before there is a page
    "services/moving/",  # for commands
    "services/catalogue/file_kinds.py",  # endings of names
    "jobs/child.py",  # between processes
    "jobs/lock.py",
    "jobs/loop.py",
    "jobs/stop_signal.py",
    "envfile/env_document.py",  # for the developers who would break it
    "children.py",
    "serving.py",
    "app.py",
    "__main__.py",
)
ERRORS_ONLY = "web/api/"
"""The API's document is in English, too; what it refuses is told in the language of the reader."""
ERRORS = {"InvalidInput", "StowageError", "TooMany"}
PROGRAMMERS_ERRORS = {
    "ValueError", "TypeError", "RuntimeError", "AssertionError", "LookupError", "KeyError", "OSError",
    "NotImplementedError", "AttributeError", "EOFError", "ConnectionError", "PicklingError",
    "ImportError", "UnsupportedOperation", "StopIteration", "IndexError", "TimeoutError",
}  # fmt: skip
LOGS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
NOT_TEXT = {
    "text", "csv_line", "compile", "match", "fullmatch", "search", "sub", "split", "startswith", "endswith",
    "encode", "removeprefix", "removesuffix", "partition", "rpartition", "execute", "CheckConstraint",
    "Index", "replace", "gettext", "ngettext", "_", "strftime", "strptime", "Markup", "fromkeys",
    "getLogger", "namedtuple", "TypeVar", "find", "index", "cast", "exec_driver_sql", "scalar",
    "set_header", "setdefault", "pop", "getattr", "setattr", "hasattr", "literal", "route", "secho",
    "echo", "header", "field_name", "_send", "_command", "sendcmd", "voidcmd", "add_argument",
    "iskeyword", "literal_column", "NewType", "strip", "lstrip", "rstrip", "count", "fromhex",
    "urlsplit",
}  # fmt: skip
NAMES_AN_OPERATION = {
    "context", "Unsupported", "Power", "PhaseThread", "operation_error", "may", "call", "scene",
}  # fmt: skip
"""Functions whose first argument is the name of an operation."""
RECOGNIZED = {
    "not allowed", "no space", "disk full", "disk is full", "not enough space", "insufficient storage",
    "writing to local file", "error during write to file", "too many", "no more connections",
    "prohibited file name", "file name not allowed", "invalid file name", "illegal file name",
    "file too large", "too long", "invalid argument", "too many open files", "resource temporarily",
}  # fmt: skip
"""What servers say, and drivers look for."""
NOT_SENTENCES = {
    "password authentication failed": "words of PostgreSQL's",
    "no password supplied": "words of PostgreSQL's",
    "no pg_hba.conf entry": "words of PostgreSQL's",
    "does not exist": "words of PostgreSQL's",
    "too many clients": "words of PostgreSQL's",
    "remaining connection slots": "words of PostgreSQL's",
    '"dry_run": true': "JSON",
    "replaced files": "a name in a list of circuits",
    "{replaced_files} migration-{id}": "a name of a folder",
    "direct uploads": "a name in a list of circuits",
    "no password signs this user in": "hashed, so that nothing else is",
    "no one has this password": "hashed, so that nothing else is",
    "handles Stowage's secrets": "the reason of a filter of logs",
    "{md5} {size} {at} late": "compared, never shown",
    "Bearer {token}": "a header",
    "Bearer {reveal}": "a header",
    "Range": "a header",
    "{backend}; fallback": "a header",
    "Etc": "a group of time zones",
    "Digest {parts}": "a header",
    "Basic {decode}": "a header",
    "content-type: {resource}": "a header",
    "google cloud storage": "a type in a configuration of rclone",
    "stowage audit 1": "what is signed begins with it",
    "csv json log txt xml": "an option's default",
    "entry {entry_id}": "the subject of an entry",
    "{total} entries": "the subject of an entry",
    "r t-time": "classes of a style sheet",
    "read elsewhere": "a row of a CSV file",
    "at several backends": "a row of a CSV file",
    "errors, {kind}": "a row of a CSV file",
    "{what} in 30 days": "a row of a CSV file",
    "look again": "the name of a thread",
    "create bucket": "an operation",
    "set visibility": "an operation",
    "make directory": "an operation",
    "test backend": "an operation",
    "temporary url": "an operation",
    "upload url": "an operation",
    "assume role": "an operation",
    "sign in": "an operation",
    "read range": "an operation",
    "change settings": "an operation",
    "look at": "an operation",
    "activate backend": "an operation",
    '{{"id": {migration_id}, "objects": [': "JSON",
    "tidy up": "an operation that no person may be refused",
    "The route “{endpoint}” declares no permission.": "for the developer who forgot it",
    "Mac OS X|Macintosh": "an expression",
}
"""Texts that look like sentences, and what they are."""
NOT_SHOWN = {
    "default", "keywords", "operation", "subject", "errors", "encoding", "mode", "newline", "cls",
    "key", "media_type", "endpoint",
}  # fmt: skip


LABELS = ("options.py", "type.py", "errors.py", "links_and_tags.py")
"""Files of drivers in which single words are labels."""

SHOWN_ENUMERATIONS = {
    "Role", "Badge", "State", "ObjectState", "OnConflict", "Verify", "Outcome", "JobKind", "JobState",
    "BackupState", "CleanupState", "LinkState", "UploadState", "Visibility", "Step", "ScanState", "FileKind",
    "FolderAction", "Scan",
}  # fmt: skip
"""Enumerations whose values pages show."""
WORDS = (
    "Read-only", "{sentence}, which was refused", "{label} · {summary}", "{name}: {figure}",
    "{name}, {size}", "bucket", "container", "folder", "store", "account", "address", "credential file",
    "credential", "endpoint", "host key", "host", "passphrase", "password", "port", "prefix",
    "private key file", "private key", "profile", "project", "region", "root", "secret access key",
    "secure", "session token", "user", "created", "read", "written", "deleted", "moved", "restored",
    "listed", "disabled", "renamed", "changed", "default", "now", "waiting", "yes", "no", "today",
    "older", "end", "first", "day", "days", "hour", "hours", "minutes", "week", "sealed", "nobody",
    "passed", "more", "images", "videos", "documents", "archives", "programs", "audio files",
    "Not running", "Waiting", "Active", "Programs", "Videos", "Command line", "FedRAMP", "and", "or",
)  # fmt: skip
"""What no text holds as it is shown: words that become part of a sentence, and frames around several."""
