"""Which process this is on which machine, and whether a process that was once seen still lives. Linux tells all of it."""

import os
from pathlib import Path


def machine() -> str:
    """What numbers of processes are relative to: this boot of the kernel, and this container's namespace. Empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def started(pid: int) -> int:
    """When the process started, in the kernel's ticks since its boot; 0 if the system does not tell."""
    fields = _fields(pid)
    return 0 if fields is None else int(fields[19])


def has_ended(pid: int, started_at: int) -> bool:
    """Whether the process of this number and start has ended; its number may have been used again."""
    fields = _fields(pid)
    if fields is not None:
        return fields[0] in "ZX" or int(fields[19]) != started_at
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's, which this system hides
        return False
    return False


def _fields(pid: int) -> list[str] | None:
    """Of ``/proc/<pid>/stat``, from the state on; the name before it may hold spaces and parentheses."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
