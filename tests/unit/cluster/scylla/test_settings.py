"""How to reach a cluster: what cannot be is refused in one line."""

import pytest

from cluster.scylla.settings import ScyllaSettings
from pipeline.errors import SettingInvalid


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"hosts": ()}, "hosts: name at least one node"),
        ({"keyspace": "Posts"}, "'Posts' is not made of small letters"),
        ({"keyspace": "posts; DROP"}, "is not made of small letters"),
        ({"username": "ada"}, "go together"),
        ({"password": "secret"}, "go together"),
    ],
)
def test_settings_that_cannot_be_are_refused(fields: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingInvalid, match=complaint):
        ScyllaSettings(**({"hosts": ("a",)} | fields))  # type: ignore[arg-type]


def test_a_password_is_not_shown() -> None:
    settings = ScyllaSettings(hosts=("a",), username="ada", password="secret")
    assert "secret" not in repr(settings)
