"""The searches of a sweep: made from its file and from what earlier ones have left in the store."""

from collections.abc import Mapping, Sequence
from functools import partial

from pydantic import ValidationError

from ...datasets.config import DatasetConfig
from ...methods.quantities import plural
from ..search.group_search import GroupSearch
from ..search.objectives import scores_of
from ..search.points import Notebook, Point, front_of
from ..search.space import contains
from ..spec.axes import probes
from ..spec.changes import scheduled
from ..spec.constraints import holds
from ..spec.errors import UserError
from ..spec.expand import Group, groups, resolve
from ..spec.label import title_of
from ..spec.models import SweepSpec, TrialSpec
from ..spec.resolve import is_divisible
from ..store.catalog import read_catalog
from ..store.files import Store
from ..store.planned import PlannedTrial
from ..store.records import SearchPoint, SearchRecord
from .data_names import data_names
from .plan import Datasets, misfit, plan_trials


def make_searches(spec: SweepSpec, store: Store, datasets: Datasets) -> list[GroupSearch]:
    """One for each row of the table; results of earlier searches that fit are offered to them.

    Raises:
        UserError: an end of an axis, or a choice, does not fit the data set.
    """
    assert spec.search is not None

    notebook = Notebook(store, spec.name)
    searches: list[GroupSearch] = []
    for group in groups(spec):
        seed = (spec.search.seeds or spec.seeds)[0]
        (template,) = plan_trials([resolve(spec, group, seed, holdout=True)], datasets)
        _refuse_misfits(spec, group, template)
        search = GroupSearch(spec, group, template, notebook, partial(_fits, spec, datasets))
        _offer(search, store, datasets)
        searches.append(search)
    return searches


def _fits(spec: SweepSpec, datasets: Datasets, trial: TrialSpec) -> bool:
    """Whether a point can be run as the file is."""
    assert spec.search is not None
    if not is_divisible(trial, trial.resources.workers) or misfit(trial, datasets[trial.dataset]) is not None:
        return False
    values = trial.model_dump() if spec.search.constraints else {}
    try:
        return all(holds(constraint, values) for constraint in spec.search.constraints)
    except TypeError:  # a choice of another kind, as none where a number is compared
        return False


def search_records(searches: Sequence[GroupSearch], *, ended: bool) -> tuple[SearchRecord, ...]:
    """What the report says of the searches; unless they have `ended`, none has found nothing, and of one without points nothing is said."""
    names = data_names(search.template for search in searches)
    told = [search for search in searches if search.space and (ended or search.points or search.known)]
    return tuple(_record(search, names, ended=ended) for search in told)


def _record(search: GroupSearch, names: Mapping[DatasetConfig, str], *, ended: bool) -> SearchRecord:
    template, objectives = search.template.trial, search.search.metric
    points = search.points or search.known
    best = search.best_point
    name = search.search.main.partition("/")[0]
    return SearchRecord(
        title=title_of(template),
        backbone=template.backbone.name,
        dataset=names[template.dataset],
        axes=dict(search.group.axes),
        objectives=objectives,
        protocol=next((config.protocol for config in template.evaluate if config.known_as == name), ""),
        points=tuple(map(_of_report, points)),
        best=None if best is None else _of_report(best),
        front=tuple(map(_of_report, front_of(points, objectives))) if len(objectives) > 1 else (),
        reason=_why_undecided(search, points) if ended and best is None else None,
    )


def _of_report(point: Point) -> SearchPoint:
    return SearchPoint(
        values={**point.values, **scheduled(point.values, point.changes)},
        scores=point.scores,
        seeds=point.seeds,
        stopped=point.stopped,
    )


def _why_undecided(search: GroupSearch, points: Sequence[Point]) -> str:
    if not points:
        return "the search's time was over" if search.is_spent else "no point of its search can be run"
    scored = sum(bool(point.scores) and not point.stopped for point in points)
    if scored:
        return f"of the {plural(scored, 'point')} of its search with a score, none keeps to `limits`"
    return f"of the {plural(len(points), 'point')} of its search, none has a score"


def _refuse_misfits(spec: SweepSpec, group: Group, template: PlannedTrial) -> None:
    assert spec.search is not None
    for probe in probes(spec.search, group, set()):
        try:
            trial = resolve(spec, group, spec.seeds[0], dict(probe.sampled), holdout=True)
        except ValidationError:  # with other values it may go together
            continue
        wrong = misfit(trial, template.prepared)
        if wrong is not None:
            raise UserError(f"search.space: {probe.axis} = {probe.value}: {wrong}, without those held out")


def _offer(search: GroupSearch, store: Store, datasets: Datasets) -> None:
    """Results of other points in the space, if the file of today would train just the same trial."""
    fitting: dict[str, tuple[Point, PlannedTrial]] = {}
    for point in search.notebook.known:
        if point.search == search.id or not contains(search.space, point.values):
            continue
        try:
            trial = resolve(search.spec, search.group, search.seeds[0], dict(point.values), holdout=True)
        except ValidationError:
            continue
        if search.fits(trial):
            (item,) = plan_trials([trial], datasets)
            if item.trial_id == point.trial_id:
                fitting[point.trial_id] = point, item
    catalog = read_catalog(store, fitting)
    names = [*search.search.metric, *search.search.limits]
    for trial_id, (point, item) in fitting.items():
        scores = scores_of(item.trial, catalog.status(trial_id), names, search.devices)
        if scores is not None:
            search.offer(point.model_copy(update={"scores": scores, "stopped": False}))
