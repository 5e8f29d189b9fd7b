"""The user's own published numbers: a CSV file that a sweep file names as `published`."""

from pathlib import Path

from ..published import Fault, Published, UnreadableError, read_published
from .errors import Problem, SpecError, UserError
from .models import SweepSpec
from .yaml_document import Document


def published_problems(document: Document) -> list[Problem]:
    """What is wrong with the file that the sweep file names, each with its line."""
    place = document.data.get("published")
    if not isinstance(place, str) or not place:
        return []  # nothing is named, or what its type has to be is said already
    try:
        read_published_file(Path(place))
    except SpecError as error:
        return error.problems
    except UserError as error:
        return [document.problem(("published",), f"published: {error}")]
    return []


def own_published(spec: SweepSpec) -> tuple[Published, ...]:
    """The rows of the file that the sweep names; none if it names none.

    Raises:
        UserError: the file is no longer as it was when the sweep file was checked.
    """
    return () if spec.published is None else read_published_file(Path(spec.published))


def read_published_file(path: Path) -> tuple[Published, ...]:
    """Read a file of published numbers.

    Raises:
        SpecError: with every fault in it, and its line.
        UserError: there is no such file, or it is no text.
    """
    name = f"'{path}'" if str(path).isprintable() else repr(str(path))
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"got {name}; must be a CSV file in UTF-8") from None
    except OSError as error:
        raise UserError(f"got {name}; cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise UserError(f"got {name}; no file can have this name") from None
    try:
        return read_published(text)
    except UnreadableError as error:
        raise SpecError([_problem(path, fault) for fault in error.faults]) from None


def _problem(path: Path, fault: Fault) -> Problem:
    return Problem(str(path), (fault.line, 1), fault.message)
