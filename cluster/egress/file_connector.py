"""The file connector: the codec's lines through the outbox, as a `Connector`."""

from cluster.egress.file_outbox import FileOutbox
from pipeline.connectors.file.codec import encode_lines, outcomes_of
from pipeline.outcome import HandOver, ProviderClass, Report


class FileConnector:
    """Class 0: a line that may be there or not is never written again."""

    def __init__(self, *, name: str, outbox: FileOutbox) -> None:
        self._name = name
        self._outbox = outbox

    @property
    def name(self) -> str:
        """Return the configured name."""
        return self._name

    @property
    def provider_class(self) -> ProviderClass:
        """Return `NONE`: a file cannot tell a repeat."""
        return ProviderClass.NONE

    @property
    def has_receipts(self) -> bool:
        """Return False: a file says nothing later."""
        return False

    async def submit(self, hand_over: HandOver, report: Report) -> None:
        """Write one line for each message; taken once they are durable."""
        lines = encode_lines(hand_over)
        written = await self._outbox.append(hand_over.lane, b"".join(lines))
        outcomes = outcomes_of(
            lines,
            written_bytes=written.bytes_count,
            is_durable=written.is_durable,
            error=written.error,
        )
        report(range(len(lines)), outcomes)

    async def close(self) -> None:
        """Close the outbox."""
        self._outbox.close()
