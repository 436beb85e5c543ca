"""The rules of the house that no linter knows. See docs/architecture.md."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest

from dashboard.storage.registry import BUILT_IN, PRESETS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "dashboard"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = ROOT / "tests"
FOLDERS_OF_TESTS = {
    "app",  # dashboard/app.py and what starts it
    "bench",
    "browser",
    "browser/screens",
    "docs",
    "kill",
    "migration/at_once",
    "migration/with_servers",
    "packaging",
    "servers",
    "storage/contract",
    "storage/hostile",
    "storage/interop",
}
"""What tests the whole, or is no part of the package; see docs/architecture.md."""

LONGEST_FILE = 400
LONGEST_FUNCTION = 80
SMALL_FILE = 60
MOST_MODULES = 20

# One file, or one small family of files, for each vendor's SDK.
VENDORS = {
    "boto3": {"storage/drivers/s3/credentials/boto.py"},
    "botocore": {
        "storage/drivers/s3/credentials/boto.py",
        "storage/drivers/s3/signing.py",
        "storage/wrappers/cdn/purging.py",
    },
    "fastapi": {"media/uploading/fastapi_dependency.py"},
    "ftplib": {f"storage/drivers/ftp/{part}.py" for part in ("errors", "connection", "session", "transfers")},
    "google": {"storage/drivers/gcs/tokens.py"},
    "google_crc32c": {"storage/drivers/gcs/digests.py"},
    "paramiko": {"storage/drivers/sftp/ssh.py"},
    "django": {"storage/integrations/django.py"},
    "fsspec": {"storage/integrations/fsspec.py"},
    "cryptography": {"vault/cipher.py", "storage/wrappers/encrypted/aead.py"},
    "celery": {"services/cluster/messages.py", "services/cluster/node.py"},
    "flower": {"services/cluster/monitoring.py"},
    "kombu": {"services/cluster/messages.py"},
    "psycopg": {"services/postgresql/texts.py"},
    "redis": {"storage/wrappers/cached/redis.py"},
    "zstandard": {"storage/wrappers/compressed/zstd.py"},
    "PIL": {"media/decoding/exif.py", "media/decoding/images.py"},
    "av": {"media/decoding/video.py"},
    "pi_heif": {"media/decoding/images.py"},
    "pypdfium2": {"media/decoding/pdf.py"},
    "argon2": {"services/people/passwords.py"},
    "segno": {"web/admin/settings/qr.py"},
    "waitress": {"web/server.py", "web/receiving/refusals.py"},
}

# Files of under 60 lines, and why they are no part of their neighbours. A pattern covers files of one kind.
SMALL = {
    "models/every_table.py": "loads every table, for what needs all of them",
    "cli/files/file_group.py": "a group of commands",
    "cli/oversight/usage_command.py": "a group of commands",
    "cli/oversight/workers_command.py": "a command",
    "web/admin/health/workers_page.py": "the views of one page",
    "services/usage/usage_services.py": "puts the parts behind the Usage page together",
    "jobs/stop_signal.py": "for the parent and both of its children",
    "jobs/attempting.py": "for the runner's loop and for workers",
    "cli/formatting.py": "numbers and times as text, used by all commands",
    "web/admin/palette/search_page.py": "a page, apart from what it searches",
    "web/local_time.py": "days and times of day, for every page",
    "services/csv_cells.py": "cells of every CSV file, safe in a spreadsheet",
    "media/decoding/pdf.py": "the only file that imports PDFium",
    "media/decoding/tasks.py": "what a child of the sandbox can do; loads no decoder by itself",
    "media/sizes.py": "sizes as text, for policies, pages and commands alike",
    "models/*.py": "the tables of one subject",
    "models/schema/*/*.py": "a step of the schema, which never changes again",
    "services/fallback/labels.py": "a name for two rooms, known without loading what writes back",
    "services/flushing.py": "for backups and for what is received",
    "services/json_values.py": "values as JSON, for commands and the API",
    "services/bulk.py": "statements for many rows, for the ledger and the catalogue",
    "services/people/token_buckets.py": "rates, for tokens and what else has one",
    "services/files/changing/files_job.py": "what one job of the runner does",
    "services/files/page_cursors.py": "texts from outside, checked in one place",
    "services/backends/importing.py": "reads other programs' environment variables",
    "services/text.py": "durations, and text from elsewhere, for pages and commands alike",
    "services/files/cleanup/unused_derivatives.py": "where the catalogue and the store of thumbnails meet",
    "storage/django_files.py": "a name that programs have written down",
    "storage/drivers/*/type.py": "a driver's type, read without loading the driver",
    "storage/drivers/azure/deleting.py": "deleting many, as in gcs/ and s3/",
    "storage/drivers/gcs/attributes.py": "headers and metadata, as in azure/",
    "storage/drivers/common/keys.py": "what drivers of every kind do with keys",
    "storage/drivers/s3/credentials/botocore_logs.py": "needed by the signer of links, which loads no boto3",
    "storage/drivers/s3/credentials/sign_in.py": "values that the options know without loading boto3",
    "media/uploading/fastapi_dependency.py": "the only file that imports FastAPI",
    "storage/library/class_level.py": "a decorator that knows nothing of storage",
    "storage/library/fakes.py": "imported by tests of other programs only",
    "storage/library/media_backend.py": "the calls of other programs' media storages",
    "storage/paths.py": "a name that drivers of other packages have written down",
    "storage/inspection/listing.py": "listings, for migrations, checks and counts alike",
    "storage/net/at_once.py": "for the engine and for what is found out about a container",
    "storage/net/memory_budget.py": "for all transfers of a process",
    "storage/purposes.py": "a name that programs have written down",
    "storage/wrappers/common/stored_powers.py": "for two wrappers that do not know each other",
    "storage/wrappers/common/content_view.py": "for two wrappers that do not know each other",
    "storage/wrappers/encrypted/aead.py": "the only file there that imports a cipher",
    "vault/cipher.py": "the only file there that imports a cipher",
    "web/admin/*.py": "the views of one page, or a part that several pages show",
    "web/files/offloading.py": "what the server in front may send, read as a whole: a matter of security",
    "web/files/file_routes.py": "routes of files",
    "web/admin/settings/qr.py": "the only file that imports segno",
    "web/api/*.py": "one resource of the API, or a part that all of them use",
    "web/csrf.py": "the check of every change, read as a whole: a matter of security",
    "web/expired_form.py": "one answer of its own",
    "services/backends/read_only_backends.py": "one question, asked by two changes of a backend",
    "web/receiving/large_bodies.py": "one question, which the web server asks: a matter of security",
    "web/numbers.py": "numbers in addresses and forms, for pages and API",
}


NAMING_DRIVERS = {
    "services/cluster/job_routes.py": "a folder belongs to a machine",
    "services/usage/prices.py": "estimates of prices: changed all together, and by administrators",
    "storage/registry.py": "the rows",
    "services/files/changing/local_transfers.py": "a folder of this machine, for as long as a command runs",
    "services/people/setup.py": "the first backend is a folder beside the databases",
    "storage/library/fakes.py": "a fake keeps its objects in memory",
    "storage/library/environment_variables.py": "the table of what other programs call their backends",
    "storage/library/option_names.py": "the table of what other programs call their options",
    "storage/integrations/django.py": "three of its classes are for the bucket of a project's settings",
    "storage/library/adapters.py": "the classes that other programs know, each for one driver",
}
"""Outside the drivers, where a driver or a preset is named, and why."""

# Names of modules by what they do in the package of a driver or wrapper: `s3/listing`, `webdav/listing`.
ROLES = {
    "attributes", "bucket_settings", "client", "config", "deleting", "driver", "errors", "format", "keys",
    "listing", "moving", "objects", "operations", "options", "powers", "session", "sign_in", "streams",
    "tokens", "tree", "type", "versions", "writing",
}  # fmt: skip
HOMES_OF_ROLES = ("storage/drivers/", "storage/wrappers/")
# Other names of more than one module, and why.
SHARED_NAMES = {
    "0001_first_tables": "the first step of either database",
    "activation": "the service and its page",
    "backend": "the command, and what a program gets by a backend's name",
    "backends": "the tables, the service and its page",
    "catalogue": "the tables and the service",
    "errors": "of everybody, of storage, and the pages that show them",
    "folders": "what a folder on a form may be, and folders as a program sees them",
    "formatting": "for a terminal, and for pages",
    "history": "the tables and the service",
    "keys": "of encryption: the command, the service, the vault and the page",
    "links": "those of Google Cloud Storage, and the console's own: the service, the page, the API",
    "backups": "copies of a settings file; of the databases: the table and the service",
    "migrations": "the command, the tables, the service and its page",
    "notifications": "the tables and the service",
    "workers": "the tables and the service",
    "options": "what an option is, and the checks of what was typed",
    "bucket_settings": "the service and its page",
    "powers": "the protocols, and which of them a place has",
    "probes": "the service and its page",
    "purposes": "what a purpose is, and what a program gets by one",
    "serving": "the console to browsers, and files to whom they are for",
    "setup": "the service and its page",
    "tokens": "of programs that use the API: the service and its page; and of the vault",
    "uploads": "the service and its routes",
    "types": "the values of each pure room",
}


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def tracked() -> list[Path]:
    """Files in git; in an unpacked archive without git there is nothing to hold."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: which files belong to the project is not known")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def texts() -> Iterator[tuple[str, str]]:
    for path in tracked():
        try:
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_file_stays_readable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") < LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length < LONGEST_FUNCTION, f"{node.name} has {length} lines"


