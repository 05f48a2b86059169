"""How the columns of a file become the fields of its messages.

What a person says in a template comes first.  A field about which nothing is said is looked for
among the columns with a well-known name.  What then is missing, or could mean two things, is asked
back before anything is sent; nothing about recipients or contents is guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from actors.cli.column_names import ADDRESS_COLUMNS, NUMBER_COLUMNS, WELL_KNOWN
from actors.cli.made_up_recipients import MadeUpRecipients
from pipeline.errors import InputInvalid, SubmissionInvalid
from pipeline.ingest.recipient import CHANNELS
from pipeline.ingest.recipient_mask import NUMBER_CHANNELS
from pipeline.ingest.submission import FieldSource, SubmissionPlan
from pipeline.ingest.template import (
    Template,
    column_template,
    compile_template,
    constant_template,
    listed,
    resolve_column,
)
from pipeline.instant import Instant
from pipeline.limits import METADATA_ENTRIES_MAX

DEFAULT_TENANT: Final = "default"
# A file is seldom what somebody waits for; what somebody waits for must not wait for a file.
DEFAULT_PRIORITY: Final = "bulk"
_MADE_UP_CHANNEL: Final = "sms"
_SHOWN_CHARS_MAX: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldOptions:
    """What a person said about fields: templates, by the flag of the same name."""

    to: str | None = None
    content: str | None = None
    channel: str | None = None
    group: str | None = None
    priority: str | None = None
    tenant: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None  # a column
    default_region: str | None = None
    at: str | None = None
    window: str | None = None
    time_zone: str | None = None
    expires: str | None = None
    ordering_key: str | None = None


# Where a field's flag has another name.
_FLAGS: Final = {
    "due_at": "at",
    "expires_at": "expires",
    "time_zone": "time-zone",
    "ordering_key": "ordering-key",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldMapping:
    """Where each field comes from; `plan` carries it out."""

    plan: SubmissionPlan
    tenant: str
    key: Template | None  # of the natural key of each record
    has_made_up_recipients: bool
    description: Sequence[tuple[str, str]]  # field, where it comes from

    def describe(self) -> str:
        """Return one line for each field: its name, and where it comes from."""
        width = max(len(name) for name, _ in self.description)
        return "\n".join(f"{name:{width}}  {origin}" for name, origin in self.description)


def resolve_mapping(
    columns: Sequence[str],
    options: FieldOptions,
    *,
    has_rows: bool,
    made_up_recipients: bool = False,
    are_columns_numbered: bool = False,
    hint: str = "",
    now: Instant | None = None,
) -> FieldMapping:
    """Return how fields are made of these columns, or raise `InputInvalid`.

    `has_rows`: records are sequences in the order of `columns`, else mappings.
    `made_up_recipients` is for demonstrations: where no column holds recipients, they are numbers
    that are nobody's, and where no column has a name, the last one is the content.  `hint` is said
    where a column is missing.  Without `now` it is not asked here how far ahead an instant lies.
    """
    return _Resolver(
        columns, options, has_rows, made_up_recipients, are_columns_numbered, hint, now
    ).resolve()


class _Resolver:
    def __init__(
        self,
        columns: Sequence[str],
        options: FieldOptions,
        has_rows: bool,
        may_make_up: bool,
        are_columns_numbered: bool,
        hint: str,
        now: Instant | None,
    ) -> None:
        self._hint = hint
        self._now = now
        self._columns = columns
        self._options = options
        self._has_rows = has_rows
        self._may_make_up = may_make_up
        self._are_columns_numbered = are_columns_numbered
        self._description: list[tuple[str, str]] = []
        self._used: set[str] = set()

    def resolve(self) -> FieldMapping:
        options = self._options
        recipient, implied_channel = self._recipient()
        content = self._content()
        channel = self._channel(implied_channel)
        tenant = self._tenant()
        group = self._optional("group", options.group, otherwise="")
        priority = self._optional("priority", options.priority, otherwise=DEFAULT_PRIORITY)
        due_at = self._sayable("due_at", options.at)
        window = self._sayable("window", options.window)
        expires_at = self._sayable("expires_at", options.expires)
        time_zone = None
        if options.time_zone is not None or not (due_at is window is None):
            time_zone = self._sayable("time_zone", options.time_zone)
        if time_zone is not None and due_at is window is None:
            raise InputInvalid("--time-zone: says nothing without --at or --window")
        ordering_key = self._sayable("ordering_key", options.ordering_key)
        metadata = self._metadata()
        key = self._key()
        try:
            plan = SubmissionPlan(
                recipient=recipient,
                content=content,
                channel=channel,
                tenant=constant_template(tenant),
                group=group,
                priority=priority,
                expires_at=expires_at,
                due_at=due_at,
                window=window,
                time_zone=time_zone,
                ordering_key=ordering_key,
                now=self._now,
                metadata=metadata,
                default_region=options.default_region and options.default_region.upper(),
            )
        except SubmissionInvalid as invalid:
            # Of a value for all lines the flag is the place to change it.
            flag = _FLAGS.get(invalid.field, invalid.field)
            raise InputInvalid(f"--{flag}: {invalid.reason}") from None
        unused = [column for column in self._columns if column not in self._used]
        if unused:
            self._description.append(("not used", listed(unused)))
        return FieldMapping(
            plan=plan,
            tenant=tenant,
            key=key,
            has_made_up_recipients=isinstance(recipient, MadeUpRecipients),
            description=self._description,
        )

    # --- fields -----------------------------------------------------------------------------

    def _recipient(self) -> tuple[FieldSource, str | None]:
        """Return the source, and the channel that the column's name implies, if it does."""
        if self._options.to is not None:
            return self._template("recipient", "--to", self._options.to), None
        found = self._known("recipient")
        channel = self._options.channel
        if len(found) > 1 and channel in CHANNELS:
            # phone and email beside each other: the channel says which.
            fitting = ADDRESS_COLUMNS if channel == "email" else NUMBER_COLUMNS
            if channel == "email" or channel in NUMBER_CHANNELS:
                found = [name for name in found if name.casefold() in fitting] or found
        if len(found) > 1:
            raise InputInvalid(
                f"columns {' and '.join(found)} could all be the recipient;"
                f" say which: --to '{{{found[0]}}}'"
            )
        if found:
            name = found[0].casefold()
            implied = (
                "sms" if name in NUMBER_COLUMNS else "email" if name in ADDRESS_COLUMNS else None
            )
            return self._from_column("recipient", found[0]), implied
        if self._may_make_up:
            made_up = MadeUpRecipients()
            self._description.append(("recipient", made_up.describe()))
            return made_up, _MADE_UP_CHANNEL
        raise InputInvalid(
            "no column holds the recipient; say which: --to '{column}'"
            f" (there are: {listed(self._columns)}){self._hint}"
        )

    def _content(self) -> FieldSource:
        if self._options.content is not None:
            return self._template("content", "--content", self._options.content)
        found = self._known("content")
        if not found and self._may_make_up and self._are_columns_numbered:
            last = self._columns[-1]
            self._used.add(last)
            self._description.append(("content", f"column {last}, the last, as none has a name"))
            return column_template(last, columns=self._columns, by_position=self._has_rows)
        return self._from_column("content", self._only("content", "--content", found))

    def _channel(self, implied: str | None) -> FieldSource:
        if self._options.channel is not None:
            return self._template("channel", "--channel", self._options.channel)
        found = self._known("channel")
        if found:
            return self._from_column("channel", self._only("channel", "--channel", found))
        if implied is not None:
            self._description.append(("channel", f"{implied}, as the recipients tell"))
            return constant_template(implied)
        raise InputInvalid(
            f"no column holds the channel; say it: --channel {'|'.join(CHANNELS)}"
            f" (there are: {listed(self._columns)}){self._hint}"
        )

    def _tenant(self) -> str:
        """Return the one tenant of the file: a chunk is accepted for one tenant."""
        if self._options.tenant is None:
            found = self._known("tenant")
            if found:
                raise InputInvalid(
                    f"column {found[0]} names tenants, but a file is sent for one; say it:"
                    " --tenant NAME"
                )
            self._description.append(("tenant", DEFAULT_TENANT))
            return DEFAULT_TENANT
        tenant = self._template("tenant", "--tenant", self._options.tenant).constant
        if tenant is None:
            raise InputInvalid("--tenant: a file is sent for one tenant; write its name")
        return tenant

    def _sayable(self, name: str, said: str | None) -> FieldSource | None:
        flag = f"--{_FLAGS.get(name, name)}"
        if said is not None:
            return self._template(name, flag, said)
        found = self._known(name)
        return self._from_column(name, self._only(name, flag, found), default="") if found else None

    def _metadata(self) -> dict[str, FieldSource]:
        said = self._options.metadata
        if len(said) > METADATA_ENTRIES_MAX:
            raise InputInvalid(f"--meta: {len(said)} entries, at most {METADATA_ENTRIES_MAX}")
        return {
            key: self._template(f"metadata {key}", f"--meta {key}", text)
            for key, text in said.items()
        }

    def _key(self) -> Template | None:
        if self._options.key is None:
            return None
        try:
            column = resolve_column("--key", self._options.key.strip("{}"), self._columns)
        except SubmissionInvalid as invalid:
            raise InputInvalid(str(invalid)) from None
        return self._from_column("key", column)

    def _optional(self, name: str, said: str | None, *, otherwise: str) -> FieldSource:
        flag = f"--{name}"
        if said is not None:
            return self._template(name, flag, said)
        found = self._known(name)
        if found:
            return self._from_column(name, self._only(name, flag, found), default=otherwise)
        if otherwise:
            self._description.append((name, otherwise))
        return constant_template(otherwise)

    # --- how they are found and told --------------------------------------------------------

    def _known(self, name: str) -> list[str]:
        """Return the columns with a well-known name for the field."""
        names = WELL_KNOWN[name]
        return [column for column in self._columns if column.casefold() in names]

    def _only(self, name: str, flag: str, found: Sequence[str]) -> str:
        if len(found) == 1:
            return found[0]
        if found:
            raise InputInvalid(
                f"columns {' and '.join(found)} could all be the {name};"
                f" say which: {flag} '{{{found[0]}}}'"
            )
        raise InputInvalid(
            f"no column holds the {name}; say which: {flag} '{{column}}'"
            f" (there are: {listed(self._columns)}){self._hint}"
        )

    def _from_column(self, name: str, column: str, *, default: str | None = None) -> Template:
        self._used.add(column)
        otherwise = f", else {default}" if default else ""
        self._description.append((name, f"column {column}{otherwise}"))
        return column_template(
            column, columns=self._columns, by_position=self._has_rows, default=default
        )

    def _template(self, name: str, flag: str, text: str) -> Template:
        template = compile_template(flag, text, columns=self._columns, by_position=self._has_rows)
        self._used.update(template.columns)
        shown = text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}…"
        self._description.append((name, shown if template.constant is None else repr(shown)))
        return template
