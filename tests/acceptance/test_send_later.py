"""What is sent later: not before its time, soon after it, and told where it waits until then."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tests.support.office import Office

AHEAD_S: Final = 3
# The lane reads its buffer every second, and the machine has other things to do; a message that
# waits for what wakes nobody would wait for minutes.
SOON_S: Final = 60


def instant_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_message_goes_out_not_before_its_time_and_soon_after(
    office: Office, tmp_path: Path
) -> None:
    file = tmp_path / "soon.csv"
    file.write_text("phone,text\n+447700900801,one\n+447700900802,two\n")
    told = office.asked("send", file, "--group", "soon", "--at", f"in {AHEAD_S}s")
    assert told["accepted"] == 2
    office.handed_over("soon", 2)
    for message in office.asked("messages", "--group", "soon")["messages"]:
        trace = office.asked("trace", message["id"])
        accepted_at, due_at = instant_of(trace["accepted_at"]), instant_of(trace["due_at"])
        claimed_at = instant_of(trace["events"][0]["at"])
        assert due_at - accepted_at == timedelta(seconds=AHEAD_S)
        assert due_at <= claimed_at <= due_at + timedelta(seconds=SOON_S)
    # A delay is counted from when the file was first accepted: it is the same file.
    again = office.asked("send", file, "--group", "soon", "--at", f"in {AHEAD_S}s")
    assert again["accepted_before"] == 2


def test_what_is_due_beyond_the_near_horizon_waits_where_trace_finds_it(
    office: Office, tmp_path: Path
) -> None:
    file = tmp_path / "later.csv"
    # People are shown milliseconds.
    due_at = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=4)
    file.write_text(f"phone,text,send_at\n+447700900811,later,{due_at.isoformat()}\n")
    told = office.asked("send", file, "--group", "later")
    trace = office.asked("trace", told["first_id"])
    assert (trace["state"], trace["events"]) == ("accepted", [])
    assert instant_of(trace["due_at"]) == due_at
    assert instant_of(trace["expires_at"]) > due_at
    assert trace["lane"] is not None
    assert office.lines("later") == []
    assert office.asked("group", "later")["scheduled"] == 1


def test_what_lies_too_far_ahead_is_refused_in_one_line(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "never.csv"
    file.write_text("phone,text\n+447700900821,never\n")
    far = (datetime.now(UTC) + timedelta(days=401)).isoformat()
    told = office.refused("send", file, "--group", "never", "--at", far, exit_code=3)
    assert "--at: lies more than 400 days ahead" in told
    assert office.knows_nothing_of("never")
