"""The group of all commands: a wrong command line is told as JSON where JSON is asked for."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from .error_json import usage_json

AS_JSON = "--json"


class Commands(click.Group):
    """As click's group."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run the command line; with ``--json``, errors of it are one object on stdout, and the exit status the same."""
        given = sys.argv[1:] if args is None else list(args)
        if AS_JSON not in given or not extra.get("standalone_mode", True):
            return super().main(args, *rest, **extra)
        try:
            status = super().main(args, *rest, **{**extra, "standalone_mode": False})
        except click.ClickException as error:
            click.echo(usage_json(error))
            sys.exit(error.exit_code)
        except click.Abort:
            click.echo("Aborted!", err=True)
            sys.exit(1)
        sys.exit(status if isinstance(status, int) else 0)
