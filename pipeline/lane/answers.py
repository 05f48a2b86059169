"""What became of messages that were handed over, on its way into the journal."""

from collections import deque
from collections.abc import Iterator

from pipeline.lane.window import Answer, lines_bytes
from pipeline.limits import JOURNAL_LINES_BYTES_MAX


class Answers:
    """The answers of one owner that no entry carries yet; first come, first served."""

    def __init__(self) -> None:
        self._waiting: deque[Answer] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Answer]:
        return iter(self._waiting)

    def add(self, answer: Answer) -> None:
        """Take an answer; one that is too long for a body, in parts."""
        for part in answer.in_parts():
            part.window.unjournaled_parts += 1
            self._waiting.append(part)

    def take(self, connector: str, *, is_body_empty: bool) -> tuple[list[Answer], int]:
        """Return a connector's answers, as many as one body may hold, and about their bytes."""
        taken: list[Answer] = []
        others: list[Answer] = []
        size = 0
        while self._waiting:
            answer = self._waiting.popleft()
            window, outcomes, positions, _ = answer
            if window.connector != connector:
                others.append(answer)
                continue
            groups = window.groups
            if positions is not None:
                groups = [groups[n] for n in positions]
            added = lines_bytes(
                groups,
                outcomes.details,
                outcomes.references,
                pasts=list(window.pasts.values()),
            )
            if (taken or not is_body_empty) and size + added > JOURNAL_LINES_BYTES_MAX:
                others.append(answer)
                break
            size += added
            window.unjournaled_parts -= 1
            taken.append(answer)
        self._waiting.extendleft(reversed(others))
        return taken, size
