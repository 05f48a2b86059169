from collections.abc import Sequence
from typing import Any

import pytest

from actors.cli.mapping import FieldMapping, FieldOptions, resolve_mapping
from pipeline.errors import InputInvalid
from pipeline.ingest.recipient import canonical_recipient
from pipeline.ingest.submission import build_bodies, build_submission
from pipeline.limits import METADATA_ENTRIES_MAX
from pipeline.message import Submission, decode_body
from tests.support.fake_clock import NOW


def resolved(columns: Sequence[str], *, demo: bool = False, **said: Any) -> FieldMapping:
    numbered = all(column.startswith("c") and column[1:].isdigit() for column in columns)
    return resolve_mapping(
        columns,
        FieldOptions(**said),
        has_rows=True,
        made_up_recipients=demo,
        are_columns_numbered=numbered,
    )


def submission(columns: Sequence[str], row: Sequence[str], **said: Any) -> Submission:
    return build_submission(resolved(columns, **said).plan, row)


def complaint(columns: Sequence[str], **said: Any) -> str:
    with pytest.raises(InputInvalid) as caught:
        resolved(columns, **said)
    message = str(caught.value)
    assert "\n" not in message
    return message


NUMBER = "+447911123456"


@pytest.mark.parametrize("recipient", ["recipient", "To", "PHONE", "mobile", "msisdn"])
@pytest.mark.parametrize("content", ["content", "Text", "BODY", "message"])
def test_well_known_columns_become_fields_in_any_case(recipient: str, content: str) -> None:
    found = submission(("label", content, recipient), ("x", "hello", NUMBER), channel="sms")
    assert (found.recipient, found.content, found.channel) == (NUMBER, "hello", "sms")
    assert (found.tenant, found.group, found.priority) == ("default", "", "bulk")


def test_every_field_can_come_from_its_column() -> None:
    columns = ("to", "text", "channel", "group", "priority", "expires_at")
    row = ("a@example.com", "hello", "email", "spring", "urgent", "2030-01-31T18:00:00Z")
    found = submission(columns, row)
    assert (found.channel, found.group, found.priority) == ("email", "spring", "urgent")
    assert found.expires_at == 1_896_112_800_000_000


def test_optional_fields_may_be_empty_in_a_row() -> None:
    columns = ("to", "text", "channel", "group", "priority", "expires_at")
    found = submission(columns, (NUMBER, "hello", "sms", "", "", ""))
    assert (found.group, found.priority, found.expires_at) == ("", "bulk", None)


def test_templates_come_before_columns() -> None:
    found = submission(
        ("to", "text", "channel", "group", "name"),
        (NUMBER, "hello", "fax", "x", "Ada"),
        to="{to}",
        content="Dear {name}: {text}",
        channel="sms",
        group="spring",
        priority="urgent",
        tenant="acme",
        metadata={"name": "{name}", "n": "{#}"},
    )
    assert found == Submission(
        tenant="acme",
        channel="sms",
        recipient=NUMBER,
        content="Dear Ada: hello",
        group="spring",
        priority="urgent",
        metadata={"name": "Ada", "n": "1"},
    )


def test_the_name_of_the_recipients_column_tells_the_channel() -> None:
    assert submission(("phone", "text"), (NUMBER, "x")).channel == "sms"
    assert submission(("email", "text"), ("a@example.com", "x")).channel == "email"


def test_the_channel_tells_which_of_two_recipients_columns_is_meant() -> None:
    columns, row = ("email", "phone", "text"), ("a@example.com", NUMBER, "x")
    assert submission(columns, row, channel="whatsapp").recipient == NUMBER
    assert submission(columns, row, channel="email").recipient == "a@example.com"


def test_a_natural_key_comes_from_its_column() -> None:
    mapping = resolved(("to", "text", "order|no"), channel="sms", key="order|no")
    assert mapping.key is not None
    assert mapping.key.render_all([(NUMBER, "x", "o-1")], [1]).values == ["o-1"]
    assert resolved(("to", "text"), channel="sms").key is None


def test_numbers_without_a_country_code_are_at_home_in_the_region() -> None:
    found = submission(("phone", "text"), ("07911 123456", "x"), default_region="gb")
    assert found.recipient == NUMBER


