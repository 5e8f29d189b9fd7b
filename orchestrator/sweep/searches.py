"""The searches of a sweep: made from its file and from what earlier ones have left in the store."""

from collections.abc import Sequence

from pydantic import ValidationError

from ...methods import METHODS
from ..search.group_search import GroupSearch, stored_score
from ..search.points import Point, read_points
from ..search.space import contains
from ..spec.axes import probes
from ..spec.errors import UserError
from ..spec.expand import Group, groups, resolve
from ..spec.models import SweepSpec, TrialSpec
from ..spec.resolve import is_divisible
from ..store.catalog import read_catalog
from ..store.files import Store
from ..store.planned import PlannedTrial
from ..store.records import Undecided
from .plan import Datasets, misfit, plan_trials


def make_searches(spec: SweepSpec, store: Store, datasets: Datasets) -> list[GroupSearch]:
    """One for each row of the table; results of earlier searches that fit are offered to them.

    Raises:
        UserError: an end of an axis, or a choice, does not fit the data set.
    """
    assert spec.search is not None

    def fits(trial: TrialSpec) -> bool:
        return is_divisible(trial, spec.resources.workers) and misfit(trial, datasets[trial.dataset]) is None

    known = read_points(spec, store)
    searches: list[GroupSearch] = []
    for group in groups(spec):
        (template,) = plan_trials([resolve(spec, group, spec.seeds[0], holdout=True)], datasets)
        _refuse_misfits(spec, group, template)
        search = GroupSearch(spec, group, template, known, fits)
        _offer(search, known, store, datasets)
        searches.append(search)
    return searches


def undecided(searches: Sequence[GroupSearch]) -> tuple[Undecided, ...]:
    """The rows of the table that have no trials, for no point of their search has a score."""
    return tuple(
        Undecided(
            title=METHODS[search.group.entry.name].title,
            axes=dict(search.group.axes),
            reason=f"none of the {len(search.points or search.known)} points of its search has a score",
        )
        for search in searches
        if search.best is None
    )


def _refuse_misfits(spec: SweepSpec, group: Group, template: PlannedTrial) -> None:
    assert spec.search is not None
    for key, value, _ in probes(spec.search, group, set()):
        try:
            trial = resolve(spec, group, spec.seeds[0], {key: value}, holdout=True)
        except ValidationError:  # with other values it may go together
            continue
        wrong = misfit(trial, template.prepared)
        if wrong is not None:
            raise UserError(f"search.space: {key} = {value}: {wrong}, without those held out")


def _offer(search: GroupSearch, known: Sequence[Point], store: Store, datasets: Datasets) -> None:
    """Results of other points in the space, if the file of today would train just the same trial."""
    fitting: dict[str, tuple[Point, PlannedTrial]] = {}
    for point in known:
        if point.search == search.id or not contains(search.space, point.values):
            continue
        try:
            trial = resolve(search.spec, search.group, search.spec.seeds[0], dict(point.values), holdout=True)
        except ValidationError:
            continue
        if search.fits(trial):
            (item,) = plan_trials([trial], datasets)
            if item.trial_id == point.trial_id:
                fitting[point.trial_id] = point, item
    catalog = read_catalog(store, fitting)
    for trial_id, (point, item) in fitting.items():
        score = stored_score(item.trial, catalog.status(trial_id), search.search)
        if score is not None:
            search.offer(point.values, score)
