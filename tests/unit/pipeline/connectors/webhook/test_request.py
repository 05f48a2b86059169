"""The request is what Standard Webhooks' own library accepts, and its key never changes."""

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from pipeline.connectors.webhook.request import RequestWriter, Signer, decode_payload
from pipeline.errors import SettingInvalid
from pipeline.instant import Instant, later
from pipeline.message import Body, MessageId, encode_body
from tests.support.submissions import make_submission

ID = MessageId(bytes(range(16)))
URL = "https://hooks.example/in?token=a"
OLD, NEW = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
# The library compares with the clock of the machine.
NOW = Instant(int(datetime.now(UTC).timestamp()) * 1_000_000)


def body_of(content: str = "hello") -> Body:
    return Body(encode_body(make_submission(content, channel="webhook", recipient=URL)))


def test_without_a_url_of_its_own_a_connector_posts_to_the_recipient() -> None:
    hook = RequestWriter(url=None, signer=Signer([NEW])).write(ID, body_of(), now=NOW)
    assert hook.url == URL
    hook = RequestWriter(url="https://a.example", signer=Signer([])).write(ID, body_of(), now=NOW)
    assert hook.url == "https://a.example"
    assert decode_payload(hook.content).data.recipient == URL


@given(content=st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_receiver_with_either_secret_verifies_it(content: str) -> None:
    hook = RequestWriter(url=None, signer=Signer([NEW, OLD])).write(ID, body_of(content), now=NOW)
    for secret in (OLD, NEW):
        Webhook(secret).verify(hook.content, dict(hook.headers))
    assert decode_payload(hook.content).data.content == content


def test_a_receiver_with_another_secret_or_other_bytes_refuses_it() -> None:
    hook = RequestWriter(url=None, signer=Signer([NEW])).write(ID, body_of(), now=NOW)
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(hook.content, dict(hook.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(hook.content + b" ", dict(hook.headers))


def test_key_and_json_are_those_of_the_message_and_only_the_time_is_the_attempts() -> None:
    writer = RequestWriter(url=None, signer=Signer([NEW]))
    first = writer.write(ID, body_of(), now=NOW)
    second = writer.write(ID, body_of(), now=later(NOW, 60_000))
    assert first.content == second.content
    one, two = dict(first.headers), dict(second.headers)
    assert one["webhook-id"] == two["webhook-id"] == ID.hex()
    assert {name for name in one if one[name] != two[name]} == {
        "webhook-timestamp",
        "webhook-signature",
    }


def test_without_secret_or_authorization_neither_header_is_there() -> None:
    bare = dict(RequestWriter(url=URL, signer=Signer([])).write(ID, body_of(), now=NOW).headers)
    assert not {"webhook-signature", "authorization"} & bare.keys()
    assert bare["accept-encoding"] == "identity"
    known = RequestWriter(url=URL, signer=Signer([]), authorization="Bearer b")
    assert dict(known.write(ID, body_of(), now=NOW).headers)["authorization"] == "Bearer b"


@pytest.mark.parametrize(
    "secret", ["whsec_short", "no base64!" * 5, "whsec_" + base64.b64encode(b"x" * 65).decode()]
)
def test_what_is_no_secret_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        Signer([secret])
    assert secret not in str(caught.value)
