"""The images of a sweep as far as they are known here: prepared on this machine, or remembered by the store."""

import contextlib
import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from ...datasets.config import DatasetConfig
from ...datasets.contents import Contents
from ...datasets.errors import DataError
from ...datasets.prepared import Prepared, find_prepared
from ...evaluation.base import EvaluationConfig
from ..spec.errors import PlacedError, Problem, SpecError, Steps, UserError, dotted
from ..spec.messages import validate
from ..spec.models import SweepSpec, TrialSpec
from ..spec.yaml_document import Document
from ..store.catalog import Catalog
from ..store.known_data import remembered
from ..store.planned import PlannedTrial
from ..store.trial_list import TrialList
from .place import Place

log = logging.getLogger(__name__)

Preparing = Callable[[str], contextlib.AbstractContextManager[Callable[[int, int], None]]]
"""Shows the preparation of a data set by its name; yields what is told images done and images in all."""
AS_SUBMITTED = "what is shown is of its images at the last submit"
UNKNOWN = "evaluations on it count as not done"
IF_CHANGED = "what is shown is of its images at the last submit; if they have changed, what depends on them runs again"


class Absence(NamedTuple):
    """Why a data set is not prepared here."""

    reason: str
    gone: bool
    """It cannot be prepared either."""


class SweepData:
    """The data sets of a sweep."""

    def __init__(self, place: Place, spec: SweepSpec, document: Document):
        self.place, self.spec, self.document = place, spec, document
        self.contents: dict[DatasetConfig, Contents] = {}
        """Of those that are prepared here, and of others as the store remembers them."""
        self.absent: dict[DatasetConfig, Absence] = {}

    def find(self, trials: Iterable[TrialSpec], root: Path) -> None:
        """Look for all that the trials take, and prepare nothing."""
        for dataset in datasets_of(trials):  # to look at a source may be to list a bucket
            try:
                prepared = find_prepared(dataset, root)
            except DataError as error:
                self._miss(dataset, Absence(str(error), gone=True))
                continue
            if prepared is not None:
                self.contents[dataset] = prepared
            else:
                name = f"data set '{dataset.display_name}'"
                self._miss(dataset, Absence(f"{name} is not prepared here, or has changed", gone=False))

    def prepare(self, trials: Iterable[TrialSpec], root: Path, preparing: Preparing) -> list[Prepared]:
        """Prepare all that the trials take; returns what is here then.

        Raises:
            SpecError: one cannot be prepared, and the store does not remember it either.
        """
        from ...datasets.prepare import prepare

        found: list[Prepared] = []
        for dataset in datasets_of(trials):
            try:
                with preparing(dataset.display_name) as on_progress:
                    found.append(prepare(dataset, root, on_progress))
                self.contents[dataset] = found[-1]
            except DataError as error:
                self._miss(dataset, Absence(str(error), gone=True))
                if dataset not in self.contents:
                    raise SpecError([self._problem(dataset)]) from None
        return found

    def _miss(self, dataset: DatasetConfig, absence: Absence) -> None:
        self.absent[dataset] = absence
        known = self._remembered.get(dataset.source)
        if known is None and absence.gone:
            known = self._remembered_elsewhere(dataset)
        if known is not None:
            self.contents[dataset] = known

    def _remembered_elsewhere(self, dataset: DatasetConfig) -> Contents | None:
        """As on another machine, or before it was moved: the only data set whose path ends alike."""
        path = PurePath(dataset.path or "")
        alike = [
            contents
            for other, contents in self._remembered.items()
            if PurePath(other.path or "").name == path.name
            and other.model_copy(update={"path": dataset.path}) == dataset.source
        ]
        return alike[0] if len({contents.fingerprint for contents in alike}) == 1 else None

    @cached_property
    def _remembered(self) -> Mapping[DatasetConfig, Contents]:
        return remembered(self.place.store, self.place.name)

    def recognised(self, trials: Sequence[TrialSpec]) -> list[TrialSpec]:
        """The trials; evaluations on unknown data have the fingerprints that the sweep listed, as an earlier version left them."""
        if all(dataset in self.contents for trial in trials for dataset, _ in trial.other_datasets):
            return list(trials)
        return [trial.model_copy(update={"evaluate": tuple(map(self._recognised, trial.evaluate))}) for trial in trials]

    def _recognised(self, config: EvaluationConfig) -> EvaluationConfig:
        if config.dataset is None or config.dataset in self.contents:
            return config
        return config.model_copy(update={"fingerprint": self._listed.get(config.dataset.source, config.fingerprint)})

    @cached_property
    def _listed(self) -> Mapping[DatasetConfig, str]:
        """Fingerprints of evaluations' data sets in the sweep's list of trials."""
        listed = self.place.store.read_record(f"{self.place.folder}/trials.json", TrialList)
        found: dict[DatasetConfig, str] = {}
        for item in listed.trials if listed else ():
            for config in item.trial.get("evaluate", ()):
                dataset: Any = config.get("dataset")
                if dataset is not None and config.get("fingerprint"):
                    found[DatasetConfig.model_validate(dataset).source] = config["fingerprint"]
        return found

    # -- what is said of it --

    def warn(self, *, if_changed: bool = False) -> None:
        """A line for each data set that is gone, or that is known but not prepared here; `if_changed`: and is going to be."""
        for dataset, absence in self.absent.items():
            known = dataset in self.contents or dataset.source in self._listed
            if not known and not absence.gone:  # nothing has run on it
                continue
            end = (IF_CHANGED if if_changed and not absence.gone else AS_SUBMITTED) if known else UNKNOWN
            log.warning("%s; %s", self._problem(dataset), end)

    def refuse_gone(self, planned: Iterable[PlannedTrial], catalog: Catalog, others: Iterable[TrialSpec] = ()) -> None:
        """Refuse to run what takes data that are gone.

        Args:
            planned: trials, of which some may miss something.
            catalog: has them.
            others: trials of which all is to run.

        Raises:
            SpecError: at the places of the data sets.
        """
        gone = [dataset for dataset, absence in self.absent.items() if absence.gone]
        if gone:
            missing = [item.trial for item in planned if item.missing(catalog.status(item.trial_id))]
            needed = datasets_of([*missing, *others])
            problems = [self._problem(dataset) for dataset in gone if dataset in needed]
            if problems:
                raise SpecError(problems)

    def unprepared(self, trial: TrialSpec) -> list[str]:
        """Names of those of the trial's data sets that are still to be prepared."""
        absent = [dataset for dataset in datasets_of([trial]) if dataset in self.absent]
        return [dataset.display_name for dataset in absent if not self.absent[dataset].gone]

    def _problem(self, dataset: DatasetConfig) -> Problem:
        at = place_of(dataset, self.spec)
        return self.document.problem(at, f"{dotted(at)}: {self.absent[dataset].reason}")

    def why_absent(self, dataset: DatasetConfig) -> str:
        """Where the file names it, and why it is not here."""
        return str(self._problem(dataset))


