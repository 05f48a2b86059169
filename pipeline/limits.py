"""Every bound and every window of the system, in one place, with the relations they must keep.

A queue, a batch, a retry, a lease: if it can grow or repeat, its limit is here.  What an operator
may change is a field of `Windows`; its relations are checked whenever one is made, and a platform
whose windows break them refuses to start (docs/protocol.md, I9).
"""

from dataclasses import dataclass, fields
from typing import Final

from pipeline.errors import SettingInvalid
from pipeline.instant import DurationMs

# --- what one submission may hold -----------------------------------------------------------

CONTENT_BYTES_MAX: Final = 64 * 1024
RECIPIENT_BYTES_MAX: Final = 512
TENANT_CHARS_MAX: Final = 64
GROUP_CHARS_MAX: Final = 128
METADATA_ENTRIES_MAX: Final = 32
METADATA_BYTES_MAX: Final = 4 * 1024
BATCH_KEY_BYTES_MAX: Final = 256
IDEMPOTENCY_KEY_BYTES_MAX: Final = 256
ORDERING_KEY_BYTES_MAX: Final = 256

# --- what one file may hold -----------------------------------------------------------------

# A line must hold the longest content with every byte escaped as \u00XX, and its other fields.
LINE_BYTES_MAX: Final = 1024 * 1024
COLUMNS_MAX: Final = 256
# What a chunk keeps of its records as they were read, for those that are refused.
CHUNK_RAW_BYTES_MAX: Final = 64 * 1024 * 1024

# --- batches --------------------------------------------------------------------------------

# One LWT in `idem` stands for a chunk; its boundaries are fixed by index, so that a repeat of the
# same file meets the same rows.
CHUNK_MESSAGES_MAX: Final = 1_000
# The index of a message in its batch has 40 bits in the id.
BATCH_MESSAGES_MAX: Final = 2**40
DOORBELL_BODY_BYTES_MAX: Final = 8 * 1024
DOORBELL_MESSAGES_MAX: Final = 4_000
DOORBELL_BYTES_MAX: Final = 4 * 1024 * 1024
# A lane that lags drops doorbells; so none is sent to it for this long.
DOORBELL_QUIET_MS: Final = 500
OWNER_LOOK_INTERVAL_MS_MIN: Final = 200
READ_PAGE_ROWS_MAX: Final = 2_048
# Of one lane, in memory until they are due; about 300 bytes each.
LATER_ROWS_MAX: Final = 65_536
# Of one lane, behind others of their ordering keys; less than 100 bytes each.
ORDERED_ROWS_MAX: Final = 262_144
JOURNAL_PAGE_ENTRIES_MAX: Final = 256
QUERY_PAGE_ROWS_MAX: Final = 1_000
EXPORT_PAGE_BYTES_MAX: Final = 4 * 1024 * 1024
UNNAMED_PAGE_ROWS_MAX: Final = 10_000
WRITE_TRIES_MAX: Final = 3
JOURNAL_BODY_BYTES_MAX: Final = 64 * 1024

# Commands to single messages that one entry answers: each has a line of its own with who and why.
COMMANDS_AT_ONCE_MAX: Final = 48
RULINGS_AT_ONCE_MAX: Final = 1_000

# The lines of one body; the rest of it is left to its frame.
JOURNAL_LINES_BYTES_MAX: Final = 60 * 1024
OUTCOME_DETAIL_CHARS_MAX: Final = 200
# All details of one window together; further ones are left out, their events are not.
OUTCOME_DETAILS_BYTES_MAX: Final = 8 * 1024
PROJECT_ROWS_MAX: Final = 4_096
# A provider's own name of a message; a longer one is not kept, and its receipts find nothing.
REFERENCE_CHARS_MAX: Final = 128
# Who hears a provider and who accepts a message have clocks of their own.
RECEIPT_BEFORE_BORN_MS_MAX: Final = 60_000
CALLBACK_BYTES_MAX: Final = 256 * 1024
RECEIPTS_PER_CALLBACK_MAX: Final = 1_000
# Callbacks that are answered at once; others are told to come again.
CALLBACKS_IN_FLIGHT_MAX: Final = 256
CALLBACK_READ_MS_MAX: Final = 10_000
# What waits is noted together.
RECEIPTS_PER_NOTE_MAX: Final = 2_000
RECEIPTS_WAITING_MAX: Final = 20_000
BOUNCES_PER_READ_MAX: Final = 200
BOUNCES_LOOK_INTERVAL_MS: Final = 1_000

# --- what one platform may have -------------------------------------------------------------