@pytest.mark.parametrize(
    ("columns", "said", "message"),
    [
        (("a", "text"), {}, "no column holds the recipient; say which: --to '{column}'"),
        (("a", "text"), {}, "(there are: a, text)"),
        (("phone", "Email", "text"), {}, "columns phone and Email could all be the recipient"),
        (("phone", "Email", "text"), {}, "--to '{phone}'"),
        (("to", "phone", "text"), {"channel": "email"}, "to and phone could all be the recipient"),
        (("phone", "a"), {}, "no column holds the content; say which: --content '{column}'"),
        (("phone", "text", "body"), {}, "columns text and body could all be the content"),
        (("to", "text"), {}, "no column holds the channel; say it: --channel email|sms|"),
        (("phone", "text", "group", "campaign"), {}, "group and campaign could all be the group"),
        (("phone", "text", "tenant"), {}, "column tenant names tenants, but a file is sent for"),
        (("phone", "text"), {"tenant": "{text}"}, "--tenant: a file is sent for one tenant"),
        (("phone", "text"), {"to": "{fone}"}, "--to: no column 'fone'; did you mean {phone}?"),
        (("phone", "text"), {"content": "{text"}, "--content: a single {"),
        (("phone", "text"), {"metadata": {"a": "{x}"}}, "--meta a: no column 'x'"),
        (("phone", "text"), {"metadata": {"a b": "x"}}, "--meta"),
        (
            ("phone", "text"),
            {"metadata": {str(n): "x" for n in range(METADATA_ENTRIES_MAX + 1)}},
            "--meta: 33 entries, at most 32",
        ),
        (("phone", "text"), {"key": "order"}, "--key: no column 'order'"),
        (("phone", "text"), {"channel": "fax"}, "--channel: 'fax' is not a channel; one of email"),
        (("phone", "text"), {"priority": "fast"}, "--priority: 'fast' is not a priority"),
        (("phone", "text"), {"tenant": "a/b"}, "--tenant: 1 to 64 letters"),
        (("phone", "text"), {"group": "x" * 200}, "--group: has 200 characters"),
        (("phone", "text"), {"default_region": "UK"}, "--region: 'UK' is not a region"),
    ],
    ids=range(22),
)
def test_what_is_missing_or_could_mean_two_things_is_asked_back_with_the_flag(
    columns: Sequence[str], said: dict[str, Any], message: str
) -> None:
    assert message in complaint(columns, **said)


def test_a_file_without_recipients_is_sent_only_in_a_demonstration() -> None:
    assert "no column holds the recipient" in complaint(("c1", "c2"), content="{c2}")
    mapping = resolved(("c1", "c2"), demo=True)
    assert mapping.has_made_up_recipients
    assert not resolved(("phone", "text"), demo=True).has_made_up_recipients


def test_made_up_recipients_are_valid_kept_for_fiction_and_the_same_every_time() -> None:
    plan = resolved(("c1", "c2"), demo=True).plan
    records = [("ham", f"text {n}") for n in range(2_100)]
    built = build_bodies(plan, records, range(1, 2_101))
    assert not built.refused
    recipients = [decode_body(body).recipient for body in built.bodies]
    assert recipients[0] == "+447700900000"
    assert recipients[999] == "+447700900999"
    assert recipients[1_000:2_000] == recipients[:1_000]
    assert len(set(recipients)) == 1_000
    assert all(canonical_recipient("sms", one) == one for one in set(recipients))
    assert decode_body(built.bodies[5]).content == "text 5"
    assert decode_body(built.bodies[5]).channel == "sms"


def test_a_demonstration_guesses_the_content_only_where_no_column_has_a_name() -> None:
    assert "no column holds the content" in complaint(("label", "words"), demo=True)


def test_the_mapping_describes_where_every_field_comes_from() -> None:
    mapping = resolved(
        ("phone", "text", "label", "priority"),
        content="Dear {label}: {text}",
        group="spring",
        metadata={"n": "{#}"},
        key="phone",
    )
    assert mapping.describe().splitlines() == [
        "recipient   column phone",
        "content     Dear {label}: {text}",
        "channel     sms, as the recipients tell",
        "tenant      default",
        "group       'spring'",
        "priority    column priority, else bulk",
        "metadata n  {#}",
        "key         column phone",
    ]


def test_the_description_of_a_demonstration_says_what_is_made_up_and_what_is_not_used() -> None:
    described = resolved(("c1", "c2"), demo=True).describe()
    assert "made up: +447700900000 to +447700900999" in described
    assert "reach nobody" in described
    assert "column c2, the last, as none has a name" in described
    assert "not used   c1" in described


# --- when -----------------------------------------------------------------------------------------


