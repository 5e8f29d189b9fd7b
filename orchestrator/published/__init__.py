"""Published numbers: what others measured, how, and where they say so. A CSV file a source, read as typed rows."""

from .library import FILES, library
from .reading import Fault, UnreadableError, read_published
from .rows import COLUMNS, Published, Run, write_published

__all__ = [
    "COLUMNS", "FILES", "Fault", "Published", "Run", "UnreadableError", "library", "read_published", "write_published"
]  # fmt: skip
