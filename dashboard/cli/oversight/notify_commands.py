"""``stowage notify``: who is told what happens, and what was sent."""

from __future__ import annotations

import time

import click

from dashboard.cli import arguments, formatting
from dashboard.cli.invocation import DONE, WITH_ERRORS, Group, Invocation, pass_invocation
from dashboard.errors import InvalidInput
from dashboard.storage.options import Option, OptionType, SecretForm

_OPTIONS = tuple(
    Option(name, name, type=OptionType.MULTILINE if name == "authority" else OptionType.TEXT)
    for name in ("host", "port", "security", "username", "from", "to", "authority")
)
_SECRETS = tuple(
    Option(name, label, type=OptionType.SECRET, form=SecretForm.KEY)
    for name, label in (("url", "Address"), ("secret", "Key for signatures"), ("password", "Password"))
)


@click.group(cls=Group)
def notify() -> None:
    """Who is told what happens: channels by webhook, Slack-compatible webhook and e-mail."""


@notify.command("list")
@pass_invocation
def list_channels(invocation: Invocation) -> None:
    """List the channels. Addresses and passwords are not shown."""
    room, out = invocation.services.notifications, invocation.out
    found = room.channels.list()
    kept = {each.id: room.tests.last(each) for each in found}
    out.document({"channels": found, "tests": {each.name: kept[each.id] for each in found}})
    rows = []
    for each in found:
        test = kept[each.id]
        state = "off" if not each.enabled else "muted" if each.is_muted(time.time()) else "on"
        tested = f"{'passed' if test.passed else 'failed'} {formatting.ago(test.at)}" if test else "never"
        rows.append((each.name, each.kind.value, each.destination, state, f"{len(each.events)}", tested))
    out.table(("channel", "kind", "goes to", "state", ">events", "test"), rows)


@notify.command("add")
@click.argument("name")
@click.option(
    "--kind", required=True, type=click.Choice(["webhook", "slack", "email"]), help="How it is spoken to."
)
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", help="A setting of an e-mail channel."
)
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="NAME[=SOURCE]",
    help="A secret: NAME to be prompted, NAME=env:VARIABLE, or NAME=file:PATH. Repeatable.",
)
@click.option(
    "--event", "events", multiple=True, help="What it is told; repeat it. Default: nearly everything."
)
@click.option(
    "--every", type=int, default=60, show_default=True, help="Seconds between messages: 60, 900, 3600, 86400."
)
@click.option("--reminders", is_flag=True, help="Remind once a day while something is still wrong.")
@pass_invocation
def add(
    invocation: Invocation,
    name: str,
    *,
    kind: str,
    options: tuple[str, ...],
    secrets: tuple[str, ...],
    events: tuple[str, ...],
    every: int,
    reminders: bool,
) -> None:
    """Add the channel NAME.

    The secret “url” is the address of a webhook, “secret” its key for signatures (one is made and printed
    once if it is not given), and “password” that of a mail server.
    """
    from dashboard.services.notifications.notification_values import (
        DEFAULT_EVENTS,
        EVENT_LABELS,
        ChannelDraft,
        ChannelKind,
        EventKind,
    )

    known = {each.value for each in EVENT_LABELS}
    for each in events:
        if each not in known:
            raise InvalidInput(
                "event", "There is no such event.", remedy=f"Known: {', '.join(sorted(known))}."
            )
    draft = ChannelDraft(
        name=name,
        kind=ChannelKind(kind),
        options=arguments.parse_options(options, (*_OPTIONS, *_SECRETS)),
        secrets=arguments.parse_secrets(secrets, _SECRETS),
        events=frozenset(map(EventKind, events)) if events else DEFAULT_EVENTS,
        every=every,
        reminders=reminders,
    )
    saved = invocation.services.notifications.channels.save(invocation.actor, draft)
    made = saved.made_key.reveal() if saved.made_key is not None else None
    invocation.out.document({"channel": saved.channel, "key": made})
    if invocation.out.as_json:
        return
    if made is not None:
        invocation.out.say(made)
        invocation.out.note("This key checks the signatures; it is shown this once.")
    invocation.out.note(f"{name} is saved. Try it: stowage notify test {name}")


@notify.command("remove")
@click.argument("name")
@arguments.YES
@pass_invocation
def remove(invocation: Invocation, name: str, yes: bool) -> int:
    """Remove the channel NAME with its secrets; messages for it are not sent any more."""
    channels = invocation.services.notifications.channels
    channels.get(name)
    if not arguments.confirm(f"Remove the channel {name}?", yes=yes):
        return WITH_ERRORS
    channels.remove(invocation.actor, name)
    invocation.out.document({"removed": name})
    invocation.out.note(f"{name} is removed.")
    return DONE


@notify.command("test")
@click.argument("name")
@pass_invocation
def test(invocation: Invocation, name: str) -> int:
    """Send a test message to the channel NAME, step by step. The exit code is 1 if that fails."""
    steps = []
    for step in invocation.services.notifications.tests.run(invocation.actor, name):
        if step.state == "running":
            continue
        steps.append(step)
        if not invocation.out.as_json:
            took = f" ({step.milliseconds:.0f} ms)" if step.milliseconds is not None else ""
            invocation.out.say(f"{step.state:8}{step.label}{took}")
            for line in (step.message, step.remedy):
                if line:
                    invocation.out.say(f"        {line}")
    passed = all(step.state == "passed" for step in steps)
    invocation.out.document({"passed": passed, "steps": steps})
    return DONE if passed else WITH_ERRORS


@notify.command("mute")
@click.argument("name")
@click.option("--hours", type=float, help="For how long; up to 720.")
@click.option("--off", is_flag=True, help="Do not mute it any longer.")
@pass_invocation
def mute(invocation: Invocation, name: str, hours: float | None, off: bool) -> None:
    """Hold messages to the channel NAME back for a while. What is still so is told afterwards."""
    if off == (hours is not None):
        raise click.UsageError("Give either --hours or --off.")
    channel = invocation.services.notifications.channels.mute(invocation.actor, name, hours)
    invocation.out.document({"channel": channel})
    invocation.out.note(f"{name} is not muted any more." if off else f"{name} is muted for {hours:g} hours.")


@notify.command("log")
@click.argument("name", default="")
@click.option("--failed", is_flag=True, help="Only messages with an error.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many.")
@pass_invocation
def show_log(invocation: Invocation, name: str, failed: bool, limit: int) -> None:
    """List what was sent, newest first; with NAME, to this channel only."""
    found = invocation.services.notifications.deliveries(name, limit=limit, failed=failed)
    invocation.out.document({"deliveries": found})
    rows = [
        (
            f"{each.id}",
            formatting.ago(each.tried_at or each.created_at),
            each.channel,
            each.state.value,
            each.title,
            each.error,
        )
        for each in found
    ]
    invocation.out.table((">id", "when", "channel", "state", "message", "error"), rows)


@notify.command("send-again")
@click.argument("delivery", type=int)
@pass_invocation
def send_again(invocation: Invocation, delivery: int) -> None:
    """Send the message DELIVERY (a number of `stowage notify log`) once more, under the same id."""
    found = invocation.services.notifications.send_again(invocation.actor, delivery)
    invocation.out.document({"delivery": found})
    invocation.out.note(f"“{found.title}” is sent to {found.channel} as soon as a runner is running.")