def datasets_of(trials: Iterable[TrialSpec]) -> list[DatasetConfig]:
    """Those of the trials and of their evaluations, each once."""
    every = ((trial.dataset, *(dataset for dataset, _ in trial.other_datasets)) for trial in trials)
    return list(dict.fromkeys(dataset for some in every for dataset in some))


def place_of(dataset: DatasetConfig, spec: SweepSpec) -> Steps:
    """Where the sweep file names a data set."""
    if dataset != spec.dataset:
        for i, config in enumerate(spec.evaluate):
            if config.dataset == dataset:
                return ("evaluate", i, "dataset")
        for key, values in spec.grid.items():
            root, _, name = key.partition(".")
            for i, value in enumerate(values) if root == "dataset" else ():
                if (getattr(dataset, name) if name else dataset) == (value if name else validate(DatasetConfig, value)):
                    return ("grid", key, i)
    return ("dataset",)


@contextlib.contextmanager
def located(document: Document) -> Generator[None]:
    """Errors that know their key in the sweep file get its line."""
    try:
        yield
    except PlacedError as error:
        raise SpecError([document.problem(error.at, str(error))]) from None


@contextlib.contextmanager
def data_errors() -> Generator[None]:
    """Errors in the user's data are the user's to read."""
    try:
        yield
    except DataError as error:
        raise UserError(f"dataset: {error}") from None
