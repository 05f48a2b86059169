"""What a lane's runner does with connectors: hand over, and ask.

Whatever a connector does, each message of a window ends with one outcome.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from cluster.topology.generation import Generation
from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.ingest.recipient_mask import mask_recipient
from pipeline.lane import actions as act
from pipeline.lane_id import LaneId
from pipeline.later import SuppressionLists, SuppressionRow
from pipeline.lifecycle import Event
from pipeline.message import Body, MessageId, addressee_of
from pipeline.outcome import HandOver, Outcomes, Report
from pipeline.ports import Clock, Connector, QueryableConnector
from pipeline.route.suppression import suppression_key

log = structlog.get_logger(__name__)

_ANSWERED: Final = b"\1"


class LaneConnectors:
    """The connectors of one lane, by name."""

    def __init__(
        self,
        lane_id: LaneId,
        connectors: Mapping[str, Connector],
        *,
        store: SuppressionLists,
        generation: Generation,
        clock: Clock,
    ) -> None:
        self._lane_id = lane_id
        self._connectors = connectors
        self._store = store
        self._generation = generation
        self._clock = clock

    async def hand_over(self, window: act.HandOverWindow, take: Report) -> None:
        """Hand a window over; `take` gets one outcome for each message, in parts."""
        count = len(window.message_ids)
        answered = bytearray(count)
        unwanted: dict[int, str] = {}

        def report(positions: Sequence[int], outcomes: Outcomes) -> None:
            if positions == range(count) and not any(answered):
                answered[:] = _ANSWERED * count  # most windows are answered as a whole
            else:
                for position in positions:
                    assert not answered[position], "an outcome was reported twice"
                    answered[position] = 1
            for n, why in outcomes.unwanted.items():
                unwanted[positions[n]] = why
            take(positions, outcomes)

        def report_rest(event: Event, detail: str) -> None:
            if 0 in answered:
                rest = [n for n in range(count) if not answered[n]]
                report(rest, Outcomes.all_alike(event, len(rest), detail))

        if self._clock.now() > window.send_before:
            report_rest(Event.NOT_SENT, "send deadline passed")
            return
        detail = "the connector did not say what became of it"
        try:
            await self._connectors[window.connector].submit(
                HandOver(
                    lane=self._lane_id,
                    message_ids=window.message_ids,
                    attempts=window.attempts,
                    bodies=window.bodies,
                    send_before=window.send_before,
                ),
                report,
            )
        except Exception as error:
            # Any class, as connectors are many: whatever one raises, its messages were claimed and
            # must end with an outcome.
            log.exception("connector_failed", lane=str(self._lane_id))
            detail = str(error)
        # What a connector is silent about may have been handed over.
        report_rest(Event.LOSE_ANSWER, detail)
        if unwanted:
            bodies = {position: window.bodies[position] for position in unwanted}
            await self._suppress(window.connector, bodies, unwanted)

    async def _suppress(
        self, connector: str, bodies: Mapping[int, Body], unwanted: Mapping[int, str]
    ) -> None:
        """Note whom nothing more should go to.

        If that fails, or the owner dies before, the next message to them is answered the same way.
        """
        for position, why in unwanted.items():
            tenant, channel, recipient = addressee_of(bodies[position])
            key = suppression_key(tenant, channel, recipient)
            row = SuppressionRow(
                key=key,
                tenant=tenant,
                channel=channel,
                recipient=mask_recipient(channel, recipient),
                since=self._clock.now(),
                reason=why,
                by=connector,
            )
            try:
                await self._store.put_suppressions(self._generation.core_of(key), [row])
            except (StoreUnavailable, WriteUnknown) as error:
                log.warning("suppression_not_noted", lane=str(self._lane_id), error=str(error))

    async def find(self, ask: act.AskProvider) -> dict[int, bool]:
        """Return by position whether the provider has the message; silence is a no."""
        connector = self._connectors.get(ask.connector)
        has: Mapping[MessageId, bool] = {}
        if isinstance(connector, QueryableConnector):
            try:
                has = await connector.find(ask.message_ids)
            except Exception:
                # Of any class, as above: it is asked again.
                log.exception("provider_not_asked", lane=str(self._lane_id), name=ask.connector)
        return {
            position: has.get(id_, False)
            for position, id_ in zip(ask.positions, ask.message_ids, strict=True)
        }
