"""Temporary folders: each is named after its process, so that those of a process that was killed can be told and removed."""

import re
import shutil
import tempfile
from os import getpid
from pathlib import Path

from .checked import digest
from .processes import has_ended, machine, started

NAME = re.compile(r"ssl-sweep-([0-9a-f]{8})-(\d+)-(\d+)-")


def prefix() -> str:
    """Of the names of this process's temporary folders."""
    return f"ssl-sweep-{_here()}-{getpid()}-{started(getpid())}-"


def remove_abandoned() -> None:
    """Remove the temporary folders of processes of this machine that have ended without doing so."""
    for folder in Path(tempfile.gettempdir()).glob("ssl-sweep-*"):
        name = NAME.match(folder.name)
        if name and name[1] == _here() and has_ended(int(name[2]), int(name[3])):
            shutil.rmtree(folder, ignore_errors=True)  # it may be another user's


def _here() -> str:
    return digest(machine().encode())[:8]
