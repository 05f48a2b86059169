"""What is said of a repeat is true of what was sent."""

from actors.cli.send import advice_on_repeat
from tests.support.cli_answer import Shardpost


def test_only_of_what_has_a_key_it_is_said_that_nothing_is_sent_twice() -> None:
    assert "nothing is sent twice" in advice_on_repeat(is_keyed=True)
    without_key = advice_on_repeat(is_keyed=False)
    assert "twice" not in without_key
    assert "--batch-key" in without_key


def test_the_help_warns_of_files_that_grow_and_names_the_way_out(shardpost: Shardpost) -> None:
    told = " ".join(shardpost("send", "--help").out.split())
    assert "the old ones too" in told
    assert "--key order_id" in told
