"""Results of several sweeps for one report: of sweep files, and of folders that a sweep's report was written to."""

import gzip
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from ..report.write import KEPT_RESULT
from ..spec.errors import UserError
from ..store.records import SweepResult
from .results import with_details
from .status import stored_sweep


def results_of(places: Sequence[str]) -> list[SweepResult]:
    """The results of each place, with names that tell them apart.

    Args:
        places: sweep files, or folders: a sweep's in its store, or a report's, which may have been copied.

    Raises:
        UserError: a place is neither, is given twice, or has no results that this version can read.
    """
    resolved = [Path(place).resolve() for place in places]
    twice = next((place for place, path in zip(places, resolved, strict=True) if resolved.count(path) > 1), None)
    if twice is not None:
        raise UserError(f"{twice}: is given twice; name each sweep once")
    results = [_result(Path(place)) for place in places]
    names = Counter(result.name for result in results)
    return [
        result if names[result.name] == 1 else result.model_copy(update={"name": f"{result.name} ({place})"})
        for result, place in zip(results, places, strict=True)
    ]


def _result(path: Path) -> SweepResult:
    if not path.is_dir():
        stored = stored_sweep(path)
        return with_details(stored.result(""), stored.store)
    file = next((file for file in (path / KEPT_RESULT, path / "report" / KEPT_RESULT) if file.is_file()), None)
    if file is None:
        raise UserError(
            f"{path}: no {KEPT_RESULT} in this folder or in its report/; give a sweep file, the folder of a sweep in its store, or "
            "of its report; for a report of an earlier version, run `ssl-sweep report SWEEP` first"
        )
    try:
        return SweepResult.model_validate_json(gzip.decompress(file.read_bytes()))
    except (OSError, EOFError, ValidationError) as error:
        raise UserError(f"{file}: cannot be read: {str(error).splitlines()[0]}") from None
