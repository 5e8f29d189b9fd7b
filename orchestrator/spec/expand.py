"""From a sweep to its trials: methods x grid x seeds; and what is wrong with a sweep's values taken together."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from ...evaluation.registry import EVALUATIONS
from ...methods.backbones import backbone_modules, backbone_problem, is_known, is_vit
from .axes import axis_problems, probes
from .changes import CHANGEABLE, is_changeable
from .constraints import holds
from .errors import Problem, SpecError, Steps, did_you_mean
from .evaluations import evaluation_problems, scored_every
from .given_weights import content_of, weights_problem
from .messages import Complaint, complaints, validate
from .models import MAX_TRIALS, SweepSpec, TrialSpec
from .networks import Networks
from .recipes import RecipeError
from .resolve import Group, applies, count_trials, evaluation_batches, groups, pretrain_batches, resolve, trial_values
from .search import COSTS, SearchConfig
from .yaml_document import Document

__all__ = ["Broken", "Group", "applies", "expand", "groups", "resolve", "whole_problems"]


class Broken(NamedTuple):
    """What of a file is wrong by itself, and has a harmless value in its place: nothing is said of it again."""

    keys: frozenset[str] = frozenset()
    """At the top of the file."""
    methods: frozenset[int] = frozenset()
    """Entries by their index."""


def expand(spec: SweepSpec, document: Document, networks: Networks | None = None) -> list[TrialSpec]:
    """All trials of the sweep at its own values (those of a search are sampled later).

    `networks` says what does not fit the networks of a trial; without it none is built, and no weights are read.

    Raises:
        SpecError: with every problem that shows only in a resolved trial, at the place in the file that causes it.
    """
    problems, rows = _look(spec, document, Broken(), networks)
    if problems:
        raise SpecError(problems)
    return [row.model_copy(update={"seed": seed}) for row in rows for seed in spec.seeds]


def whole_problems(spec: SweepSpec, document: Document, broken: Broken) -> list[Problem]:
    """The problems that `expand` raises, but for those that the broken parts may have caused."""
    return _look(spec, document, broken)[0]


def _look(
    spec: SweepSpec, document: Document, broken: Broken, networks: Networks | None = None
) -> tuple[list[Problem], list[TrialSpec]]:
    """All problems, and each row's trial at the first seed."""
    problems, bad_axes = axis_problems(spec, document, all_methods=not broken.methods)
    spec = spec.model_copy(update={"grid": {key: axis for key, axis in spec.grid.items() if key not in bad_axes}})
    count = count_trials(spec, but=broken.methods)
    if count > MAX_TRIALS:
        message = f"methods, grid and seeds make {count:,} trials; a sweep has at most {MAX_TRIALS:,}"
        where: Steps = next((key,) for key in ("grid", "seeds", "methods") if key in document.data)
        return [*problems, document.problem(where, f"{where[0]}: {message}", of_key=True)], []
    rows: list[TrialSpec] = []
    seen: dict[str, int] = {}
    tried: set[int] = set()
    for group in groups(spec):
        if group.index in broken.methods:
            continue
        row = _Row(spec, group, document, broken, networks=networks)
        trial = row.trial()
        problems += row.problems
        if trial is None:
            continue
        rows.append(trial)
        content = content_of(trial)
        if content in seen:
            problems.append(_repeated(group, seen[content], document))
        elif spec.search is not None and group.index not in tried:
            tried.add(group.index)
            for probe in probes(spec.search, group, bad_axes):
                tried_row = _Row(spec, group, document, broken, probe.sampled, {probe.axis: probe.where}, networks)
                tried_row.trial()
                problems += tried_row.problems
        seen.setdefault(content, group.index)
    return problems, rows


def _repeated(group: Group, first: int, document: Document) -> Problem:
    if group.index == first:
        message = f"grid: two points of it are the same trial of method '{group.entry.name}'; list each once"
        return document.problem(("grid",), message, of_key=True)
    message = f"methods[{group.index}]: the same trial as methods[{first}]; list each once"
    return document.problem(("methods", group.index), message)