def test_a_small_file_has_a_reason() -> None:
    small = {
        name_of(path)
        for path in MODULES
        if path.name not in ("__init__.py", "__main__.py")
        and path.read_text(encoding="utf-8").count("\n") < SMALL_FILE
    }
    covered = {pattern: {name for name in small if PurePath(name).match(pattern)} for pattern in SMALL}
    assert small - set().union(*covered.values()) == set(), "fold them into their neighbours, or say why not"
    assert [pattern for pattern, names in covered.items() if not names] == [], "take these off the list"


def test_a_folder_holds_only_so_many_modules() -> None:
    modules = [*MODULES, *TESTS.rglob("*.py")]
    counts = Counter(str(path.parent) for path in modules if path.name != "__init__.py")
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_the_folders_of_the_tests_are_those_of_the_package() -> None:
    folders = {str(path.parent.relative_to(TESTS)) for path in TESTS.rglob("test_*.py")}
    assert {folder for folder in folders if not (PACKAGE / folder).is_dir()} == FOLDERS_OF_TESTS


def classes_of(path: Path) -> set[str]:
    """The names of a module's public classes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"}


def test_a_helper_of_the_tests_shares_its_name_with_nothing_else() -> None:
    helpers = [path for path in TESTS.rglob("*.py") if "suites" not in path.parts]
    counts = Counter(name for path in helpers for name in classes_of(path))
    counts.update(set().union(*map(classes_of, MODULES)) & counts.keys())
    assert [name for name, count in counts.items() if count > 1] == []


def test_a_module_shares_its_name_by_its_role_or_for_a_reason() -> None:
    modules, played = defaultdict(list), set()
    for path in MODULES:
        if path.stem in ROLES and name_of(path).startswith(HOMES_OF_ROLES):
            played.add(path.stem)
        elif path.name != "__init__.py":
            modules[path.stem].append(name_of(path))
    shared = {name: paths for name, paths in modules.items() if len(paths) > 1}
    assert {name: paths for name, paths in shared.items() if name not in SHARED_NAMES} == {}
    assert SHARED_NAMES.keys() - shared.keys() == set(), "these need no reason any more"
    assert ROLES - played == set(), "nothing plays these roles any more"


def test_every_import_keeps_the_contracts() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    ran = subprocess.run([*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_each_file_named_for_a_vendors_sdk_imports_it_and_no_other_does() -> None:
    importing: dict[str, set[str]] = {vendor: set() for vendor in VENDORS}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            for vendor in (module.split(".")[0] for module in modules):
                if vendor in importing:
                    importing[vendor].add(name_of(path))
    assert importing == VENDORS


def test_what_differs_from_driver_to_driver_is_asked_of_its_type() -> None:
    names = {*BUILT_IN, *PRESETS}
    quoted = re.compile(rf"""['"](?:{"|".join(names)})['"]""")
    found = set()
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        # Docstrings may name one as an example.
        if not name_of(path).startswith("storage/drivers/") and quoted.search(text):
            constants = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
            found |= {name_of(path) for node in constants if node.value in names}
    assert found == set(NAMING_DRIVERS)
    for page in [*ROOT.glob("templates/**/*.html"), *ROOT.glob("static/*.js")]:
        assert not quoted.search(page.read_text(encoding="utf-8")), page


