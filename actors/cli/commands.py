"""The commands that ask something of messages after they were accepted.

`cancel`, `edit`, `expedite`, `pause`, `resume`, `resolve`, `resend`: each for messages by their
ids, and where that makes sense for a group.  The lane of a message is the only judge; here is
asked, waited and told (`command_runs`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from actors.cli.asked_messages import (
    AskedMessage,
    due_of,
    parse_ids,
)
from actors.cli.command_runs import Ask, Payload, run_for_group, run_for_messages, run_for_state
from actors.cli.open_queries import OpenQueries
from actors.cli.options import ByOption, DataOption, JsonOption, TenantOption, who_asks
from cluster.runtime.clock import SystemClock
from pipeline.command import CommandBody, CommandKind, Kept
from pipeline.errors import InputInvalid, SubmissionInvalid
from pipeline.ingest.edition import Wish, edit
from pipeline.ingest.schedule import SendTimes, parse_timing
from pipeline.instant import DurationMs, Instant, later
from pipeline.lane.group_scan import end_of
from pipeline.lifecycle import Event, MessageState
from pipeline.limits import COMMAND_WAIT_S, REASON_CHARS_MAX
from pipeline.message import decode_body, expiry_of

_RESOLUTIONS: Final = {
    "sent": Event.TAKE,
    "delivered": Event.DELIVER,
    "failed": Event.REFUSE,
}
_WAIT_S_MAX: Final = 86_400
_ANY_SPAN_MS: Final = DurationMs(2**62)  # what is too long is told of each message
_AUDITED: Final = frozenset({CommandKind.RESOLVE, CommandKind.RESEND})
_STATES: Final = (MessageState.UNCERTAIN, MessageState.FAILED)

IdsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID…]", help="Ids, or their first 8 digits; - reads them from input."),
]
IdsOption = Annotated[
    Path | None,
    typer.Option(
        "--ids", help="A file with an id a line; - for standard input.", show_default=False
    ),
]
GroupOption = Annotated[
    str | None, typer.Option(help="All messages of this group.", show_default=False)
]
ReasonOption = Annotated[str, typer.Option(help="Why; it is kept with the message.")]
WaitOption = Annotated[float, typer.Option(help="Seconds to wait for answers.")]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Record it, and do not wait.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Count, and ask for nothing.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask back.")]


def _ask(
    kind: CommandKind,
    *,
    reason: str,
    by: str | None,
    wait: float,
    no_wait: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> Ask:
    if kind in _AUDITED and not reason.strip():
        raise typer.BadParameter("--reason: say why; it is kept with the message")
    if not 0 <= wait <= _WAIT_S_MAX:
        # What is no number at all would be waited for without an end.
        raise typer.BadParameter(f"--wait: 0 to {_WAIT_S_MAX} seconds")
    if len(reason) > REASON_CHARS_MAX:
        raise typer.BadParameter(f"--reason: at most {REASON_CHARS_MAX} characters")
    return Ask(
        kind=kind,
        by=who_asks(by),
        why=reason.strip(),
        wait_s=0.0 if no_wait else wait,
        is_dry_run=dry_run,
        is_sure=yes,
        as_json=as_json,
    )


def _run(
    ask: Ask,
    data: Path | None,
    *,
    ids: list[str] | None,
    file: Path | None,
    tenant: str,
    group: str | None,
    payload: Payload,
) -> None:
    digits = parse_ids(ids or [], file)
    if bool(digits or ids or file) == (group is not None):
        raise typer.BadParameter("give ids, --ids FILE or --group, one of them")
    if group is not None:
        run_for_group(ask, data, tenant=tenant, group=group)
    else:
        run_for_messages(ask, data, digits, payload)


# --- what each of them says -----------------------------------------------------------------------


def _body(ask: Ask, message: AskedMessage, **said: int | bytes | None) -> CommandBody:
    return CommandBody(
        born=message.born,
        group=message.group,
        detail=ask.why,
        **said,  # type: ignore[arg-type]
    )


def _plain(ask: Ask) -> Payload:
    async def payload(_queries: OpenQueries, message: AskedMessage) -> CommandBody:
        return _body(ask, message)

    return payload


def _until_its_end(ask: Ask) -> Payload:
    async def payload(queries: OpenQueries, message: AskedMessage) -> CommandBody:
        ends_at = expiry_of(message.body)
        if ends_at is None:
            ends_at = later(message.born, queries.settings.windows.validity_ms_max)
        return _body(ask, message, due_at=ends_at)

    return payload


def _at_its_time(ask: Ask) -> Payload:
    async def payload(_queries: OpenQueries, message: AskedMessage) -> CommandBody:
        return _body(ask, message, due_at=decode_body(message.body).due_at)

    return payload


def _edited(ask: Ask, wish: Wish, *, now: Instant) -> Payload:
    async def payload(queries: OpenQueries, message: AskedMessage) -> CommandBody:
        validity_ms_max = queries.settings.windows.validity_ms_max
        edition = edit(
            decode_body(message.body),
            wish,
            born=message.born,
            now=now,
            times=SendTimes(validity_ms_max=validity_ms_max),
            validity_ms_max=validity_ms_max,
        )
        due_at = edition.due_at
        if due_at is None:
            due_at = await due_of(queries, message)
            if due_at is not None and due_at >= end_of(message.born, message.body, validity_ms_max):
                # It is paused, until its end: that may have moved.
                due_at = end_of(message.born, edition.body, validity_ms_max)
        return _body(ask, message, body=edition.body, due_at=due_at, keeps=_kept_by(wish))

    return payload


def _kept_by(wish: Wish) -> Kept:
    """Return what nobody said a word about: it may be changing just now."""
    return (
        (Kept.CONTENT if wish.content is None else Kept(0))
        | (Kept(0) if wish.due or wish.expires else Kept.TIMES)
        | (Kept(0) if wish.due else Kept.DUE)
    )


def _refuse_misspelt(wish: Wish, *, due_option: str) -> None:
    """Refuse what is no time for any message, before anything is asked of one of them."""
    try:
        parse_timing(
            due=wish.due,
            expires=wish.expires,
            window="",
            # A message may have been sent with a zone of its own.
            time_zone=wish.time_zone or "UTC",
            validity_ms_max=_ANY_SPAN_MS,
        )
    except SubmissionInvalid as invalid:
        option = {"due_at": due_option, "expires_at": "--expires"}.get(invalid.field, "--time-zone")
        raise InputInvalid(f"{option}: {invalid.reason}; nothing was asked") from None


# --- commands -------------------------------------------------------------------------------------


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for kind, says, payload_of in (
        (CommandKind.CANCEL, "Never hand messages over; one that is claimed is too late.", _plain),
        (
            CommandKind.EXPEDITE,
            "Hand messages over now that wait for their time or their next try.",
            _plain,
        ),
        (
            CommandKind.PAUSE,
            "Hand nothing over until it is resumed; what is paused may expire.",
            _until_its_end,
        ),
        (
            CommandKind.RESUME,
            "Let go on what was paused; what is scheduled waits for its time.",
            _at_its_time,
        ),
    ):
        app.command(kind.value, help=says)(_of_waiting(kind, payload_of))
    app.command("edit")(edit_messages)
    app.command("resolve")(resolve)
    app.command("resend")(resend)


def _of_waiting(kind: CommandKind, payload_of: Callable[[Ask], Payload]) -> Callable[..., None]:
    """Return a command that is for messages which wait, by their ids or their group."""

    def command(
        ids: IdsArgument = None,
        file: IdsOption = None,
        group: GroupOption = None,
        tenant: TenantOption = "default",
        reason: ReasonOption = "",
        by: ByOption = None,
        wait: WaitOption = COMMAND_WAIT_S,
        no_wait: NoWaitOption = False,
        dry_run: DryRunOption = False,
        yes: YesOption = False,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        ask = _ask(
            kind,
            reason=reason,
            by=by,
            wait=wait,
            no_wait=no_wait,
            dry_run=dry_run,
            yes=yes,
            as_json=as_json,
        )
        _run(ask, data, ids=ids, file=file, tenant=tenant, group=group, payload=payload_of(ask))

    return command


def edit_messages(
    ids: IdsArgument = None,
    file: IdsOption = None,
    content: Annotated[
        str | None, typer.Option(help="The words from now on.", show_default="as they are")
    ] = None,
    at: Annotated[str, typer.Option(help="Not before 2030-01-31T18:00:00Z, or 'in 2h'.")] = "",
    in_span: Annotated[str, typer.Option("--in", help="After a while: 2h, 30m.")] = "",
    expires: Annotated[str, typer.Option(help="Not after; or so long after it is due: 2h.")] = "",
    time_zone: Annotated[str, typer.Option(help="Of --at, such as Europe/Paris.")] = "",
    reason: ReasonOption = "",
    by: ByOption = None,
    wait: WaitOption = COMMAND_WAIT_S,
    no_wait: NoWaitOption = False,
    dry_run: DryRunOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give messages other words, another time, or both."""
    if at and in_span:
        raise typer.BadParameter("--at and --in say the same: give one")
    wish = Wish(content, at or (f"in {in_span}" if in_span else ""), expires, time_zone)
    if wish.content is None and not (wish.due or wish.expires):
        raise typer.BadParameter("say what changes: --content, --at, --in or --expires")
    _refuse_misspelt(wish, due_option="--in" if in_span else "--at")
    ask = _ask(
        CommandKind.EDIT,
        reason=reason,
        by=by,
        wait=wait,
        no_wait=no_wait,
        dry_run=dry_run,
        yes=True,
        as_json=as_json,
    )
    payload = _edited(ask, wish, now=SystemClock().now())
    _run(ask, data, ids=ids, file=file, tenant="default", group=None, payload=payload)


