"""The library that ssl-sweep comes with; docs/published.md says where each file is from."""

from functools import cache
from importlib.resources import files

from .reading import read_published
from .rows import Published

FILES = ("lightly.csv", "solo_learn.csv", "stable_pretraining.csv", "authors.csv")
"""In the order in which sources are listed."""


@cache
def library() -> tuple[Published, ...]:
    """All rows of all files."""
    folder = files(str(__package__))
    return tuple(row for name in FILES for row in read_published(folder.joinpath(name).read_text(encoding="utf-8")))