def test_when_can_come_from_columns_and_from_what_is_said() -> None:
    columns = ("to", "text", "send_at", "send_window", "time_zone", "expires_at")
    row = (NUMBER, "hello", "2030-01-31 18:00", "daily 09:00-18:00", "Europe/Paris", "2h")
    found = submission(columns, row, channel="sms")
    assert (found.due_at, found.window) == (1_896_109_200_000_000, "daily 09:00-18:00")
    assert (found.time_zone, found.validity_ms) == ("Europe/Paris", 7_200_000)
    found = submission(columns, row, channel="sms", at="in 5m", window="", expires="{expires_at}")
    assert (found.delay_ms, found.due_at, found.window) == (300_000, None, "")


def test_of_a_row_that_says_nothing_nothing_is_said() -> None:
    columns = ("to", "text", "send_at", "send_window", "time_zone")
    found = submission(columns, (NUMBER, "hello", "", "", "Europe/Paris"), channel="sms")
    assert not found.is_timed
    assert found == submission(("to", "text"), (NUMBER, "hello"), channel="sms")


def test_a_zone_beside_nothing_is_a_column_like_others() -> None:
    found = submission(("to", "text", "time_zone"), (NUMBER, "hello", "somewhere"), channel="sms")
    assert found.time_zone == ""
    mapping = resolved(("to", "text", "time_zone"), channel="sms")
    assert ("not used", "time_zone") in mapping.description


@pytest.mark.parametrize(
    ("said", "complained"),
    [
        ({"at": "tomorrow"}, "--at: not a date and time"),
        ({"at": "2030-01-31T18:00"}, "--at: has no offset"),
        ({"at": "in 401d"}, "--at: lies more than 400 days ahead"),
        ({"window": "9 to 5"}, "--window: '9 to 5' is no rule"),
        ({"window": "daily 09:00-18:00", "time_zone": "Paris"}, "--time-zone: 'Paris' is no time"),
        ({"time_zone": "Europe/Paris"}, "--time-zone: says nothing without --at or --window"),
        ({"expires": "4d"}, "--expires: must be more than 0"),
        ({"at": "2030-01-31T18:00Z", "expires": "2030-01-31T18:00Z"}, "--expires: is not after"),
    ],
)
def test_a_time_that_cannot_be_kept_is_asked_back(said: dict[str, str], complained: str) -> None:
    assert complaint(("to", "text"), channel="sms", **said).startswith(complained)


def test_an_instant_beyond_the_horizon_is_asked_back_before_anything_is_sent() -> None:
    options = FieldOptions(channel="sms", at="{when|2025-01-01T00:00Z}")
    columns = ("to", "text", "when")
    mapping = resolve_mapping(columns, options, has_rows=True, now=NOW)
    built = build_bodies(mapping.plan, [(NUMBER, "hello", ""), (NUMBER, "x", "in 2h")], [1, 2])
    assert list(built.positions) == [1]
    assert "more than 400 days ahead" in str(built.refused[0])
    with pytest.raises(InputInvalid, match=r"^--at: lies more than 400 days ahead$"):
        resolve_mapping(
            columns,
            FieldOptions(channel="sms", at="2025-01-01T00:00Z"),
            has_rows=True,
            now=NOW,
        )


def test_hours_by_the_recipients_number_are_not_judged_by_another_zone() -> None:
    # Nine in Germany is an hour before nine in UTC, where it would be too late.
    said = {
        "at": "2030-01-31T08:30Z",
        "expires": "2030-01-31T09:00Z",
        "window": "daily 09:00-18:00",
    }
    found = submission(("to", "text"), ("+4915112345678", "hello"), channel="sms", **said)
    assert found.window == "daily 09:00-18:00"
    refused = complaint(("to", "text"), channel="sms", time_zone="UTC", **said)
    assert refused == "--expires: is over before the send window opens"


def test_an_ordering_key_comes_from_its_column_or_a_template() -> None:
    columns, row = ("to", "text", "ordering_key"), (NUMBER, "hello", "account 7")
    assert submission(columns, row, channel="sms").ordering_key == "account 7"
    assert submission(columns, (*row[:2], ""), channel="sms").ordering_key == ""
    assert submission(columns, row, channel="sms", ordering_key="to {to}").ordering_key == (
        f"to {NUMBER}"
    )
    assert "--ordering-key: has 300 bytes" in complaint(
        ("to", "text"), channel="sms", ordering_key="k" * 300
    )
    told = complaint(("to", "text"), channel="sms", ordering_key="k", at="in 2h")
    assert told.startswith("--ordering-key: a message with an ordering key is sent when its turn")
