"""What `deploy/` starts: checked as far as that goes without starting it."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from actors.cli import main as program
from cluster.runtime.settings import Settings, load_settings
from cluster.runtime.store_kind import StoreKind
from tests.support.settings_place import Place

ROOT = Path(__file__).resolve().parents[4]
DEPLOY = ROOT / "deploy"
NODES = ("scylla-1", "scylla-2", "scylla-3")
# Of the Compose Specification, what may stand in a service.
KEYS = {
    *("build", "command", "depends_on", "environment", "healthcheck", "hostname", "image", "init"),
    *("networks", "restart", "shm_size", "stop_grace_period", "stop_signal", "volumes"),
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(compose["services"])


def test_the_file_has_the_parts_that_compose_knows(
    compose: dict[str, Any], services: dict[str, dict[str, Any]]
) -> None:
    own = {key for key in compose if not key.startswith("x-")}
    assert own == {"name", "services", "networks", "volumes"}
    assert set(services) == {*NODES, "schema", "platform"}
    for name, service in services.items():
        assert set(service) <= KEYS, name
        assert set(service["networks"]) <= set(compose["networks"])
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[0] in compose["volumes"]
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services
            has_end = services[needed].get("restart") == "no"
            assert how["condition"] == (
                "service_completed_successfully" if has_end else "service_healthy"
            )


def test_the_server_is_pinned_to_a_release_and_has_two_cores_a_node(
    services: dict[str, dict[str, Any]],
) -> None:
    images = {services[node]["image"] for node in NODES}
    assert len(images) == 1
    assert re.fullmatch(r"scylladb/scylla:\d{4}\.\d+\.\d+", images.pop())
    for node in NODES:
        command = shlex.split(services[node]["command"])
        assert command[command.index("--smp") + 1] == "2"
        assert "--seeds=scylla-1" in command
        assert services[node]["volumes"] == [f"{node}:/var/lib/scylla"]
        # A mapped port would hide the source port, by which a connection asks for its core.
        assert "ports" not in services[node]


@pytest.mark.parametrize("name", ["schema", "platform"])
def test_the_platforms_settings_are_settings(
    services: dict[str, dict[str, Any]], place: Place, name: str
) -> None:
    for variable, value in services[name]["environment"].items():
        assert isinstance(value, str), f"{variable}: compose would write it in its own way"
        place.variable(variable, value)
    settings: Settings = load_settings()
    assert settings.store is StoreKind.SCYLLA
    assert settings.scylla.hosts == NODES
    assert settings.scylla.replication == len(NODES)


@pytest.mark.parametrize("name", ["schema", "platform"])
def test_what_is_run_are_commands(services: dict[str, dict[str, Any]], name: str) -> None:
    first, *rest = shlex.split(services[name]["command"])
    assert first in program.COMMANDS
    assert rest == [] or rest[0] in program.GROUPS[first]


def test_the_image_is_made_of_what_is_there() -> None:
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    [base] = [line for line in lines if line.startswith("FROM ")]
    assert re.fullmatch(r"FROM python:3\.\d+\.\d+-slim-\w+", base)
    copied = {path for line in lines if line.startswith("COPY ") for path in line.split()[1:-1]}
    for path in copied:
        assert (ROOT / path).exists(), path
    assert {"pipeline", "cluster", "actors"} <= copied
    assert 'ENTRYPOINT ["shardpost"]' in lines
    assert "USER shardpost" in lines


def test_the_checks_look_for_what_the_program_says(services: dict[str, dict[str, Any]]) -> None:
    [_, test] = services["platform"]["healthcheck"]["test"]
    command, _, pattern = test.partition(" | grep -q ")
    assert shlex.split(command)[:2] == ["shardpost", "status"]
    assert shlex.split(pattern) == ['"is_running":true']
    assert typer.main.get_command(program.app) is not None
