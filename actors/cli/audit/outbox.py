"""The outbox against the store: every hand-over has its line, and every line its hand-over.

The ids of a core's lines are held in one sorted column, 16 bytes a line; its timelines pass by in
the order of ids.  The lines are read after the view of the store was opened, and a line is durable
before its outcome is journaled: so that what is sent in the view has a line, also while the
platform runs.  A line that is newer than the view is looked up again in a newer one, where its
claim must be.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from actors.cli.audit.core_audit import with_journaled
from actors.cli.audit.findings import FindingKind, Findings
from actors.cli.audit.outbox_files import CoreLines
from actors.cli.audit.timeline_verdict import TimelineVerdict, judge
from actors.cli.id_columns import IdColumn, id_at, id_column
from cluster.local.core_snapshot import CoreSnapshot
from pipeline.limits import QUERY_PAGE_ROWS_MAX
from pipeline.message import MessageId

# Gives what the steps of messages say in a view that is opened now.
SecondLook = Callable[
    [], AbstractContextManager[Callable[[Sequence[MessageId]], list[TimelineVerdict | None]]]
]


@dataclass(frozen=True, slots=True)
class FileConnectors:
    """The connectors that write lines; whether there are no others."""

    names: frozenset[str]
    are_all: bool


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A line whose message was not handed over, as far as the view goes."""

    id: MessageId
    kind: FindingKind
    detail: str


def compare_lines(
    lines: CoreLines,
    view: CoreSnapshot,
    named: dict[MessageId, list[int]],
    *,
    where: str,
    second_look: SecondLook | None,
    is_memory_whole: bool,
    by_file: FileConnectors,
    findings: Findings,
) -> int:
    """Compare a core's lines with its view; return how many lines are too old to be known.

    `named`: steps by un-retired entries.  `second_look`: None if nothing can have moved.
    `is_memory_whole`: no timeline was ever removed, so that an unknown id was never known.
    `by_file`: whose hand-overs have lines.
    """
    ids, repeated = _repeats(lines)
    is_known = np.zeros(len(ids), bool)
    suspects: list[_Suspect] = []
    missing: list[tuple[MessageId, TimelineVerdict]] = []
    left = dict(named)
    for page in view.timelines():
        page_ids = [id_ for id_, _ in page]
        verdicts = [judge(with_journaled(steps, left.pop(id_, None)) or "") for id_, steps in page]
        has_line = _mark(ids, page_ids, is_known)
        _compare(page_ids, verdicts, has_line, suspects, missing)
        _forgive_resent(page_ids, verdicts, repeated)
    journaled = list(left)
    verdicts = [judge(with_journaled(None, left[id_]) or "") for id_ in journaled]
    _compare(journaled, verdicts, _mark(ids, journaled, is_known), suspects, missing)
    _forgive_resent(journaled, verdicts, repeated)
    for id_, count in repeated.items():
        findings.add(
            FindingKind.LINE_TWICE,
            where=where,
            message_id=id_,
            detail=f"the outbox has {count} lines of it",
        )
    for id_, verdict in _of_files(missing, view, by_file):
        findings.add(
            FindingKind.LINE_MISSING,
            where=where,
            message_id=id_,
            detail=f"the store says {verdict.state}",
        )

    too_old = 0
    unknown = (~is_known).nonzero()[0].tolist()
    for start in range(0, len(unknown), QUERY_PAGE_ROWS_MAX):
        page_ids = [id_at(ids, n) for n in unknown[start : start + QUERY_PAGE_ROWS_MAX]]
        bodiless = view.bodiless(page_ids)
        for id_ in page_ids:
            if id_ not in bodiless:
                suspects.append(
                    _Suspect(id_, FindingKind.LINE_UNCLAIMED, "accepted, and never claimed")
                )
            elif is_memory_whole:
                suspects.append(
                    _Suspect(id_, FindingKind.LINE_UNKNOWN, "the outbox has it, the store has not")
                )
            else:
                too_old += 1
    if suspects and second_look is not None:
        suspects = _without_newer(suspects, second_look)
    for suspect in suspects:
        findings.add(suspect.kind, where=where, message_id=suspect.id, detail=suspect.detail)
    return too_old


def _repeats(lines: CoreLines) -> tuple[IdColumn, dict[MessageId, int]]:
    """Return the ids in order, each once, and how many lines those have that have several."""
    ids, counts = np.unique(id_column(lines.ids), return_counts=True)
    places = (counts > 1).nonzero()[0].tolist()
    return ids, {id_at(ids, place): int(counts[place]) for place in places}


def _mark(ids: IdColumn, page: Sequence[MessageId], is_known: npt.NDArray[np.bool_]) -> list[bool]:
    """Return whether each of a page has a line, and note that the line's message is known."""
    if not len(ids):
        return [False] * len(page)
    column = id_column(page)
    places = np.minimum(np.searchsorted(ids, column), len(ids) - 1)
    has_line = ids[places] == column
    is_known[places[has_line]] = True
    found: list[bool] = has_line.tolist()
    return found


def _compare(
    ids: Sequence[MessageId],
    verdicts: Sequence[TimelineVerdict],
    has_line: Sequence[bool],
    suspects: list[_Suspect],
    missing: list[tuple[MessageId, TimelineVerdict]],
) -> None:
    for id_, verdict, is_written in zip(ids, verdicts, has_line, strict=True):
        if is_written:
            if not verdict.may_be_handed_over:
                suspects.append(
                    _Suspect(id_, FindingKind.LINE_UNCLAIMED, f"the store says {verdict.state}")
                )
        elif verdict.answered_at is not None:
            missing.append((id_, verdict))


def _forgive_resent(
    ids: Sequence[MessageId],
    verdicts: Sequence[TimelineVerdict],
    repeated: dict[MessageId, int],
) -> None:
    """Take out of the repeats what somebody asked for again, and knew that it may be twice."""
    if not repeated:
        return
    for id_, verdict in zip(ids, verdicts, strict=True):
        if repeated.get(id_, 0) <= 1 + verdict.resends_count:
            repeated.pop(id_, None)


def _of_files(
    missing: Sequence[tuple[MessageId, TimelineVerdict]],
    view: CoreSnapshot,
    by_file: FileConnectors,
) -> Iterator[tuple[MessageId, TimelineVerdict]]:
    """Yield those that a connector took whose hand-overs have lines, by what their claim names."""
    for start in range(0, len(missing), QUERY_PAGE_ROWS_MAX):
        page = missing[start : start + QUERY_PAGE_ROWS_MAX]
        connectors = view.details_of(
            [(id_, verdict.answered_at) for id_, verdict in page if verdict.answered_at is not None]
        )
        for id_, verdict in page:
            name = connectors.get(id_)
            # A claim that is journaled and not in the timeline yet does not say whose it is.
            if name in by_file.names or (name is None and by_file.are_all):
                yield id_, verdict


def _without_newer(suspects: Sequence[_Suspect], second_look: SecondLook) -> list[_Suspect]:
    """Return the suspects that are suspect still: a line's claim was journaled before it."""
    left: list[_Suspect] = []
    with second_look() as verdicts_of:
        for start in range(0, len(suspects), QUERY_PAGE_ROWS_MAX):
            page = suspects[start : start + QUERY_PAGE_ROWS_MAX]
            verdicts = verdicts_of([suspect.id for suspect in page])
            left += [
                suspect
                for suspect, verdict in zip(page, verdicts, strict=True)
                if verdict is None or not verdict.may_be_handed_over
            ]
    return left
