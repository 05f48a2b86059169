"""Files of recipients who are to get nothing any more: a recipient a line, or columns.

Columns are found as `send` finds them: the recipient by its name, or as the only column; the
channel by --channel, by a column of that name, or by what the recipient's column is called.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from actors.cli.column_names import ADDRESS_COLUMNS, NUMBER_COLUMNS, WELL_KNOWN
from actors.cli.input_file import InputFile
from actors.cli.record_batch import Refused
from pipeline.errors import InputInvalid, SubmissionInvalid
from pipeline.ingest.recipient import CHANNELS, Canonicalize, canonicalizer
from pipeline.ingest.template import Template, column_template, listed, resolve_column
from pipeline.limits import SUPPRESSIONS_A_WRITE_MAX
from pipeline.route.suppression import SuppressionReason

_REASON_COLUMN: Final = "reason"


@dataclass(frozen=True, slots=True)
class Listed:
    """One recipient, in the channel's canonical form."""

    channel: str
    recipient: str
    reason: SuppressionReason


@dataclass(frozen=True, slots=True)
class ListedBatch:
    """Recipients of a file in order, and the records that name none."""

    listed: list[Listed]
    refused: list[Refused]


class SuppressionColumns:
    """Which column holds what."""

    def __init__(
        self,
        opened: InputFile,
        *,
        column: str | None,
        channel: str | None,
        reason: SuppressionReason,
        default_region: str | None,
    ) -> None:
        """Raise `InputInvalid`, which says what to add to the command."""
        self._opened = opened
        self._region = default_region
        self._reason = reason
        self._by_channel: dict[str, Canonicalize] = {}
        name = self._recipient_column(column)
        self._recipient = self._template(name)
        self._channel: Template | None = None
        self._fixed_channel = channel or ""
        if channel is None:
            by_name = [one for one in opened.columns if one.casefold() in WELL_KNOWN["channel"]]
            if by_name:
                self._channel = self._template(by_name[0])
            elif name.casefold() in ADDRESS_COLUMNS:
                self._fixed_channel = "email"
            elif name.casefold() in NUMBER_COLUMNS:
                self._fixed_channel = "sms"
            else:
                raise InputInvalid(
                    f"no column holds the channel; say it: --channel {'|'.join(CHANNELS)}"
                )
        if self._fixed_channel:
            self._canonicalizer(self._fixed_channel)
        reasons = [one for one in opened.columns if one.casefold() == _REASON_COLUMN]
        self._reason_of = self._template(reasons[0], default=reason.value) if reasons else None

    def _recipient_column(self, asked: str | None) -> str:
        columns = self._opened.columns
        if asked is not None:
            try:
                return resolve_column("--column", asked, columns)
            except SubmissionInvalid as invalid:
                raise InputInvalid(str(invalid)) from None
        found = [one for one in columns if one.casefold() in WELL_KNOWN["recipient"]]
        if not found and len(columns) == 1:
            return columns[0]
        if len(found) != 1:
            what = "could all be" if found else "are there, and none is named like"
            raise InputInvalid(
                f"columns {listed(found or columns)} {what} the recipient; say which: --column NAME"
            )
        return found[0]

    def _template(self, column: str, *, default: str | None = None) -> Template:
        opened = self._opened
        return column_template(
            column, columns=opened.columns, by_position=opened.has_rows, default=default
        )

    def _canonicalizer(self, channel: str) -> Canonicalize:
        if channel not in self._by_channel:
            self._by_channel[channel] = canonicalizer(channel, self._region)
        return self._by_channel[channel]

    def read(self) -> Iterator[ListedBatch]:
        """Yield the file, some hundreds of records at a time; raises `InputInvalid`."""
        while True:
            try:
                batch = self._opened.reader.read(SUPPRESSIONS_A_WRITE_MAX)
            except OSError as error:
                raise InputInvalid(
                    f"{self._opened.name}: cannot be read to its end: {error.strerror}"
                ) from None
            if not batch.count:
                return
            found: list[Listed] = []
            refused = list(batch.refused)
            for row, line, raw in zip(batch.rows, batch.line_numbers, batch.raws, strict=True):
                try:
                    found.append(self._listed(row, line))
                except SubmissionInvalid as invalid:
                    refused.append(Refused(line_number=line, reason=str(invalid), raw=raw))
            refused.sort(key=lambda one: one.line_number)
            yield ListedBatch(found, refused)

    def _listed(self, row: Any, line: int) -> Listed:  # noqa: ANN401  # see Record
        channel = self._fixed_channel
        if self._channel is not None:
            channel = self._value("channel", self._channel, row, line).strip().lower()
        recipient = self._value("recipient", self._recipient, row, line)
        reason = self._reason
        if self._reason_of is not None:
            reason = parse_reason(self._value("reason", self._reason_of, row, line))
        return Listed(channel, self._canonicalizer(channel)(recipient), reason)

    def _value(self, field: str, template: Template, row: Any, line: int) -> str:  # noqa: ANN401
        rendered = template.render_all([row], [line])
        if rendered.failed:
            raise SubmissionInvalid(field, rendered.failed[0])
        return str(rendered.values[0])


def parse_reason(text: str) -> SuppressionReason:
    """Return the reason that a text names; raises `SubmissionInvalid`."""
    try:
        return SuppressionReason(text.strip().lower().replace("-", "_"))
    except ValueError:
        raise SubmissionInvalid(
            "reason", f"{text[:32]!r} is not a reason; one of {', '.join(SuppressionReason)}"
        ) from None


def canonical(channel: str, recipients: Sequence[str], *, default_region: str | None) -> list[str]:
    """Return recipients in the channel's canonical form; raises `SubmissionInvalid`."""
    canonicalize = canonicalizer(channel, default_region)
    return [canonicalize(one) for one in recipients]
