"""`ray_config.yaml` is a cluster-launcher file and nothing else."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

FILE = Path(__file__).resolve().parents[2] / "ray_config.yaml"


@pytest.fixture
def config() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def test_rays_own_schema_takes_the_file(config: dict[str, Any]) -> None:
    validate_config(prepare_config(config))


def test_rays_own_schema_refuses_a_key_of_ours(config: dict[str, Any]) -> None:
    config["shardpost"] = {}
    with pytest.raises(jsonschema.ValidationError, match="shardpost"):
        validate_config(prepare_config(config))


def test_there_are_as_many_workers_as_machines(config: dict[str, Any]) -> None:
    count = len(config["provider"]["worker_ips"])
    assert (config["min_workers"], config["max_workers"]) == (count, count)


def test_every_worker_says_which_node_it_stands_beside(config: dict[str, Any]) -> None:
    (start,) = (line for line in config["worker_start_ray_commands"] if "ray start" in line)
    assert "scylla-host=$(hostname -I" in start


def test_every_machine_installs_the_project_and_keeps_its_workers_awake(
    config: dict[str, Any],
) -> None:
    assert config["setup_commands"] == ["cd ~/shardpost && make set-up"]
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        (start,) = (line for line in config[commands] if "ray start" in line)
        assert "RAY_worker_niceness=0" in start
