"""What an operator may set, and where it is read: one frozen `Settings`, made once at the door.

`shardpost.toml` in the working directory (or the file that SHARDPOST_CONFIG names) and variables
SHARDPOST_* are read here and nowhere else; a variable beats the file, an argument of the command
line beats both.  Whatever is wrong becomes `SettingInvalid`: one line that says where it stands,
what stands there and what may.
"""

import os
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from cluster.runtime.connector_settings import (
    SECRET_SETTINGS,
    ConnectorKind,
    ConnectorName,
    ConnectorSettings,
    FileConnectorSettings,
    HostName,
    Port,
    WholeNumber,
)
from cluster.runtime.routing import connector_routes
from cluster.runtime.scylla_settings import ScyllaSection
from cluster.runtime.setting_names import (
    CONFIG_VARIABLE,
    NESTED_DELIMITER,
    VARIABLE_PREFIX,
    SettingNames,
    known_settings,
    variable_of,
)
from cluster.runtime.store_kind import StoreKind
from cluster.runtime.store_note import read_note
from pipeline.errors import SettingInvalid
from pipeline.limits import (
    INGESTERS_MAX,
    LOCAL_NODES_MAX,
    LOCAL_SHARDS_MAX,
    SCHEDULERS_PER_CORE_MAX,
    Windows,
)

CONFIG_FILE: Final = Path("shardpost.toml")

_VALUE_CHARS_MAX: Final = 80
_SECRET: Final = frozenset(SECRET_SETTINGS)
_KINDS: Final = {(kind.value,) for kind in ConnectorKind}


class LogLevel(StrEnum):
    """The least that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a line of the log looks."""

    CONSOLE = "console"
    JSON = "json"


def _refuse_empty(value: object) -> object:
    # Path("") is the working directory, which nobody means.
    if value == "":
        raise ValueError("should name a folder")
    return value


class LocalSettings(BaseModel):
    """The shape of the made-up ring that a new data folder gets; an old one keeps its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nodes: WholeNumber = Field(default=2, ge=1, le=LOCAL_NODES_MAX)
    shards: WholeNumber = Field(default=2, ge=1, le=LOCAL_SHARDS_MAX)  # of each node


class ReceiptsSettings(BaseModel):
    """Where providers call back with what became of messages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: HostName = "127.0.0.1"
    port: Port = 8090


