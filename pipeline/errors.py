"""What can go wrong that is not an everyday answer, by who has to act.

Everyday answers (an overloaded ingester, a fenced append, a refused hand-over) are values, not
exceptions.  Every message of an error that a person can see says what to change.
"""


class ShardpostError(Exception):
    """Base of every error that Shardpost raises on purpose."""


class InputInvalid(ShardpostError):
    """The client must change its input; a retry of the same bytes fails the same way."""


class SubmissionInvalid(InputInvalid):
    """One field of one submission cannot be accepted."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class SettingInvalid(ShardpostError):
    """The operator must change a setting: a value is out of range, or a name is not known."""


class DataFolderUnusable(ShardpostError):
    """The operator must name another folder, or mend this one: shape, format, or permissions."""


class PlatformHeld(ShardpostError):
    """The operator must stop the other platform first: the data folder is held by it."""


class PlatformNotRunning(ShardpostError):
    """The operator must start the platform first: nothing answers for this data folder."""


class PlatformNotStarted(ShardpostError):
    """The operator must look at the machine or the log: a part of the platform did not come up."""


class PlatformBroken(ShardpostError):
    """The operator must start the platform again: a part of it died that nothing replaces."""


class StoreUnavailable(ShardpostError):
    """The caller may repeat the call: the store certainly did not apply the write."""


class WriteUnknown(ShardpostError):
    """The caller must repeat the same bytes, or read: the store may or may not have applied it."""


class LaneFenced(ShardpostError):
    """The owner must step down and send nothing more: a newer epoch owns the lane."""

    def __init__(self, lane: str, held_epoch: int) -> None:
        super().__init__(f"lane {lane}: epoch {held_epoch} is over")
        self.lane = lane
        self.held_epoch = held_epoch
