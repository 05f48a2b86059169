"""What the program answered, and the types of the fixtures that ask it."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from tests.support.filled_folder import FilledFolder


class Answer(NamedTuple):
    """Exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document of standard output."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)

    @property
    def refusal(self) -> str:
        """The one line of standard error, when nothing was answered."""
        assert self.out == "", self.out
        assert self.err.count("\n") == 1, self.err
        return self.err.rstrip("\n")


Shardpost = Callable[..., Answer]
Fill = Callable[[Callable[[FilledFolder], Awaitable[Any]]], FilledFolder]
