"""The store on ScyllaDB sits the exam that every store sits, on a real server."""

from tests.contract.agreement import AgreementContract
from tests.contract.commands import CommandsContract
from tests.contract.conftest import lane, other_store, queries, rows, store
from tests.contract.editions import EditionsContract
from tests.contract.ingest_store import IngestStoreContract
from tests.contract.journal import JournalContract
from tests.contract.lane_store import LaneStoreContract
from tests.contract.query_store import QueryStoreContract
from tests.contract.receipts import ReceiptsContract, SuppressionsContract
from tests.contract.segments import SegmentsContract
from tests.contract.timers import TimersContract

__all__ = ["lane", "other_store", "queries", "rows", "store"]


class TestScyllaIngestStore(IngestStoreContract):
    pass


class TestScyllaJournal(JournalContract):
    pass


class TestScyllaLaneStore(LaneStoreContract):
    pass


class TestScyllaQueries(QueryStoreContract):
    pass


class TestScyllaTimers(TimersContract):
    pass


class TestScyllaCommands(CommandsContract):
    pass


class TestScyllaEditions(EditionsContract):
    pass


class TestScyllaSegments(SegmentsContract):
    pass


class TestScyllaReceipts(ReceiptsContract):
    pass


class TestScyllaSuppressions(SuppressionsContract):
    pass


class TestScyllaAgreement(AgreementContract):
    pass
