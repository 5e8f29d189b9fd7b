"""Errors for programs: what ``--json`` prints of them, the same for every command.

    {"errors": [{"file": "sweep.yaml", "line": 3, "column": 10, "where": "pretrain.epochs", "given": "0",
                 "allowed": "must be at least 1", "message": "pretrain.epochs: got 0; must be at least 1"}]}

`given` and `allowed` are text, as the message has them; what an error does not tell is null.
"""

import json
import re

import click

from ..spec.errors import SpecError, UserError

WHERE = re.compile(r"(?P<where>(?:--|[A-Za-z_])[^\s:]*): (?P<rest>.*)", re.DOTALL)
TEXT = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*" """.strip()
GIVEN = re.compile(rf"got (?P<given>{TEXT}|[^;]+); (?P<allowed>.+)", re.DOTALL)
UNKNOWN = re.compile(rf"unknown [a-z ]+ (?P<given>{TEXT})[^(]*\((?:allowed: )?(?P<allowed>.+)\)", re.DOTALL)


def errors_json(error: UserError) -> str:
    """One object with all errors."""
    if isinstance(error, SpecError):
        found = [_told(p.message, p.file, *(at or None for at in p.position)) for p in error.problems]
    else:
        found = [_told(str(error))]
    return _object(found)


def usage_json(error: click.ClickException) -> str:
    """Of a command line that is wrong."""
    told = _told(error.format_message())
    if isinstance(error, click.BadParameter) and error.param is not None:
        told["where"] = (
            error.param.opts[0] if isinstance(error.param, click.Option) else error.param.human_readable_name
        )
    elif isinstance(error, click.NoSuchOption):
        allowed = ", ".join(error.possibilities or ()) or None
        told |= {"where": error.option_name, "given": error.option_name, "allowed": allowed}
    return _object([told])


def _object(errors: list[dict[str, str | int | None]]) -> str:
    return json.dumps({"errors": errors}, indent=2)


def _told(
    message: str, file: str | None = None, line: int | None = None, column: int | None = None
) -> dict[str, str | int | None]:
    placed = WHERE.fullmatch(message)
    rest = placed["rest"] if placed else message
    match = GIVEN.search(rest) or UNKNOWN.search(rest)
    return {
        "file": file,
        "line": line,
        "column": column,
        "where": placed["where"] if placed else None,
        "given": _bare(match["given"]) if match else None,
        "allowed": match["allowed"] if match else None,
        "message": message,
    }


def _bare(given: str) -> str:
    """Text without its quotes."""
    return given[1:-1] if len(given) > 1 and given[0] == given[-1] and given[0] in "'\"" else given
