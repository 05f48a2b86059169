"""What Ray reads from the environment of a process, once, when it is imported.

So this must run before `import ray`, and knows nothing of Ray itself.  Nobody but the owner of the
data folder can join the cluster: the token lies in the folder.
"""

import os
import secrets
import sys
from pathlib import Path
from typing import Final

_TOKEN_FILE: Final = "ray-token"
# A chunk of a thousand short messages travels inside its call, not through the object store.
_CALL_BYTES_MAX: Final = 1_000_000
_START_PATIENCE_S: Final = 120


def prepare_ray_environment(data_folder: Path, *, niceness: int) -> None:
    """Set what Ray reads; the folder must be there.  Ray must not be imported yet."""
    assert "ray" not in sys.modules, "Ray has read its environment already"
    os.environ.update(
        {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": str(niceness),
            "RAY_max_direct_call_object_size": str(_CALL_BYTES_MAX),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token_path(data_folder)),
            # A busy machine starts slowly; who waits for it has a limit of his own.
            "RAY_raylet_start_wait_time_s": str(_START_PATIENCE_S),
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        }
    )


def token_path(data_folder: Path) -> Path:
    """Return the path of the token; the token is made at the first call."""
    path = data_folder / _TOKEN_FILE
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return path
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    return path