class Settings(BaseModel):
    """Everything that an operator may set.  Making one reads nothing; `load_settings` does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Annotated[Path, BeforeValidator(_refuse_empty)] = Path("shardpost-data")
    store: StoreKind = StoreKind.LOCAL
    # So many accept messages at least, and more under load; a maximum that is less means this many.
    ingesters: WholeNumber = Field(default=1, ge=1, le=INGESTERS_MAX)
    ingesters_max: WholeNumber = Field(default=4, ge=0, le=INGESTERS_MAX)
    # 0 and 1: the lanes of a core are never split.
    schedulers_per_core_max: WholeNumber = Field(default=4, ge=0, le=SCHEDULERS_PER_CORE_MAX)
    dashboard: bool = True
    dashboard_port: WholeNumber = Field(default=8265, ge=1, le=65_535)
    log_level: LogLevel = LogLevel.INFO
    log_format: LogFormat = LogFormat.CONSOLE
    # Ray runs its workers at 15 if nobody says otherwise: behind everything else on the machine.
    niceness: WholeNumber = Field(default=0, ge=0, le=19)
    windows: Windows = Windows()
    local: LocalSettings = LocalSettings()
    scylla: ScyllaSection = ScyllaSection()
    receipts: ReceiptsSettings = ReceiptsSettings()
    connectors: dict[ConnectorName, ConnectorSettings] = Field(
        default={"file": FileConnectorSettings()}, min_length=1
    )

    @field_validator("windows", mode="before")
    @classmethod
    def _windows_hold_numbers(cls, value: object) -> object:
        if isinstance(value, dict):
            for name, number in value.items():
                if isinstance(number, bool):
                    raise ValueError(f"{name} should be a whole number")
        return value

    @field_validator("connectors")
    @classmethod
    def _a_fallback_takes_the_same_recipients(
        cls, connectors: dict[str, ConnectorSettings]
    ) -> dict[str, ConnectorSettings]:
        try:
            connector_routes(connectors)
        except SettingInvalid as invalid:
            raise ValueError(str(invalid)) from None
        return connectors

    def has_way_out(self, channel: str) -> bool:
        """Return whether a connector takes the channel: by its name, or as one of those left."""
        return any(
            connector.weight and (channel in connector.channels or not connector.channels)
            for connector in self.connectors.values()
        )

    @property
    def has_receipts(self) -> bool:
        """Whether some provider says later what became of messages."""
        return any(one.receipt_terms is not None for one in self.connectors.values())

    def with_data(self, data: Path) -> Self:
        """Return the same settings for another data folder."""
        return self.model_copy(update={"data": data})

    def with_store(self, store: StoreKind | None, *, hosts: str | None = None) -> Self:
        """Return the same settings for another store; `hosts`, parted by commas, mean ScyllaDB.

        Raises `SettingInvalid`.
        """
        told: dict[str, object] = {}
        if hosts is not None:
            try:
                named = ScyllaSection.model_validate({"hosts": hosts}).hosts
            except ValidationError:
                raise SettingInvalid(
                    f"--hosts {hosts!r}: should be names or addresses of nodes, as a,b,c"
                ) from None
            told = {"scylla": self.scylla.model_copy(update={"hosts": named})}
            store = store or StoreKind.SCYLLA
        if store is not None:
            told["store"] = store
        return self.model_copy(update=told) if told else self

    def with_noted_store(self) -> Self:
        """Return the same settings with the store that the data folder says it has.

        What was set beats it.  Raises `DataFolderUnusable`.
        """
        if "store" in self.model_fields_set and self.store is StoreKind.LOCAL:
            return self
        noted = read_note(self.data.absolute())
        if noted is None:
            return self
        said = {name: getattr(self.scylla, name) for name in self.scylla.model_fields_set}
        return self.model_copy(
            update={"store": StoreKind.SCYLLA, "scylla": noted.model_copy(update=said)}
        )


KNOWN_SETTINGS: Final = known_settings(Settings)


class _Sources(BaseSettings, Settings):
    """The same, read: arguments of the constructor are the file's table, variables beat them."""

    model_config = SettingsConfigDict(
        env_prefix=VARIABLE_PREFIX, env_nested_delimiter=NESTED_DELIMITER
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


def load_settings(
    *, data: Path | None = None, store: StoreKind | None = None, hosts: str | None = None
) -> Settings:
    """Read the file and the environment; what the command line says beats both.

    Which store a data folder belongs to it may say itself (`store_note`).  Raises `SettingInvalid`,
    and `DataFolderUnusable` where it says something that cannot be read.
    """
    variables = {
        name.upper(): value
        for name, value in os.environ.items()
        if name.upper().startswith(VARIABLE_PREFIX)
    }
    file, table = _read_file(variables.get(CONFIG_VARIABLE))
    names = SettingNames(KNOWN_SETTINGS)
    for refusal in names.refusals_of_table(table):
        raise SettingInvalid(f"{file}: {refusal}")
    for refusal in names.refusals_of_variables(variables):
        raise SettingInvalid(refusal)
    try:
        read = _Sources(**table)
    except ValidationError as error:
        raise SettingInvalid(_told(error, file, variables)) from None
    except SettingInvalid as error:
        # The windows look at each other, not at where they came from.
        where = [name for name in variables if name.startswith(variable_of(("windows", "")))]
        if "windows" in table:
            where.append(str(file))
        raise SettingInvalid(f"{', '.join(where)}: {error}") from None
    settings = Settings.model_construct(
        # What was set stays known: an old data folder is held against a shape that was asked for.
        _fields_set=read.model_fields_set,
        **{name: getattr(read, name) for name in Settings.model_fields},
    )
    if data is not None:
        settings = settings.with_data(data)
    settings = settings.with_store(store, hosts=hosts)
    return settings.with_noted_store()


def _read_file(named: str | None) -> tuple[Path, dict[str, Any]]:
    """Return the file's path and table; a file that is not named need not be there."""
    file = CONFIG_FILE if named is None else Path(named)
    try:
        return file, tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if named is None:
            return file, {}
        raise SettingInvalid(f"{CONFIG_VARIABLE} = {named!r}: there is no such file") from None
    except OSError as error:
        raise SettingInvalid(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingInvalid(f"{file}: should be UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingInvalid(f"{file}: is not TOML: {error}") from None


def _told(error: ValidationError, file: Path, variables: Mapping[str, str]) -> str:
    """Return one line about the first thing that is wrong."""
    first = error.errors(include_url=False, include_context=False)[0]
    path = tuple(str(part) for part in first["loc"])
    if path[:1] == ("connectors",) and path[2:3] in _KINDS:
        # The validator notes which of several kinds it followed.
        path = (*path[:2], *path[3:])
    if first["type"] in ("union_tag_not_found", "union_tag_invalid"):
        path = (*path, "kind")
    if first["type"] in ("missing", "union_tag_not_found"):
        section = variable_of((*path[:-1], ""))
        if any(variable.startswith(section) for variable in variables):
            return f"{variable_of(path)} is missing"
        return f"{file}: {'.'.join(path)} is missing"
    # Below a setting stand positions in a list and notes of the validator's own.
    for end in range(len(path), 0, -1):
        if (variable := variable_of(path[:end])) in variables:
            where, value = variable, variables[variable]
            break
    else:
        where, value = f"{file}: {'.'.join(path)}", first["input"]
    match first["type"]:
        case "union_tag_invalid":
            # The whole section stands there, unless a variable holds the kind.
            value = value if where == variable_of(path) else first["input"]["kind"]
            allowed = f"should be {' or '.join(repr(kind.value) for kind in ConnectorKind)}"
        case "extra_forbidden":
            allowed = "is a setting of another kind of connector"
        case _:
            allowed = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    if _SECRET.intersection(path):
        # It may be the secret itself, written where its name belongs.
        return f"{where}: should name where the secret stands, as env:VARIABLE or file:PATH"
    shown = repr(value)
    if len(shown) > _VALUE_CHARS_MAX:
        shown = shown[:_VALUE_CHARS_MAX] + "..."
    return f"{where} = {shown}: {allowed}"