class _Row:
    """A row of the table, or a point of its search: what is wrong with it, at the places of the file that cause it."""

    def __init__(
        self,
        spec: SweepSpec,
        group: Group,
        document: Document,
        broken: Broken,
        sampled: Mapping[str, object] | None = None,
        places: dict[str, Steps] | None = None,
        networks: Networks | None = None,
    ):
        self.spec, self.group, self.document, self.broken = spec, group, document, broken
        self.networks = networks
        self.sampled = sampled or {}
        self.places = places or {}
        for key, value in group.axes.items():
            index = next(i for i, other in enumerate(spec.grid[key]) if other is value)
            self.places.setdefault(key, ("grid", key, index))
        self.problems: list[Problem] = []

    def values(self) -> dict[str, Any]:
        spec, seed = self.spec, self.spec.seeds[0]
        try:
            return trial_values(spec, self.group, seed, self.sampled)
        except RecipeError as error:
            if not self.broken.keys & {"dataset", "recipe"}:
                self.blame(("dataset", "name"), str(error), otherwise=("recipe",))
            paper = spec.model_copy(update={"recipe": "paper"})  # fits every data set, to see what else is wrong
            return trial_values(paper, self.group, seed, self.sampled)

    def trial(self) -> TrialSpec | None:
        """The trial, unless its values do not fit together."""
        values = self.values()
        try:
            trial = validate(TrialSpec, values)
        except ValidationError as error:
            for item in complaints(error, TrialSpec, values):
                self.blame(item.path, item.text, of_key=item.of_key)
            return None
        self.check_backbone(trial)
        self.check_options(trial)
        self.check_weights(trial)
        self.check_collapse(trial)
        self.check_workers(trial)
        self.check_evaluations(trial)
        self.check_search(trial)
        return trial

    def blame(self, key: Steps, text: str, *, of_key: bool = False, otherwise: Steps | None = None) -> None:
        """A problem with the trial's value `key`, at the place of the file that brought it in."""
        path = self.place(key, otherwise)
        message = Complaint(path, text, of_key and path[-1:] == key[-1:]).message(path)
        self.problems.append(self.document.problem(path, message, of_key=of_key))

    def place(self, key: Steps, otherwise: Steps | None = None) -> Steps:
        method: Steps = ("methods", self.group.index)
        for axis, where in self.places.items():
            steps = tuple(axis.split("."))
            if key[: len(steps)] == steps or steps[: len(key)] == key:
                return self.existing((*where, *key[len(steps) :]))
        if otherwise is not None:
            return otherwise
        own = (*method, *key[1:]) if key[0] == "method" else (*method, *key)
        if key[0] == "method" or own[:3] in self.document.values:
            return self.existing(own)
        return self.existing(key) or method

    def existing(self, path: Steps) -> Steps:
        """`path` as far as the file has it."""
        while path and path not in self.document.values:
            path = path[:-1]
        return path

    def check_backbone(self, trial: TrialSpec) -> None:
        name = trial.backbone.name.split(".")[0]
        if not is_known(name):
            near = did_you_mean(name, backbone_modules())
            self.blame(("backbone", "name"), f"unknown backbone '{name}'{near} ({_BACKBONES})")
        elif trial.method.needs_vit and not is_vit(name) and not self.stands_in("backbone"):
            text = (
                f"method '{trial.method.name}' needs a vision transformer, but its backbone is '{name}'; give it one"
                " beside its name, as in {name: mae, backbone: vit_tiny_patch16_224}".replace("mae", trial.method.name)
            )
            self.blame(("method",), text)

    def check_options(self, trial: TrialSpec) -> None:
        problem = backbone_problem(trial.backbone, trial.image_size)
        if problem is not None and not self.stands_in("backbone"):
            key, text = problem
            self.blame(("backbone", *key), text)

    def check_weights(self, trial: TrialSpec) -> None:
        if not self.stands_in("backbone"):
            networks = self.networks if is_known(trial.backbone.name.split(".")[0]) else None
            problem = weights_problem(trial, self.group.entry, self.sampled, None if self.sampled else networks)
            if problem is not None:
                self.blame(*problem)
            for key, text in networks.misnamed(trial) if networks is not None else ():
                self.blame(key, text)

    def stands_in(self, key: str) -> bool:
        """Whether the trial's `key` may be a harmless value for one that is broken."""
        return key in self.broken.keys and (key != "backbone" or self.group.entry.backbone is None)

    def check_collapse(self, trial: TrialSpec) -> None:
        """A limit that is never looked at is refused: who sets it relies on it."""
        pretrain, limits = trial.pretrain, trial.pretrain.stop_collapsed
        if limits is None or not trial.method.trains or self.stands_in("pretrain"):
            return
        if not pretrain.diagnose_every:
            text = "never acts, as `pretrain.diagnose_every` is 0: set that to 1 or more, or leave this out"
            self.blame(("pretrain", "stop_collapsed"), text)
        elif limits.grace_epochs > pretrain.epochs:
            text = f"got {limits.grace_epochs}; must be at most `pretrain.epochs`, which is {pretrain.epochs}"
            self.blame(("pretrain", "stop_collapsed", "grace_epochs"), text)

    def check_workers(self, trial: TrialSpec) -> None:
        workers = trial.resources.workers
        batches: list[tuple[str, int]] = []
        if trial.method.trains and not self.stands_in("pretrain"):
            parts, batch_size = trial.pretrain.accumulate, trial.pretrain.batch_size
            if batch_size % parts:
                self.blame(("pretrain", "accumulate"), f"got {parts}; must divide `batch_size`, which is {batch_size}")
                return
            if batch_size == parts:
                text = f"got {parts}, which leaves one image to a part of the batch of {batch_size}; must leave two or more"
                self.blame(("pretrain", "accumulate"), text)
                return
            batches += pretrain_batches(trial)
        if not self.stands_in("evaluate"):
            batches += evaluation_batches(trial)
        for what, batch_size in batches:
            if batch_size % workers:
                text = f"got {workers}; must divide the {what}, which is {batch_size} over all workers"
                self.blame(("resources", "workers"), text)

    def check_evaluations(self, trial: TrialSpec) -> None:
        if not self.stands_in("evaluate"):
            for path, text in evaluation_problems(trial, with_backbone=not self.stands_in("backbone")):
                where: Steps = ("evaluate", *path)
                if len(path) > 1 and self.place(where)[-1] != path[-1]:  # the file does not set it
                    text = f"`{path[-1]}` of protocol '{trial.evaluate[int(path[0])].protocol}': {text}"
                self.blame(where, text)

    def check_search(self, trial: TrialSpec) -> None:
        search = self.spec.search
        if search is None:
            return
        metrics = [f"{item.known_as}/{EVALUATIONS[item.name].main.name}" for item in trial.evaluate]
        absent = [metric for metric in search.metric if metric not in metrics and metric not in COSTS]
        if absent and not self.stands_in("evaluate"):
            text = f"got '{absent[0]}'; must name an evaluation listed in `evaluate`: {', '.join(metrics)}"
            self.add(("search", "metric"), text)
        self.check_constraints(search, trial)
        self.check_population(search, trial)
        stopping = search.early_stopping
        if stopping is None or not trial.method.trains or self.stands_in("pretrain"):
            return
        if not scored_every(trial, search.main):
            name = trial.method.name
            text = f"compares epochs, so `pretrain.knn_every` must be at least 1, but method '{name}' has 0"
            self.add(("search", "early_stopping"), text)
        if stopping.grace_epochs > trial.pretrain.epochs:
            text = f"got {stopping.grace_epochs}; must be at most `pretrain.epochs`, which is {trial.pretrain.epochs}"
            self.add(("search", "early_stopping", "grace_epochs"), text)

    def check_population(self, search: SearchConfig, trial: TrialSpec) -> None:
        if search.pbt is None or not trial.method.trains:
            return
        for key in search.space:
            if applies(key, self.group.entry) and not is_changeable(key, type(trial.method)):
                text = f"cannot change while a trial is pretrained, as `algorithm: pbt` asks; what can is {CHANGEABLE}"
                self.add(("search", "space", key), text)
        if self.stands_in("pretrain"):
            return
        interval, epochs = search.pbt.interval_epochs, trial.pretrain.epochs
        every = scored_every(trial, search.main)
        at: Steps = ("search", "population") if search.population is not None else ("search", "algorithm")
        if not every or interval % every:
            text = (
                f"compares members every {interval} epochs, which `pretrain.knn_every` must divide, but it is {every}"
            )
            self.add(at, text)
        if interval >= epochs:
            text = f"compares members every {interval} epochs, which must be less than `pretrain.epochs`, {epochs}"
            self.add(at, text)

    def check_constraints(self, search: SearchConfig, trial: TrialSpec) -> None:
        values = trial.model_dump()
        for i, constraint in enumerate(search.constraints):
            try:
                holds(constraint, values)
            except TypeError as error:
                self.add(("search", "constraints", i), f"compares what cannot be compared: {error}")

    def add(self, path: Steps, text: str) -> None:
        self.problems.append(self.document.problem(path, Complaint(path, text).message(path)))


_BACKBONES = "allowed: resnet18-cifar, or any timm model by its name, as vit_tiny_patch16_224 or resnet50"
