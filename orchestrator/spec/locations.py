"""Places that a sweep file names: the store and the images. Whole after this, wherever a command is started."""

import os
import re
from pathlib import Path
from urllib.parse import unquote

VARIABLE = re.compile(r"\$(?:\{(?P<braced>[^}]*)\}|(?P<plain>[A-Za-z_][A-Za-z0-9_]*))")
FILE = "file://"


def expanded(text: str) -> str:
    """`text` with ``$NAME``, ``${NAME}`` and a leading ``~`` replaced.

    Raises:
        ValueError: a variable is not set, there is no such user, or no place can have this name.
    """

    def value(match: re.Match[str]) -> str:
        name = match["braced"] if match["plain"] is None else match["plain"]
        if not os.environ.get(name):
            raise ValueError(f"the environment variable '{name}' is not set")
        return os.environ[name]

    plain = VARIABLE.sub(value, text)
    if "\0" in plain:
        raise ValueError("a null character is in no path")
    try:
        return str(Path(plain).expanduser()) if plain.startswith("~") else plain
    except RuntimeError:
        raise ValueError("no home folder is known for this user") from None


def whole(text: str, base: Path) -> str:
    """`text` as an absolute path, a relative one taken from the folder `base`; addresses such as ``s3://`` stay."""
    return text if "://" in text else os.path.abspath(base / text)  # noqa: PTH100  # `..` must go, links must stay


def without_file_scheme(text: str) -> str:
    """``file:///folder`` as ``/folder``; anything else as it is.

    Raises:
        ValueError: the address names a host, or no absolute path.
    """
    if not text.startswith(FILE):
        return text
    host, slash, path = text.removeprefix(FILE).partition("/")
    if host not in ("", "localhost") or not slash:
        raise ValueError("a file address takes an absolute path, as in file:///home/me/runs")
    return unquote(f"/{path}")


def is_address(text: str) -> bool:
    """Whether a whole place is on an object store rather than a disk."""
    return "://" in text


def is_relative(text: str) -> bool:
    """Whether the place that `text` names depends on where it is written."""
    return "://" not in text and not text.startswith(("/", "~", "$"))
