"""A file that comes back in the output of a job: lines of base64 among lines of text, then a checksum."""

import base64
import contextlib
import hashlib

import click

from ..spec.errors import UserError

PART, END = "-- ssl-sweep file: ", "-- ssl-sweep file ends: "
BYTES = 6000
"""Of the file in a line: a job's output is sent in parts of ten lines."""


def print_file(content: bytes) -> None:
    """Print a file for `FileReader`."""
    for begin in range(0, len(content), BYTES):
        click.echo(PART + base64.b64encode(content[begin : begin + BYTES]).decode())
    click.echo(END + hashlib.sha256(content).hexdigest())


class FileReader:
    """Hears the output of a job: keeps the file in it, and passes the rest on to stderr."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._digest = ""

    def hear(self, line: str) -> None:
        """Take in a line, with its end."""
        if line.startswith(PART):
            self._parts.append(line.removeprefix(PART))
        elif line.startswith(END):
            self._digest = line.removeprefix(END).strip()
        else:
            click.echo(line, nl=False, err=True)

    def content(self) -> bytes:
        """The file. Raises UserError if a part of it was lost on the way."""
        with contextlib.suppress(ValueError):  # half a line
            content = b"".join(map(base64.b64decode, self._parts))
            if hashlib.sha256(content).hexdigest() == self._digest:
                return content
        raise UserError("the connection to the Ray Jobs server was lost before all results came; try again")
