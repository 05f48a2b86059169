"""What each provider of a simulation wrote down, and whether a message may come to one of them."""

from collections import Counter

from pipeline.lifecycle import Event
from pipeline.message import MessageId


class ProviderLogs:
    """The logs of several providers, side by side."""

    def __init__(self) -> None:
        self.copies: dict[MessageId, Counter[str]] = {}
        self.refusals: dict[MessageId, Counter[str]] = {}
        self.second_count = 0

    def check(self, id_: MessageId, connector: str, *, is_keyed: bool) -> None:
        """Look at what the providers know of a message that is just coming to one of them."""
        copies, refusals = self.copies.get(id_, Counter()), self.refusals.get(id_, Counter())
        for other, count in copies.items():
            if other == connector:
                assert is_keyed, "handed over twice"
            else:
                assert refusals[other] == count, "a second connector, and no proof from the first"
                self.second_count += 1

    def note(self, id_: MessageId, connector: str, event: Event) -> None:
        """Write down what a provider made of a message."""
        self.copies.setdefault(id_, Counter())[connector] += 1
        if event == Event.REFUSE:
            self.refusals.setdefault(id_, Counter())[connector] += 1
