"""Looks at a running platform's actors through Ray, and may put a double beside one of them.

Ray's list is not what the registry believes: it tells who runs under which name as which process,
and who ever ran.  A program of its own, joined to the platform's Ray, because Ray reads its
environment once, when it is imported; one command a line, one line of JSON as the answer.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from actors.config import PLATFORM_ID_BYTES, PlatformConfig
from actors.names import (
    OWNER_BYTES,
    REGISTRY,
    ActorKey,
    IngesterKey,
    SchedulerKey,
    actor_name,
    parse_name,
)
from cluster.local.platform_lock import read_platform
from cluster.runtime.ray_environment import prepare_ray_environment
from cluster.runtime.settings import load_settings
from tests.support.platform_process import ROOT, environment, kill_tree

_PATIENCE_S = 5.0
_ANSWER = "answer: "


@dataclass(frozen=True, kw_only=True)
class Actors:
    """The actors of a platform."""

    registry_pid: int  # 0: it does not run
    alive: Mapping[str, int]  # name -> pid of the schedulers and ingesters
    names: frozenset[str]  # that a scheduler or ingester ever had

    def at(self, key: ActorKey) -> list[str]:
        """The names of those that live at a place."""
        return [name for name in self.alive if key_of(name) == key]


def key_of(name: str) -> ActorKey:
    return _parsed(name)[0]


def owner_of(name: str) -> bytes:
    return _parsed(name)[1]


def _parsed(name: str) -> tuple[ActorKey, bytes]:
    parsed = parse_name(name)
    assert parsed is not None, name
    return parsed


class Onlooker:
    """The program, asked; a context manager that ends it."""

    def __init__(self, data: Path, variables: Mapping[str, str]) -> None:
        self._command = [sys.executable, "-m", "tests.support.onlooker", str(data)]
        self._environment = environment(**variables)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        kill_tree(self._process)

    def actors(self) -> Actors:
        """Who runs, and who ever ran."""
        told = self._ask("actors")
        return Actors(
            registry_pid=told["registry_pid"],
            alive=told["alive"],
            names=frozenset(told["names"]),
        )

    def running(self) -> set[str]:
        """Who serves as the registry sees it; nobody while a place is empty or it is silent."""
        status = self._ask("status")
        return set(status["running"].values()) if status.get("is_complete") else set()

    def lanes(self, name: str) -> list[dict[str, Any]]:
        """What a scheduler says of its lanes; nothing if it is silent."""
        lanes: list[dict[str, Any]] = self._ask("lanes", name)
        return lanes

    def put_beside(self, name: str) -> str:
        """Start another one of its core, or of the pool, at a place of its own; return its name."""
        return str(self._ask("beside", name))

    def hand_over(self, name: str, lanes: Iterable[str], *, heir: str) -> None:
        """Let a scheduler begin to give lanes to another one."""
        self._ask("hand_over", name, heir, *lanes)

    def put_double(self, name: str) -> str:
        """Start a second scheduler at the place of this one; return its name."""
        return str(self._ask("double", name))

    def _ask(self, *words: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*words, file=self._process.stdin, flush=True)
        while answer := self._process.stdout.readline():
            # Ray tells whoever made an actor of its death, between the answers.
            if answer.startswith(_ANSWER):
                return json.loads(answer.removeprefix(_ANSWER))
        raise AssertionError(f"no answer to {words}")


# --- the program ----------------------------------------------------------------------------------


def _actors() -> dict[str, Any]:
    from ray._private.state import actors

    everybody = list(actors().values())
    alive = {actor["Name"]: actor["Pid"] for actor in everybody if actor["State"] == "ALIVE"}
    return {
        "registry_pid": alive.pop(REGISTRY, 0),
        "alive": alive,
        "names": [actor["Name"] for actor in everybody if actor["Name"] != REGISTRY],
    }


async def _status() -> Mapping[str, Any]:
    from actors.handles import ActorGone, find_registry

    registry = find_registry()
    try:
        return {} if registry is None else await asyncio.wait_for(registry.status(), _PATIENCE_S)
    except (ActorGone, TimeoutError):
        return {}


async def _lanes(data: Path, name: str) -> Any:
    try:
        report = await asyncio.wait_for(_world(data, name).ask_health(name), _PATIENCE_S)
        return report["lanes"]
    except TimeoutError:
        return []


async def _put_beside(data: Path, name: str) -> str:
    key, owner = _parsed(name)
    if isinstance(key, SchedulerKey):
        return await _put(data, SchedulerKey(key.core, key.part + 1), owner)
    assert isinstance(key, IngesterKey)
    return await _put(data, IngesterKey(key.number + 1), owner)


async def _put_double(data: Path, name: str) -> str:
    return await _put(data, *_parsed(name))


async def _put(data: Path, key: ActorKey, owner: bytes) -> str:
    double = owner[:PLATFORM_ID_BYTES] + os.urandom(OWNER_BYTES - PLATFORM_ID_BYTES)
    double_name = actor_name(key, double)
    await _world(data, double_name).create(key, name=double_name, owner=double)
    return double_name


def _world(data: Path, name: str) -> Any:
    """Ray as the registry sees it on the platform that this actor belongs to."""
    from actors.handles import RayActorWorld

    return RayActorWorld(
        PlatformConfig(
            platform_id=owner_of(name)[:PLATFORM_ID_BYTES],
            data_folder=str(data),
            settings=load_settings(data=data),
        )
    )


async def _answer(data: Path, command: str, names: list[str]) -> Any:
    match command:
        case "actors":
            return _actors()
        case "status":
            return await _status()
        case "lanes":
            return await _lanes(data, *names)
        case "beside":
            return await _put_beside(data, *names)
        case "hand_over":
            name, heir, *lanes = names
            return await _world(data, name).hand_over(name, lanes, heir=heir)
        case "double":
            return await _put_double(data, *names)
        case other:
            raise AssertionError(other)


async def _serve(data: Path) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        command, *names = line.split()
        told = json.dumps(await _answer(data, command, names))
        print(f"{_ANSWER}{told}", flush=True)  # noqa: T201


def main(data: Path) -> None:
    address = read_platform(data)
    prepare_ray_environment(data, niceness=0)
    from cluster.runtime.embedded_ray import join_embedded_ray, stop_ray

    join_embedded_ray(address=address.ray_address, namespace=address.namespace)
    try:
        asyncio.run(_serve(data))
    finally:
        stop_ray()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
