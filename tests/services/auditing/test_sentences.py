"""Every action that the code records has a sentence of its own, and sentences hold no codes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.services.audit import AuditRow
from dashboard.services.auditing.sentences.tell import AREAS, tell
from dashboard.services.auditing.sentences.wording import TELLERS, ChangedValue, Part, PartKind
from dashboard.services.files.changing.folder_changes import FolderAction

CODE = Path(__file__).resolve().parents[3] / "dashboard"
ACTION = re.compile(r"[a-z_]+\.[a-z_]+")
RECORDERS = {"record", "record_failures", "_record"}
KNOWN = {
    # What the variable parts of an action's name can be.
    "folder.{}": [f"folder.{action.value}" for action in FolderAction],
    "migration.{}": ["migration.finish", "migration.stop", "migration.fail"],
    "file.{}": ["file.move", "file.copy"],
}


def row(action: str, subject: str = "", **given: object) -> AuditRow:
    detail = {name: str(value) for name, value in given.items() if name not in AuditRow.__dataclass_fields__}
    values = {name: value for name, value in given.items() if name in AuditRow.__dataclass_fields__}
    base: dict[str, object] = {
        **{"id": 1, "at": 0.0, "actor": "maria", "via": "web", "address": "10.0.4.21", "outcome": "done"},
        **{"chained": "live", "previous": "", "mac": ""},
    }
    return AuditRow(action=action, subject=subject, **{**base, **values, "detail": detail})  # type: ignore[arg-type]


def recorded_actions() -> Iterator[tuple[str, str]]:
    """Every action that some call records, and where."""
    for path in sorted(CODE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            texts: list[ast.expr] = []
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in RECORDERS:
                texts = node.args[:3]
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "action":
                texts = [node.value]
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
                names = [getattr(each, "id", "") for each in node.targets[0].elts]
                if "action" in names and isinstance(node.value, ast.Tuple):
                    texts = [node.value.elts[names.index("action")]]
            for text in texts:
                yield from ((action, f"{path.name}:{node.lineno}") for action in actions_of(text))


def actions_of(text: ast.expr) -> Iterator[str]:
    match text:
        case ast.Constant(value=str(action)) if ACTION.fullmatch(action) or action in AREAS:
            yield action
        case ast.IfExp():
            yield from actions_of(text.body)
            yield from actions_of(text.orelse)
        case ast.JoinedStr(values=[ast.Constant(value=str(start)), ast.FormattedValue()]):
            if start.rstrip(".") in AREAS:
                yield from KNOWN[f"{start}{{}}"]


def test_every_action_has_a_sentence() -> None:
    found = dict(recorded_actions())
    assert len(found) > 45
    assert {action: where for action, where in found.items() if action not in TELLERS} == {}
    assert TELLERS.keys() - found.keys() == set(), "nothing records these any more"


def test_every_action_can_be_filtered_by() -> None:
    assert {action.partition(".")[0] for action in TELLERS} == AREAS.keys()


@pytest.mark.parametrize("action", sorted(TELLERS))
def test_a_sentence_needs_no_detail(action: str) -> None:
    for outcome in ("done", "refused", "failed", "begun"):
        text = tell(row(action, "x: y" if action.startswith("fil") else "x", outcome=outcome)).text
        assert text.startswith(("maria ", "Somebody "))
        assert action not in text
        assert not text.endswith((" ", ":"))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (row("backend.test", "media-b2", saved="yes"), "maria tested media-b2"),
        (row("backend.remove", "media-b2", preset="b2"), "maria removed the backend media-b2"),
        (row("backend.add", "media-b2", preset="b2"), "maria added the backend media-b2 (b2)"),
        (row("file.upload", "2025/a.jpg", backend="media"), "maria uploaded media/2025/a.jpg"),
        (
            row("file.delete", "media: a.jpg", files="3", undo="yes"),
            "maria deleted media/a.jpg and 2 other files",
        ),
        (
            row("file.delete", "media: a.jpg", files="1", undo="no"),
            "maria deleted media/a.jpg, without a way to undo it",
        ),
        (
            row("file.move", "media: a.jpg", outcome="refused", files="2", reason="It is locked."),
            "maria could not move 2 files, first media/a.jpg: It is locked.",
        ),
        (
            row("migration.create", "12", thing="local-disk → media-b2", approved="yes"),
            "maria began the migration local-disk → media-b2",
        ),
        (
            row("migration.fail", "12", actor="runner", via="runner", thing="a → b", reason="It is full."),
            "The runner stopped a → b: It is full.",
        ),
        (
            row("link.create", "link 4", backend="m", key="k", seconds="604800"),
            "maria shared m/k by a link for 7 days",
        ),
        (row("user.role", "ann", before="viewer", after="operator"), "maria gave ann another role"),
        (row("sign_in", "maria"), "maria signed in"),
        (row("sign_in", "root", actor="root", outcome="refused"), "Somebody failed to sign in as root"),
        (
            row("sign_in", "(unknown)", actor="(unknown)", outcome="refused"),
            "Somebody tried to sign in with a name that does not exist",
        ),
        (row("user.password", "maria"), "maria changed their password"),
        (row("user.password", "ann"), "maria set a new password for ann"),
        (row("hologram.make", "x"), "maria did “hologram: make” to x"),
    ],
)
def test_sentences(given: AuditRow, text: str) -> None:
    assert tell(given).text == text


def test_a_person_who_is_called_runner_is_a_person() -> None:
    assert tell(row("sign_in", "runner", actor="runner")).text == "runner signed in"
    assert tell(row("migration.start", "1", actor="runner", via="runner")).text.startswith("The runner ")


def test_only_changed_values_are_shown() -> None:
    detail = {
        **{"before.option.region": "eu-central-002", "option.region": "eu-central-003"},
        **{"before.option.path_style": "False", "option.path_style": "True"},
        **{"before.option.same": "x", "option.same": "x"},
        **{"before.option.endpoint": "https://old", "option.endpoint": ""},
        **{"before.option.mystery": "***", "option.mystery": "***"},
        "secrets": "secret_access_key",
    }
    found = tell(row("backend.edit", "media-b2", **detail))
    assert found.text == "maria changed media-b2"
    assert found.changes == (
        ChangedValue("Region", "eu-central-002", "eu-central-003"),
        ChangedValue("Path style", "off", "on"),
        ChangedValue("Endpoint", "https://old", "removed"),
        ChangedValue("Mystery", "", "replaced"),
        ChangedValue("Secret access key", "", "replaced"),
    )
    assert found.facts == ()


def test_changes_of_earlier_versions_are_read_too() -> None:
    found = tell(row("backend.edit", "media", **{"option.region": "one → two"}))
    assert found.changes == (ChangedValue("Region", "one", "two"),)


def test_what_says_nothing_is_left_out() -> None:
    found = tell(row("backend.refresh", "media", a="False", b="[]", c="", d="no", e="kept"))
    assert found.facts == (("E", "kept"),)


def test_parts_name_what_a_page_can_link_to() -> None:
    parts = tell(row("file.upload", "2025/a.jpg", backend="media")).parts
    assert parts == (
        Part("maria", PartKind.PERSON),
        Part(" "),
        Part("uploaded "),
        Part("media/2025/a.jpg", PartKind.FILE, ("media", "2025/a.jpg")),
    )