INGESTERS_MAX: Final = 64
# Each core of an embedded store is a file and an actor of its own.
LOCAL_NODES_MAX: Final = 8
LOCAL_SHARDS_MAX: Final = 8

# --- what may lie ahead ---------------------------------------------------------------------

# How far ahead a message may be scheduled.
SCHEDULE_MS_MAX: Final = 400 * 24 * 3600 * 1000

# --- what may be in flight ------------------------------------------------------------------

INGEST_MESSAGES_IN_FLIGHT_MAX: Final = 20_000
INGEST_BYTES_IN_FLIGHT_MAX: Final = 128 * 1024 * 1024
OVERLOADED_RETRY_AFTER_MS: Final = 50
SEND_CHUNKS_IN_FLIGHT_MAX: Final = 6
SEND_REPEAT_MS_MIN: Final = 100
SEND_REPEAT_MS_MAX: Final = 2_000
SEND_PATIENCE_MS: Final = 120_000
# Claims of a lane for each message that its connector can hand over at once: enough that no slot
# waits for an append, few enough that a crash leaves little in doubt.
CLAIMS_PER_HAND_OVER_MAX: Final = 4
# What has come due goes first; but so many of it for one that is fresh, where there are both.
DUE_PER_FRESH: Final = 7
# A connector that could not be reached is left alone for this long, doubling.
CLAIM_PAUSE_MS_MIN: Final = 100
CLAIM_PAUSE_MS_MAX: Final = 5_000
ENTRIES_UNRETIRED_MAX: Final = 4_096
# From so many on, an entry waits for more outcomes, at most for so many to come as are this part of
# the claims; from so many times as many on for the longest.
ENTRIES_GATHER_FROM: Final = 256
GATHER_LONGEST_TIMES: Final = 8
GATHER_MS_MAX: Final = 200
GATHERED_PARTS: Final = 4
# From so many on, what has waited longer than H waits in the timers, so that entries can retire.
ENTRIES_PARK_FROM: Final = 2_048
# The same of an owner that took the lane over less than H ago.
ENTRIES_PARK_ANEW_FROM: Final = 3_072
WRITER_QUEUE_OPERATIONS_MAX: Final = 10_000
# Requests of one connector that wait for an answer in one process.
CONNECTOR_CONCURRENCY_MAX: Final = 1_024

# --- attempts after the first ---------------------------------------------------------------

RETRY_BACKOFF_BASE_MS: Final = 1_000
RETRY_BACKOFF_CAP_MS: Final = 2 * 3600 * 1_000
RETRY_ATTEMPTS_MAX: Final = 32  # with the cap above, about a day of attempts
FALLBACK_ATTEMPTS: Final = 5  # of one connector; then a message goes to the next: about 15 s
# What a provider may ask for at most: a typing error in a header must not park a message for years.
RETRY_AFTER_MS_MAX: Final = 24 * 3600 * 1_000
# How long a provider of class K knows our key, unless its connector says otherwise.
KEY_LIFE_MS: Final = 24 * 3600 * 1000
# A request may still travel this long after its send deadline, and two clocks differ.
KEY_LIFE_MARGIN_MS: Final = 60_000

assert RETRY_BACKOFF_BASE_MS <= RETRY_BACKOFF_CAP_MS <= RETRY_AFTER_MS_MAX

# How long a deposed owner waits for the answers to what it handed over; a drain waits as long.
TESTIMONY_WAIT_MS_MAX: Final = 30_000
TESTIMONY_TRIES_MAX: Final = 5

# --- after a crash ----------------------------------------------------------------------------

# A message that was being touched at so many ends of the process in a row is touched no more.
POISON_ENDS_MAX: Final = 3
# What has not ended the process for so long does not end it.
TRIAL_MS_MAX: Final = 5_000

# --- rows that were missed ------------------------------------------------------------------------

# Of 2,048 rows, every five seconds: 3,200 rows a second at most.
MISSED_PAGES_PER_LOOK: Final = 8

# --- which connector --------------------------------------------------------------------------

CONNECTOR_WEIGHT_MAX: Final = 1_000
FALLBACKS_MAX: Final = 8
HEALTH_FAILURES_IN_ROW_MAX: Final = 20
HEALTH_COOLDOWN_MS_MIN: Final = 1_000
HEALTH_COOLDOWN_MS_MAX: Final = 60_000
# How many places a rule may ask for; so many are remembered.
HEALTH_PLACES_MIN_MAX: Final = 64
STOP_WORD_CHARS_MAX: Final = 40

