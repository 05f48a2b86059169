"""The outbox against the order of submission: of one ordering key the first was handed over first.

A lane's file is in the order of its hand-overs, and its rows in that of submission.  Files that
were turned over come in no certain order, so each is judged by itself.  A message counts with its
first line and its first row: later ones are copies, or what somebody sent again.  A row that is not
prompt may be a repeat of one that was swept since, and says nothing.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from actors.cli.audit.findings import FindingKind, Findings
from actors.cli.audit.outbox_files import CoreLines
from actors.cli.audit.timeline_verdict import TimelineVerdict
from actors.cli.id_columns import ID_BYTES, id_at, id_column
from cluster.local.core_snapshot import CoreSnapshot
from pipeline.instant import DurationMs, later
from pipeline.message import MessageId, is_ordered

VerdictsOf = Callable[[Sequence[MessageId]], list[TimelineVerdict | None]]


def compare_order(
    lines: CoreLines,
    view: CoreSnapshot,
    verdicts_of: VerdictsOf,
    *,
    prompt_ms: DurationMs,
    where: str,
    findings: Findings,
) -> None:
    """Find messages that left after one of their key that was submitted later.

    Holds 40 bytes for each ordered message that has a row.
    """
    ids, keys, ats = bytearray(), bytearray(), list[int]()
    for lane in sorted(view.used_lanes()):
        for rows in view.buffer(lane):
            for at, id_, pk, born, attempt, *_ in rows:
                if is_ordered(pk, id_) and attempt == 1 and at <= later(born, prompt_ms):
                    ids += id_
                    keys += pk
                    ats.append(at)
    if not ats:
        return
    # Of several rows the first one is left: they come in order of `at`.
    known, first_rows = np.unique(id_column(ids), return_index=True)
    key_of, at_of = id_column(keys)[first_rows], np.array(ats)[first_rows]
    bounds = [*lines.starts, lines.count]
    for start, end in pairwise(bounds):
        written = id_column(lines.ids[start * ID_BYTES : end * ID_BYTES])
        places = np.minimum(np.searchsorted(known, written), len(known) - 1)
        places = places[known[places] == written]
        _, first_lines = np.unique(places, return_index=True)
        places = places[np.sort(first_lines)]
        # Together by key, and in the order of the lines within one.
        places = places[np.argsort(key_of[places], kind="stable")]
        is_late = (key_of[places][1:] == key_of[places][:-1]) & (
            at_of[places][1:] < at_of[places][:-1]
        )
        late = [id_at(known, int(place)) for place in places[1:][is_late]]
        for id_, verdict in zip(late, verdicts_of(late), strict=True):
            if verdict is None or not verdict.resends_count:
                findings.add(
                    FindingKind.LINE_OUT_OF_ORDER,
                    where=where,
                    message_id=id_,
                    detail="its line follows that of a message that was submitted after it",
                )
