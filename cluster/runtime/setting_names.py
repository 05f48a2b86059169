"""The names that settings have, read off the model that holds them, and the nearest to a wrong one.

A setting has two names: a dotted one in the file (`windows.steal_after_ms`) and a variable
(`SHARDPOST_WINDOWS__STEAL_AFTER_MS`).  A name that nobody knows is refused, as a setting that was
misspelt and silently not used is found only when it was needed.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

VARIABLE_PREFIX: Final = "SHARDPOST_"
# Names the file itself, so it cannot stand in it.
CONFIG_VARIABLE: Final = "SHARDPOST_CONFIG"
NESTED_DELIMITER: Final = "__"

_ANY_NAME: Final = "<name>"


@dataclass(frozen=True, slots=True)
class KnownSetting:
    """One setting; a part of its path that the operator chooses is `<name>`."""

    path: tuple[str, ...]
    default: object

    @property
    def name(self) -> str:
        """Return the name in the file."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """Return the name in the environment."""
        return variable_of(self.path)


def variable_of(path: tuple[str, ...]) -> str:
    """Return the name in the environment of the setting with this path."""
    return VARIABLE_PREFIX + NESTED_DELIMITER.join(path).upper()


def known_settings(model: type[BaseModel]) -> tuple[KnownSetting, ...]:
    """Return every setting of the model, in the order it declares them."""
    return tuple(_leaves((), model))


def _leaves(path: tuple[str, ...], kind: object) -> Iterator[KnownSetting]:
    if get_origin(kind) is Annotated:
        # A union whose members are told apart by one of their settings, which has to be given.
        union, told_apart_by = get_args(kind)
        yield KnownSetting((*path, told_apart_by.discriminator), None)
        merged: dict[tuple[str, ...], KnownSetting] = {}
        for member in get_args(union):
            for leaf in _leaves(path, member):
                if leaf.path[-1] == told_apart_by.discriminator:
                    continue
                # The page of settings tells one default for each name.
                if merged.setdefault(leaf.path, leaf) != leaf:
                    raise TypeError(f"two defaults for {leaf.name}")
        yield from merged.values()
        return
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields: dict[str, tuple[object, object]] = {
            name: (field.annotation, field.get_default(call_default_factory=True))
            for name, field in kind.model_fields.items()
        }
    elif dataclasses.is_dataclass(kind):
        fields = {field.name: (field.type, field.default) for field in dataclasses.fields(kind)}
    else:
        raise TypeError(f"not a section: {kind}")
    for name, (annotation, default) in fields.items():
        if get_origin(annotation) is dict:
            yield from _leaves((*path, name, _ANY_NAME), get_args(annotation)[1])
        elif dataclasses.is_dataclass(annotation) or (
            isinstance(annotation, type) and issubclass(annotation, BaseModel)
        ):
            yield from _leaves((*path, name), annotation)
        else:
            yield KnownSetting((*path, name), None if default is PydanticUndefined else default)


class SettingNames:
    """What may be written in the file and in the environment."""

    def __init__(self, known: tuple[KnownSetting, ...]) -> None:
        self._leaves = {setting.path for setting in known}
        self._sections = {path[:end] for path in self._leaves for end in range(1, len(path))}

    def refusals_of_table(self, table: Mapping[str, Any]) -> Iterator[str]:
        """Yield a sentence for each name in the file's table that is wrong."""
        yield from self._refusals((), (), table)

    def _refusals(
        self, path: tuple[str, ...], pattern: tuple[str, ...], table: Mapping[str, Any]
    ) -> Iterator[str]:
        for key, value in table.items():
            here = (*path, key)
            if (meant := self._pattern_of(pattern, key)) is None:
                yield f"unknown setting {'.'.join(here)}{self._nearest_name(here)}"
            elif meant in self._sections:
                if isinstance(value, dict):
                    yield from self._refusals(here, meant, value)
                else:
                    yield f"{'.'.join(here)} should be a table of settings, as [{'.'.join(here)}]"

    def refusals_of_variables(self, variables: Mapping[str, str]) -> Iterator[str]:
        """Yield a sentence for each variable of ours that names no setting."""
        for variable in variables:
            if not variable.upper().startswith(VARIABLE_PREFIX):
                continue
            if variable.upper() != CONFIG_VARIABLE and not self._is_known_variable(variable):
                yield f"unknown setting {variable}{self._nearest_variable(variable)}"

    def _is_known_variable(self, variable: str) -> bool:
        pattern: tuple[str, ...] = ()
        for part in variable[len(VARIABLE_PREFIX) :].lower().split(NESTED_DELIMITER):
            if (meant := self._pattern_of(pattern, part)) is None:
                return False
            pattern = meant
        return pattern in self._leaves

    def _pattern_of(self, pattern: tuple[str, ...], part: str) -> tuple[str, ...] | None:
        for candidate in ((*pattern, part), (*pattern, _ANY_NAME)):
            if candidate in self._leaves or candidate in self._sections:
                return candidate
        return None

    def _nearest_name(self, path: tuple[str, ...]) -> str:
        names = sorted(".".join(known) for known in self._leaves | self._sections)
        if near := get_close_matches(".".join(path), names, n=1):
            return _question(near[0])
        # It may stand in the wrong section.
        by_last = {known[-1]: ".".join(known) for known in sorted(self._leaves)}
        if near := get_close_matches(path[-1], by_last, n=1):
            return _question(by_last[near[0]])
        return f"; known are: {', '.join(sorted({known[0] for known in self._leaves}))}"

    def _nearest_variable(self, variable: str) -> str:
        names = [*sorted(variable_of(path) for path in self._leaves), CONFIG_VARIABLE]
        near = get_close_matches(variable.upper(), names, n=1, cutoff=0)
        return _question(near[0])


def _question(name: str) -> str:
    return f"; did you mean {name}?"
