"""The commands with all their options, from the command line itself.

    python docs/commands.py

writes `docs/commands.md`.
"""

from collections.abc import Iterator
from pathlib import Path

import click
from ssl_sweep.orchestrator.cli.main import main

PAGE = Path(__file__).resolve().parent / "commands.md"
HEAD = """# Commands

What `ssl-sweep COMMAND --help` prints, made by `python docs/commands.py`. What the commands do together is in
[Steering a sweep](steering.md); [From Python](python.md) has some of them as functions. Exit status: 0; 1 if a trial failed; 2 for wrong
input; 130 if the user stopped it.
"""
WIDTH = 100
"""Of a line, in characters."""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_sections()])


def _sections() -> Iterator[str]:
    settings = {**main.context_settings, "max_content_width": WIDTH}
    top = click.Context(main, info_name="ssl-sweep", terminal_width=WIDTH, **settings)
    for name, command in main.commands.items():
        context = click.Context(command, info_name=name, parent=top, terminal_width=WIDTH, max_content_width=WIDTH)
        yield f"## {name}\n\n```text\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page())
