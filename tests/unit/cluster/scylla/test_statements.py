"""The file of statements: its form, and what no statement in it may do."""

import re

import pytest

from cluster.scylla.error_map import Sends
from cluster.scylla.schema import SCHEMA_VERSION, migration
from cluster.scylla.statements import Statement, StatementsBroken, parse, statements
from pipeline.limits import Windows

ONE = """
--- a heading

-- put
-- partition: the message's
-- repeat: harmless
-- sends: write
INSERT INTO messages (pk)
VALUES (?);
"""
ALL = list(statements().values())


def test_a_statement_is_read_with_all_that_is_said_of_it() -> None:
    assert parse(ONE) == {
        "put": Statement(
            "put",
            "the message's",
            "harmless",
            Sends.WRITE,
            "INSERT INTO messages (pk) VALUES (?)",
        )
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (ONE + ONE, "two statements put"),
        (ONE.replace("write", "sometimes"), "put sends nothing"),
        (ONE.replace("-- repeat: harmless\n", ""), "not a statement"),
        (ONE + "DROP TABLE messages;", "not a statement: 'DROP"),
        (ONE + "-- forgotten", "not a statement: '-- forgotten"),
    ],
)
def test_whatever_is_no_statement_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(StatementsBroken, match=complaint):
        parse(text)


def test_every_table_that_is_named_is_in_the_schema() -> None:
    schema = [
        statement
        for version in range(1, SCHEMA_VERSION + 1)
        for statement in migration(version, Windows())
    ]
    made = {
        table for text in schema for table in re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", text)
    }
    named = {
        table
        for statement in ALL
        for table in re.findall(r"(?:FROM|INTO|UPDATE) ([\w.]+)", statement.cql)
    }
    assert named - {"system.local"} <= made
    assert made - named == {"schema_versions"}


@pytest.mark.parametrize("statement", ALL, ids=[statement.name for statement in ALL])
def test_a_statement_sends_what_it_says(statement: Statement) -> None:
    cql = statement.cql
    is_conditional = re.search(r" IF (?:NOT EXISTS|\w+ =)", cql) is not None
    match statement.sends:
        case Sends.CONDITIONAL:
            assert is_conditional
        case Sends.WRITE:
            assert cql.startswith(("INSERT", "UPDATE"))
            assert not is_conditional
        case Sends.READ | Sends.SERIAL_READ:
            assert cql.startswith("SELECT")
    assert "ALLOW FILTERING" not in cql
    assert "DELETE" not in cql


def test_tables_that_conditions_protect_are_written_by_conditions_alone() -> None:
    def tables(*kinds: Sends) -> set[str]:
        return {
            re.findall(r"(?:INTO|UPDATE) (\w+)", statement.cql)[0]
            for statement in ALL
            if statement.sends in kinds
        }

    assert tables(Sends.CONDITIONAL) == {"generations", "idem", "journal"}
    assert not tables(Sends.CONDITIONAL) & tables(Sends.WRITE)
