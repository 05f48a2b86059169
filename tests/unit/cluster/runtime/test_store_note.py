"""A data folder remembers where its store is, and what is said beats what it remembers."""

from pathlib import Path

import pytest

from cluster.runtime.scylla_settings import ScyllaSection
from cluster.runtime.settings import Settings, load_settings
from cluster.runtime.store_kind import StoreKind
from cluster.runtime.store_note import NOTE_FILE, read_note, write_note
from pipeline.errors import DataFolderUnusable, SettingInvalid
from tests.support.settings_place import Place


@pytest.fixture
def data(place: Place) -> Path:
    """Return the folder of a platform on ScyllaDB."""
    data = place.folder / "data"
    section = ScyllaSection(hosts=("a", "b"), keyspace="messages", password="file:secret")
    write_note(data, section)
    return data


def test_whoever_names_the_folder_need_not_say_where_its_store_is(data: Path) -> None:
    settings = load_settings(data=data)
    assert settings.store is StoreKind.SCYLLA
    assert settings.scylla.hosts == ("a", "b")
    assert settings.scylla.keyspace == "messages"


def test_files_are_found_from_another_working_directory(
    place: Place, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    assert load_settings(data=data).scylla.password == f"file:{place.folder / 'secret'}"


def test_a_secret_is_not_noted_but_where_it_stands(data: Path) -> None:
    write_note(data, ScyllaSection(hosts=("a",), password="env:PASSWORD"))
    assert load_settings(data=data).scylla.password == "env:PASSWORD"


def test_what_is_set_beats_the_note_and_leaves_the_rest_of_it(place: Place, data: Path) -> None:
    place.variable("SHARDPOST_SCYLLA__KEYSPACE", "other")
    settings = load_settings(data=data)
    assert (settings.scylla.hosts, settings.scylla.keyspace) == (("a", "b"), "other")
    settings = load_settings(data=data, hosts="c,d")
    assert (settings.scylla.hosts, settings.scylla.keyspace) == (("c", "d"), "other")


def test_an_embedded_store_that_is_asked_for_is_not_made_another(place: Place, data: Path) -> None:
    place.variable("SHARDPOST_STORE", "local")
    assert load_settings(data=data).store is StoreKind.LOCAL


def test_hosts_mean_scylladb_and_are_looked_at(place: Place) -> None:
    settings = load_settings(hosts="10.0.0.1, node-2")
    assert settings.store is StoreKind.SCYLLA
    assert settings.scylla.hosts == ("10.0.0.1", "node-2")
    with pytest.raises(SettingInvalid, match="--hosts 'a b': should be names or addresses"):
        load_settings(hosts="a b")
    assert load_settings(store=StoreKind.SCYLLA).store is StoreKind.SCYLLA


def test_a_folder_without_a_note_is_that_of_an_embedded_store(place: Place) -> None:
    assert load_settings(data=place.folder) == Settings(data=place.folder)
    assert read_note(place.folder / "nowhere") is None


def test_a_damaged_note_is_told_with_what_to_do(data: Path) -> None:
    (data / NOTE_FILE).write_text("{}")
    with pytest.raises(DataFolderUnusable, match=r"store\.json is damaged: remove it"):
        load_settings(data=data)


def test_the_folder_of_an_embedded_store_is_left_alone(place: Place) -> None:
    (place.folder / "format.json").write_text("{}")
    with pytest.raises(DataFolderUnusable, match="is the folder of an embedded store"):
        write_note(place.folder, ScyllaSection(hosts=("a",)))
    assert not (place.folder / NOTE_FILE).exists()


def test_a_folder_that_cannot_be_made_is_told_in_one_line(place: Place) -> None:
    with pytest.raises(DataFolderUnusable, match="does not exist: make it"):
        write_note(place.folder / "a" / "b", ScyllaSection(hosts=("a",)))
