"""Secrets, read by the process that uses them: settings hold only where one stands.

`env:NAME` is a variable of the environment, `file:PATH` the text of a file; white space around
either is left out, as editors and shells add it.  What is read is in no message of an error.
"""

import os
from pathlib import Path
from typing import Final

from pipeline.errors import SettingInvalid

_SECRET_CHARS_MAX: Final = 8_192


def read_secret(name: str) -> str:
    """Return the secret of that name; raises `SettingInvalid` if there is none."""
    where, _, what = name.partition(":")
    match where:
        case "env":
            text = os.environ.get(what, "")
            if not text.strip():
                raise SettingInvalid(
                    f"secret {name}: set the variable {what} where the platform is started"
                )
        case "file":
            try:
                text = Path(what).read_text(encoding="utf-8")
            except OSError as error:
                raise SettingInvalid(f"secret {name}: {error.strerror}") from None
            except UnicodeDecodeError:
                raise SettingInvalid(f"secret {name}: should be UTF-8 text") from None
        case _:
            raise SettingInvalid("a secret is named env:VARIABLE or file:PATH")
    text = text.strip()
    if not text:
        raise SettingInvalid(f"secret {name}: there is none")
    if len(text) > _SECRET_CHARS_MAX or not text.isprintable():
        raise SettingInvalid(f"secret {name}: should be one line of printable text")
    return text