# Else connectors would have nothing to do while an entry waits.
assert CLAIMS_PER_HAND_OVER_MAX >= GATHERED_PARTS
assert (
    ENTRIES_GATHER_FROM * GATHER_LONGEST_TIMES
    <= ENTRIES_PARK_FROM
    < ENTRIES_PARK_ANEW_FROM
    < ENTRIES_UNRETIRED_MAX
)
assert HEALTH_COOLDOWN_MS_MIN <= HEALTH_COOLDOWN_MS_MAX

# --- permits ----------------------------------------------------------------------------------

PERMIT_RATE_MAX: Final = 1_000_000  # a second
PERMITS_AT_ONCE_MAX: Final = 1_000_000
PERMITS_GATHER_MS_MAX: Final = 25  # a lane leaves permits lying so long, to use several at once
# Permits are dealt for so long at once, and so long before it begins.
LIMITER_PERIOD_MS: Final = 500
LIMITER_LEAD_MS: Final = 100
# A question is on its way for so long at most, else it is answered a period later.
LIMITER_ASK_AHEAD_MS: Final = 50
# A scheduler that is silent for longer is gone, and what it held is dealt again.
LIMITER_SILENT_PERIODS_MAX: Final = 4
LIMITER_SLOTS_MAX: Final = 2_000
LIMITER_KEYS_MAX: Final = 10_000
# Of one scheduler in one question; the others ask the next time.
DEMAND_KEYS_MAX: Final = 512
LEASES_MAX: Final = 4_096
DESTINATIONS_REMEMBERED: Final = 4_096
RATE_CUT_INTERVAL_MS: Final = 1_000
# From nothing to the full rate, in periods without a throttling answer.
RATE_RAISES_TO_FULL: Final = 100
RATE_PAUSE_MS_MAX: Final = 60_000

assert LIMITER_LEAD_MS + LIMITER_ASK_AHEAD_MS < LIMITER_PERIOD_MS
assert DEMAND_KEYS_MAX <= LEASES_MAX <= LIMITER_KEYS_MAX

# --- send windows -----------------------------------------------------------------------------

SEND_WINDOW_CHARS_MAX: Final = 256
SEND_WINDOW_SPANS_MAX: Final = 64  # a week
SEND_WINDOWS_REMEMBERED: Final = 4_096
TIME_ZONE_CHARS_MAX: Final = 64

# --- what a person is shown -----------------------------------------------------------------

MESSAGES_SHOWN: Final = 50

# What stands in an audited act: who asked, and why.
BY_CHARS_MAX: Final = 128
REASON_CHARS_MAX: Final = 1_000

# Commands that are recorded, and waited for, at once.
COMMANDS_A_WRITE_MAX: Final = 500
COMMAND_WAIT_S: Final = 10.0

# Names of lanes in one ring of a core's bell.
BELL_BYTES_MAX: Final = 16_384

# Suppressions that one write notes.
SUPPRESSIONS_A_WRITE_MAX: Final = 1_000

# For so long after a read began it may be relied on that nobody was put on a list since.
SUPPRESSION_FRESH_MS_MAX: Final = 2_000
# How often a process reads which tenants have a list; it may miss one reading and still know.
LISTING_TENANTS_READ_MS: Final = 900
assert 2 * LISTING_TENANTS_READ_MS < SUPPRESSION_FRESH_MS_MAX
# Of more tenants than that a process asks about everybody.
LISTING_TENANTS_MAX: Final = 1_000
# After a read that was not answered.
SUPPRESSION_REPEAT_MS: Final = 250
# Of each kind of finding; the others are counted.
FINDINGS_KEPT_MAX: Final = 1_000
ID_PREFIX_DIGITS_MIN: Final = 8
# Below it nothing is accepted; what was accepted is still handed over.
DISK_FREE_BYTES_MIN: Final = 512 * 1024 * 1024
DISK_LOOK_INTERVAL_MS: Final = 1_000
DISK_FREE_BYTES_LOW: Final = 5 * 1024 * 1024 * 1024

# --- actors ---------------------------------------------------------------------------------

ACTOR_START_TIMEOUT_MS: Final = 60_000
ACTOR_START_BACKOFF_MS_MIN: Final = 100
ACTOR_START_BACKOFF_MS_MAX: Final = 30_000
ACTOR_HEALTH_TIMEOUT_MS: Final = 5_000
ACTOR_HEALTH_STRIKES_MAX: Final = 3
# A connector that never answers must not keep a platform from ending.
DRAIN_TIMEOUT_MS: Final = 40_000

# --- as many actors as the load needs --------------------------------------------------------