def test_the_environment_is_read_in_settings_and_for_named_secrets_only() -> None:
    readers = {
        name_of(path)
        for path in MODULES
        if re.search(r"\bos\.(environ|getenv)\b", path.read_text(encoding="utf-8"))
    }
    assert readers == {"settings.py", "cli/arguments.py"}


def test_nothing_is_left_to_be_done_later() -> None:
    # Spelt in pieces, or this file would find itself.
    unfinished = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
    found = [name for name, text in texts() if not name.endswith(".lock") and unfinished.search(text)]
    assert found == []


def test_no_file_names_a_developers_machine() -> None:
    # Home folders and the like.
    places = re.compile(r"(?<![\w./-])/(?:root|home/[a-z]+|Users/\w+|work)(?=/|\b[\"'\s)])")
    own = re.escape(str(ROOT)) if len(ROOT.parts) > 2 else None
    found = []
    for name, text in texts():
        if name.startswith("static/vendor/") or name == "tests/test_house.py":
            continue
        if places.search(text) or (own and re.search(own, text)):
            found.append(name)
    assert found == []


def test_git_holds_nothing_of_an_instance_but_its_note() -> None:
    names = [str(path.relative_to(ROOT)) for path in tracked()]
    assert [name for name in names if name.startswith("instance/")] == ["instance/README.md"]
    assert not [name for name in names if name.endswith((".db", ".key", ".pyc", ".whl", ".pem"))]


def test_every_package_says_what_it_is_for() -> None:
    for path in MODULES:
        if path.name != "__init__.py" or path.read_text(encoding="utf-8").strip():
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert ast.get_docstring(tree), f"{name_of(path)} has no docstring"
