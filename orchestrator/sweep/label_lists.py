"""Label lists of a sweep: their digests, and the rows of its data sets that they name."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...datasets.errors import DataError
from ...datasets.prepared import Prepared
from ...evaluation.base import EvaluationConfig
from ...evaluation.labels import LabelList
from ..spec.errors import UserError
from ..spec.models import TrialSpec
from ..store.files import Store
from ..store.label_lists import LabelListStore
from .plan import Datasets


def filled(labels: LabelList, submitted: Iterable[LabelList], *, must_be_there: bool) -> LabelList:
    """The list with its digest and the number of its lines.

    Args:
        labels: as the sweep names it.
        submitted: those of the last submit; one of them is taken if the file is gone and need not be there.
        must_be_there: otherwise.

    Raises:
        UserError: it cannot be read, names nothing, or is not the one whose digest is given.
    """
    try:
        content = Path(labels.list).read_bytes()
        count = len(_lines(content))
    except (OSError, UnicodeDecodeError) as error:
        known = next((one for one in submitted if one.list == labels.list), None)
        if known is not None and not must_be_there:
            return known
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UserError(f"'{labels.list}' cannot be read: {reason}") from None
    if not count:
        raise UserError(f"'{labels.list}' lists no image")
    sha256 = hashlib.sha256(content).hexdigest()
    if labels.sha256 not in (None, sha256):
        raise UserError(f"'{labels.list}' has the SHA-256 {sha256}, and not the one that `sha256` names")
    return labels.model_copy(update={"sha256": sha256, "count": count})


def match_lists(trials: Iterable[TrialSpec], datasets: Datasets, root: Path, store: Store | None = None) -> None:
    """Look the images of all label lists up, each list once for each data set that is prepared here; `store` keeps the rows.

    Raises:
        UserError: a line is of no image, or the images of the data set have no names.
    """
    from ...datasets.names import rows_of_names  # numpy

    done: set[tuple[str, str]] = set()
    for config, own in ((config, trial.dataset) for trial in trials for config in trial.evaluate):
        labels, dataset = config.labels, config.dataset or own
        prepared = datasets.get(dataset)
        if not isinstance(labels, LabelList) or not isinstance(prepared, Prepared):
            continue
        assert labels.sha256 is not None, "the sweep's lists are read before its trials are planned"
        key = (labels.sha256, prepared.fingerprint)
        if key in done:
            continue
        done.add(key)
        try:
            rows = rows_of_names(_lines(_content(labels, config)), dataset, prepared, root)
        except DataError as error:
            raise UserError(f"evaluate: {config.known_as}: labels.list: '{labels.list}': {error}") from None
        if store is not None:
            LabelListStore(store).keep(*key, labels.list, rows.tolist())


def _content(labels: LabelList, config: EvaluationConfig) -> bytes:
    try:
        content = Path(labels.list).read_bytes()
    except OSError as error:
        raise UserError(f"evaluate: {config.known_as}: '{labels.list}' cannot be read: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != labels.sha256:
        raise UserError(f"evaluate: {config.known_as}: '{labels.list}' was changed while it was read")
    return content


def _lines(content: bytes) -> Sequence[str]:
    """Without empty ones."""
    return [line.strip() for line in content.decode().splitlines() if line.strip()]