SCHEDULERS_PER_CORE_MAX: Final = 8
# In thousandths of a processor core that one process uses: a process of Python has one at most, and
# who waits for its turn at it on a busy machine never gets all of it.
SPLIT_BUSY_MIN: Final = 700
# What the others of the core should be able to take without being split again.
MERGE_BUSY_MAX: Final = 350
SPLIT_DIFFERENCE_MIN: Final = 250
SPLIT_AFTER_MS: Final = 5_000
MERGE_AFTER_MS: Final = 30_000
# Lanes that moved have to show what they cost where they are now.
MOVE_PAUSE_MS: Final = 10_000
# Another process is worth its start where so much of the machine has nothing to do.
GROW_IDLE_MIN: Final = 500
# A lane that lets go of its claims works on nothing new; those few at once.
LANES_MOVING_MAX: Final = 32

POOL_BUSY_MIN: Final = 700
# One that refuses chunks and has so little to do waits for the store, as another one would.
POOL_FULL_BUSY_MIN: Final = 350
POOL_SHRINK_BUSY_MAX: Final = 400
POOL_GROW_AFTER_MS: Final = 3_000
POOL_SHRINK_AFTER_MS: Final = 30_000
SENDER_LOOK_INTERVAL_MS: Final = 5_000

# Else what was merged would be split again, and who came go.
assert 2 * MERGE_BUSY_MAX <= SPLIT_BUSY_MIN
assert POOL_SHRINK_BUSY_MAX < POOL_BUSY_MIN
assert SPLIT_AFTER_MS < MERGE_AFTER_MS

# --- the embedded store ---------------------------------------------------------------------

# What waits for a file is committed in groups; a group is small enough that another process, which
# waits for its end, does not wait long.
COMMIT_OPERATIONS_MAX: Final = 64
COMMIT_ROWS_MAX: Final = 8_192
# Many rows lie packed in one row of SQLite.
BLOCK_ROWS_MAX: Final = 1_024
BLOCK_BYTES_MAX: Final = 256 * 1024
# How long SQLite waits for a lock that someone holds who does not queue as we do.
FILE_BUSY_MS_MAX: Final = 5_000
# How long a caller waits for any answer of a file: a paused process may hold its lock for ever.
FILE_ANSWER_MS_MAX: Final = 15_000
WAL_CHECKPOINT_BYTES_MIN: Final = 4 * 1024 * 1024
WAL_BYTES_MAX: Final = 64 * 1024 * 1024
SWEEP_ROWS_MAX: Final = 2_000
SWEEP_BLOCKS_MAX: Final = 16
SWEEP_ROUND_MS_MAX: Final = 3_000
OWNER_TTL_MS: Final = 3_600_000

assert TESTIMONY_WAIT_MS_MAX + TESTIMONY_TRIES_MAX * 1_000 < DRAIN_TIMEOUT_MS
assert RECEIPTS_PER_CALLBACK_MAX <= RECEIPTS_PER_NOTE_MAX <= RECEIPTS_WAITING_MAX
# Else a caller would give up before it could be told that the file was busy.
assert FILE_BUSY_MS_MAX < FILE_ANSWER_MS_MAX
assert COMMIT_OPERATIONS_MAX <= WRITER_QUEUE_OPERATIONS_MAX
assert WAL_CHECKPOINT_BYTES_MIN < WAL_BYTES_MAX
assert MESSAGES_SHOWN <= QUERY_PAGE_ROWS_MAX
assert COMMANDS_A_WRITE_MAX <= QUERY_PAGE_ROWS_MAX
assert DISK_FREE_BYTES_MIN < DISK_FREE_BYTES_LOW

_BODY_ENVELOPE_BYTES_MAX: Final = 2 * 1024
BODY_BYTES_MAX: Final = (
    CONTENT_BYTES_MAX + RECIPIENT_BYTES_MAX + METADATA_BYTES_MAX + _BODY_ENVELOPE_BYTES_MAX
)

# A chunk of the longest bodies is admitted when nothing else is in flight; otherwise it could
# never be accepted.
assert CHUNK_MESSAGES_MAX * BODY_BYTES_MAX <= INGEST_BYTES_IN_FLIGHT_MAX
assert CHUNK_MESSAGES_MAX <= INGEST_MESSAGES_IN_FLIGHT_MAX
assert LINE_BYTES_MAX >= 6 * (CONTENT_BYTES_MAX + RECIPIENT_BYTES_MAX + METADATA_BYTES_MAX)

# One window's lines fit in one body: 31 bytes a line, four to a character of a name, see
# pipeline/lane/window.py; a window is cut where its groups would not fit.
assert 31 * 1_024 + OUTCOME_DETAILS_BYTES_MAX < JOURNAL_LINES_BYTES_MAX < JOURNAL_BODY_BYTES_MAX