def resolve(
    ids: IdsArgument = None,
    as_state: Annotated[
        str, typer.Option("--as", help=f"One of {', '.join(_RESOLUTIONS)}.", show_default=False)
    ] = "",
    file: IdsOption = None,
    group: GroupOption = None,
    state: Annotated[
        MessageState | None, typer.Option(help="With --group: those that are uncertain.")
    ] = None,
    tenant: TenantOption = "default",
    reason: ReasonOption = "",
    by: ByOption = None,
    wait: WaitOption = COMMAND_WAIT_S,
    no_wait: NoWaitOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what became of messages that are uncertain; who said so and why is kept."""
    if as_state not in _RESOLUTIONS:
        raise typer.BadParameter(f"--as: one of {', '.join(_RESOLUTIONS)}")
    ask = _ask(
        CommandKind.RESOLVE,
        reason=reason,
        by=by,
        wait=wait,
        no_wait=no_wait,
        dry_run=dry_run,
        yes=yes,
        as_json=as_json,
    )
    event = _RESOLUTIONS[as_state]

    async def payload(_queries: OpenQueries, message: AskedMessage) -> CommandBody:
        return _body(ask, message, event=int(event))

    _run_audited(
        ask, data, ids=ids, file=file, tenant=tenant, group=group, state=state, payload=payload
    )


def resend(
    ids: IdsArgument = None,
    file: IdsOption = None,
    group: GroupOption = None,
    state: Annotated[
        MessageState | None, typer.Option(help="With --group: uncertain or failed.")
    ] = None,
    tenant: TenantOption = "default",
    reason: ReasonOption = "",
    by: ByOption = None,
    wait: WaitOption = COMMAND_WAIT_S,
    no_wait: NoWaitOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hand messages over once more that are uncertain or failed; it may be the second one."""
    ask = _ask(
        CommandKind.RESEND,
        reason=reason,
        by=by,
        wait=wait,
        no_wait=no_wait,
        dry_run=dry_run,
        yes=yes,
        as_json=as_json,
    )
    _run_audited(
        ask, data, ids=ids, file=file, tenant=tenant, group=group, state=state, payload=_plain(ask)
    )


def _run_audited(
    ask: Ask,
    data: Path | None,
    *,
    ids: list[str] | None,
    file: Path | None,
    tenant: str,
    group: str | None,
    state: MessageState | None,
    payload: Payload,
) -> None:
    if (group is None) != (state is None):
        raise typer.BadParameter("--group and --state go together")
    if group is None or state is None:
        _run(ask, data, ids=ids, file=file, tenant=tenant, group=None, payload=payload)
        return
    if ids or file:
        raise typer.BadParameter("give ids, or --group with --state")
    allowed = _STATES[:1] if ask.kind is CommandKind.RESOLVE else _STATES
    if state not in allowed:
        raise typer.BadParameter(f"--state: {' or '.join(one.value for one in allowed)}")
    run_for_state(ask, data, tenant=tenant, group=group, state=state, payload=payload)
