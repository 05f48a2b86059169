"""What a lane's runner does with connectors: hand over, and ask.

Whatever a connector does, each message of a window ends with one outcome.
"""

from collections.abc import Mapping, Sequence

import structlog

from pipeline.lane import actions as act
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Event
from pipeline.message import MessageId
from pipeline.outcome import HandOver, Outcomes, Report
from pipeline.ports import Clock, Connector, QueryableConnector

log = structlog.get_logger(__name__)


class LaneConnectors:
    """The connectors of one lane, by name."""

    def __init__(
        self, lane_id: LaneId, connectors: Mapping[str, Connector], *, clock: Clock
    ) -> None:
        self._lane_id = lane_id
        self._connectors = connectors
        self._clock = clock

    async def hand_over(self, window: act.HandOverWindow, take: Report) -> None:
        """Hand a window over; `take` gets one outcome for each message, in parts."""
        count = len(window.message_ids)
        answered = bytearray(count)

        def report(positions: Sequence[int], outcomes: Outcomes) -> None:
            for position in positions:
                assert not answered[position], "an outcome was reported twice"
                answered[position] = 1
            take(positions, outcomes)

        def report_rest(event: Event, detail: str) -> None:
            rest = [n for n in range(count) if not answered[n]]
            if rest:
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