_DAY_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """The windows of the protocol (docs/protocol.md) and how long rows live.

    All in milliseconds but `claims_open_max` and `segment_entries_max`.  Raises `SettingInvalid`,
    naming the relation, if they do not fit together.
    """

    write_deadline_ms: DurationMs = DurationMs(2_000)  # W
    clock_skew_ms_max: DurationMs = DurationMs(500)  # epsilon
    steal_after_ms: DurationMs = DurationMs(10_000)  # D
    heartbeat_ms: DurationMs = DurationMs(1_000)
    claims_open_max: int = 512  # F
    # Of 16 KB, mostly; so a partition stays below what a database likes, and rolls are rare.
    segment_entries_max: int = 4_096
    near_horizon_ms: DurationMs = DurationMs(180_000)  # H
    timer_slice_ms: DurationMs = DurationMs(60_000)
    timer_lead_ms: DurationMs = DurationMs(60_000)
    idle_read_ms: DurationMs = DurationMs(1_000)
    checkpoint_ms: DurationMs = DurationMs(250)
    send_deadline_ms: DurationMs = DurationMs(30_000)
    owner_refresh_ms: DurationMs = DurationMs(5_000)
    validity_ms_max: DurationMs = DurationMs(3 * _DAY_MS)
    buffer_ttl_ms: DurationMs = DurationMs(7 * _DAY_MS)
    journal_ttl_ms: DurationMs = DurationMs(8 * _DAY_MS)
    messages_ttl_ms: DurationMs = DurationMs(90 * _DAY_MS)
    timeline_ttl_ms: DurationMs = DurationMs(90 * _DAY_MS)
    idem_ttl_ms: DurationMs = DurationMs(90 * _DAY_MS)

    @property
    def prompt_ms(self) -> DurationMs:
        """P: a row stored at most this long after its id was born is the id's first."""
        return DurationMs(self.write_deadline_ms + 2 * self.clock_skew_ms_max)

    @property
    def idem_life_ms(self) -> DurationMs:
        """How long the key of a batch is remembered: as long as the events of what it stands for.

        These live for `timeline_ttl_ms` after the last timer of a message was due.  The key of a
        single message goes with it.
        """
        ahead_ms = SCHEDULE_MS_MAX + self.validity_ms_max + self.near_horizon_ms
        return DurationMs(self.idem_ttl_ms + ahead_ms)

    @property
    def ordered_retry_ms(self) -> DurationMs:
        """How long an ordered message is tried again: what comes behind it waits as long."""
        return self.near_horizon_ms

    @property
    def read_ahead_rows_max(self) -> int:
        """How many unresolved rows a lane holds in memory at most."""
        return 4 * self.claims_open_max

    @property
    def due_rows_max(self) -> int:
        """How many messages that have come due a lane holds beside them."""
        return 2 * self.claims_open_max

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) <= 0:
                raise SettingInvalid(f"{field.name} must be greater than 0")
        if self.claims_open_max > 1_024:
            raise SettingInvalid("claims_open_max must be at most 1024: a journal body is bounded")
        for broken, relation in (
            (
                # Until then a claim may still be handed over, and has its outcome.
                self.send_deadline_ms >= DRAIN_TIMEOUT_MS,
                f"send_deadline_ms < {DRAIN_TIMEOUT_MS}",
            ),
            (
                self.near_horizon_ms
                < self.timer_slice_ms
                + self.timer_lead_ms
                + self.write_deadline_ms
                + self.clock_skew_ms_max,
                "near_horizon_ms >= timer_slice_ms + timer_lead_ms + write_deadline_ms"
                " + clock_skew_ms_max",
            ),
            (
                # Five beats may be late before a lane is stolen from a living owner.
                self.steal_after_ms < 5 * self.heartbeat_ms,
                "steal_after_ms >= 5 x heartbeat_ms",
            ),
            (
                self.journal_ttl_ms <= self.buffer_ttl_ms + self.near_horizon_ms,
                "journal_ttl_ms > buffer_ttl_ms + near_horizon_ms",
            ),
            (
                self.validity_ms_max + self.near_horizon_ms >= self.buffer_ttl_ms,
                "validity_ms_max + near_horizon_ms < buffer_ttl_ms",
            ),
            (
                not self.idem_ttl_ms >= self.timeline_ttl_ms >= self.messages_ttl_ms,
                "idem_ttl_ms >= timeline_ttl_ms >= messages_ttl_ms",
            ),
            (
                self.messages_ttl_ms < self.buffer_ttl_ms,
                "messages_ttl_ms >= buffer_ttl_ms",
            ),
        ):
            if broken:
                raise SettingInvalid(f"the windows must keep: {relation}")
