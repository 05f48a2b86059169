"""The lists of a world's tenants, and who may still be written to at an instant."""

from collections.abc import Collection, Mapping, Sequence

from pipeline.instant import Instant, earlier
from pipeline.limits import SUPPRESSION_FRESH_MS_MAX
from pipeline.message import Body, addressee_of
from pipeline.route.suppression import SuppressionKey, suppression_key


class SuppressionLists:
    """Who is on a list since when, and who ever was."""

    def __init__(self) -> None:
        self._since: dict[SuppressionKey, tuple[str, Instant]] = {}
        self.ever: set[SuppressionKey] = set()

    def put(self, body: Body, now: Instant) -> None:
        """Let the recipient of a body get nothing more."""
        tenant, channel, recipient = addressee_of(body)
        key = suppression_key(tenant, channel, recipient)
        self._since.setdefault(key, (tenant, now))
        self.ever.add(key)

    def remove(self, body: Body) -> None:
        """Take the recipient of a body off."""
        self._since.pop(suppression_key(*addressee_of(body)), None)

    def tenants(self) -> Collection[str]:
        """Return who has a list."""
        return {tenant for tenant, _ in self._since.values()}

    def read(self, keys: Sequence[SuppressionKey]) -> Mapping[SuppressionKey, str | None]:
        """Return why each key is on a list, None: is on none."""
        return {key: "opt_out" if key in self._since else None for key in keys}

    def check_claim(self, body: Body, at: Instant) -> None:
        """Assert that nobody claimed what the recipient does not want, as must have been known."""
        told = self._since.get(suppression_key(*addressee_of(body)))
        assert told is None or told[1] >= earlier(at, SUPPRESSION_FRESH_MS_MAX), (
            "claimed for somebody who was on a list long before"
        )

    def check_suppressed(self, body: Body) -> None:
        """Assert that somebody asked for what was ended."""
        assert suppression_key(*addressee_of(body)) in self.ever, "suppressed, and nobody asked"
