"""What a data folder says of its store: which cluster holds the messages of its platform.

A platform on ScyllaDB keeps little on its machine: its lock, its bells, the token of its Ray, what
its file connector wrote.  That it is on ScyllaDB, and where, is noted there as well, so that
`shardpost status --data DATA` asks the right store without being told again.  The note holds no
secret.
"""

import os
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from cluster.runtime.scylla_settings import ScyllaSection
from pipeline.errors import DataFolderUnusable

NOTE_FILE: Final = "store.json"
_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_FILE_SECRET: Final = "file:"
# What `cluster.local` writes in a folder of its own.
_EMBEDDED_FILE: Final = "format.json"


class _Note(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    scylla: ScyllaSection


def read_note(folder: Path) -> ScyllaSection | None:
    """Return where the folder's store is, None if it says nothing of ScyllaDB.

    Raises `DataFolderUnusable` for a note that is damaged.
    """
    path = folder / NOTE_FILE
    try:
        return _Note.model_validate_json(path.read_bytes()).scylla
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataFolderUnusable(f"{path}: {error.strerror}: mend it, or name another") from None
    except ValidationError:
        raise DataFolderUnusable(
            f"{path} is damaged: remove it, and start the platform with --store scylla --hosts …"
        ) from None


def write_note(folder: Path, section: ScyllaSection) -> None:
    """Make the folder if it is not there, and note where its store is.

    Raises `DataFolderUnusable`.
    """
    refuse_embedded(folder)
    path, begun = folder / NOTE_FILE, folder / f"{NOTE_FILE}.{os.getpid()}.begun"
    try:
        folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        content = _Note(scylla=_by_whole_paths(section)).model_dump_json(indent=1).encode()
        if path.exists() and path.read_bytes() == content:
            return
        descriptor = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        begun.rename(path)
    except FileNotFoundError:
        raise DataFolderUnusable(
            f"{folder.parent} does not exist: make it, or name another data folder"
        ) from None
    except OSError as error:
        raise DataFolderUnusable(
            f"{folder}: {error.strerror}: give this user the folder, or name another"
        ) from None


def refuse_embedded(folder: Path) -> None:
    """Raise `DataFolderUnusable` if messages lie in the folder itself."""
    if (folder / _EMBEDDED_FILE).exists():
        raise DataFolderUnusable(
            f"{folder} is the folder of an embedded store: name another with --data, as its"
            " messages would not be found on ScyllaDB"
        )


def _by_whole_paths(section: ScyllaSection) -> ScyllaSection:
    """Return the same for whoever stands in another working directory."""

    def whole(path: str) -> str:
        return path and str(Path(path).absolute())

    password = section.password
    if password is not None and password.startswith(_FILE_SECRET):
        password = _FILE_SECRET + whole(password.removeprefix(_FILE_SECRET))
    return section.model_copy(
        update={
            "password": password,
            "tls_ca": whole(section.tls_ca),
            "tls_certificate": whole(section.tls_certificate),
            "tls_key": whole(section.tls_key),
        }
    )
