"""The files that a sweep names, weights and label lists: found, read, compared with its backbones, and copied into the store."""

from typing import Any

from pydantic import ValidationError

from ...evaluation.base import EvaluationConfig
from ...evaluation.labels import LabelList
from ...methods.config import BackboneConfig
from ...methods.weight_files import WeightsError
from ...methods.weights_config import TIMM, WeightsConfig
from ..spec.errors import Problem, SpecError, Steps, UserError, dotted
from ..spec.expand import expand
from ..spec.label import WEIGHTS
from ..spec.messages import validate
from ..spec.models import MethodEntry, SweepSpec, TrialSpec
from ..spec.yaml_document import Document
from .networks import BuiltNetworks
from .sources import Sources

NAME = "backbone.name"


def expanded(
    spec: SweepSpec, document: Document, *, read: bool = False, keep: bool = False
) -> tuple[SweepSpec, list[TrialSpec]]:
    """The sweep with the digests of all weights and label lists that it names, and its trials.

    Args:
        spec: as it was loaded.
        document: of its file.
        read: read the weights and compare them with the backbones; otherwise they are only looked up, and those that were
            found when the sweep was submitted may be gone.
        keep: copy them into the store.

    Raises:
        SpecError: with all problems of the file that `expand` finds, and of the weights.
    """
    sources = Sources(spec.storage, spec.name, must_be_there=read)
    filled = _Filled(document, spec, sources)
    spec = filled.filled()
    try:
        trials = expand(spec, document, BuiltNetworks(sources, keep=keep) if read else None)
    except SpecError as error:
        raise SpecError([*filled.problems, *error.problems]) from None
    if filled.problems:
        raise SpecError(filled.problems)
    return spec, trials


class _Filled:
    """Puts digests into a sweep; `problems` are what could not be found."""

    def __init__(self, document: Document, spec: SweepSpec, sources: Sources):
        self.document, self.spec, self.sources = document, spec, sources
        axes = [*spec.grid, *(spec.search.space if spec.search else ())]
        self.one_name = NAME not in axes
        """Whether a backbone of the file has the name that the file gives it."""
        self.problems: list[Problem] = []

    def filled(self) -> SweepSpec:
        spec = self.spec
        methods = tuple(self.entry(entry, ("methods", i)) for i, entry in enumerate(spec.methods))
        grid = {
            key: tuple(self.of_axis(key, value, ("grid", key, i)) for i, value in enumerate(values))
            for key, values in spec.grid.items()
        }
        evaluate = tuple(self.evaluation(item, ("evaluate", i)) for i, item in enumerate(spec.evaluate))
        changes: dict[str, object] = {"backbone": self.backbone(spec.backbone, ("backbone",)), "methods": methods}
        changes |= {"grid": grid, "evaluate": evaluate}
        return spec.model_copy(update=changes)

    def evaluation(self, config: EvaluationConfig, path: Steps) -> EvaluationConfig:
        if not isinstance(config.labels, LabelList):
            return config
        try:
            return config.model_copy(update={"labels": self.sources.label_list(config.labels)})
        except UserError as error:
            where = (*path, "labels", "list")
            self.problems.append(self.document.problem(where, f"{dotted(where)}: {error}"))
            return config

    def entry(self, entry: MethodEntry, path: Steps) -> MethodEntry:
        if entry.weights is not None:
            name = (entry.backbone or self.spec.backbone).name
            entry = entry.model_copy(update={"weights": self.weights(entry.weights, {name}, (*path, "weights"))})
        if entry.backbone is not None:
            entry = entry.model_copy(update={"backbone": self.backbone(entry.backbone, (*path, "backbone"))})
        return entry

    def backbone(self, backbone: BackboneConfig, path: Steps) -> BackboneConfig:
        if backbone.weights is None:
            return backbone
        weights = self.weights(backbone.weights, {backbone.name}, (*path, "weights"))
        return backbone.model_copy(update={"weights": weights})

    def of_axis(self, key: str, value: Any, path: Steps) -> Any:
        """A value of the grid, which is plain data; what is no such value is for `expand` to refuse."""
        try:
            if key == WEIGHTS:
                names = {(entry.backbone or self.spec.backbone).name for entry in self.spec.methods}
                return self.weights(validate(WeightsConfig, value), names, path).model_dump()
            if key == "backbone" and isinstance(value, dict) and "weights" in value:
                return self.backbone(validate(BackboneConfig, value), path).model_dump()
        except ValidationError:
            pass
        return value

    def weights(self, weights: WeightsConfig, names: set[str], path: Steps) -> WeightsConfig:
        """The weights with their digest; `names`: of the backbones that may begin with them."""
        try:
            if weights.timm is not None and (len(names) > 1 or not self.one_name):
                raise WeightsError(
                    "means other weights for each backbone, and several may begin with these; name them beside each"
                    f" backbone, as in {{name: resnet50, weights: {TIMM}}}, which `grid.backbone` can list too"
                )
            found = self.sources.look_up(weights, min(names))
            return weights.model_copy(update={"sha256": found.sha256, "title": weights.title or found.title})
        except (WeightsError, UserError) as error:
            text = f"{weights.place} {error}" if isinstance(error, WeightsError) else str(error)
            self.problems.append(self.document.problem(path, f"{dotted(path)}: {text}"))
            return weights
