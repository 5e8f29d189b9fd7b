"""What is wrong with the evaluations of a trial, beside what each of them says of its own settings."""

from collections.abc import Iterator

from ...evaluation.base import EvaluationConfig
from ...evaluation.registry import EVALUATIONS
from ...methods.backbones import is_known
from .errors import Steps
from .identity import evaluation_id
from .models import TrialSpec


def evaluation_problems(trial: TrialSpec, *, with_backbone: bool) -> Iterator[tuple[Steps, str]]:
    """Places in `evaluate`, and messages. `with_backbone`: also what the trial's backbone cannot do."""
    seen: dict[str, str] = {}
    with_backbone = with_backbone and is_known(trial.backbone.name)
    for i, config in enumerate(trial.evaluate):
        first = seen.setdefault(evaluation_id(config), config.known_as)
        if first != config.known_as:
            yield (i,), f"'{config.known_as}' has the settings of '{first}'; list each once"
        if config.every is not None and config not in monitoring(trial):
            able = ", ".join(name for name, evaluation in EVALUATIONS.items() if evaluation.monitors)
            yield (i, "every"), f"what can run between epochs is {able}, on the images of the pretraining"
        problem = EVALUATIONS[config.name].refusal(config, trial.backbone) if with_backbone else None
        if problem is not None:
            setting, text = problem
            yield (i, setting), text


def monitoring(trial: TrialSpec) -> list[EvaluationConfig]:
    """The evaluations that also run between the epochs of pretraining, if they are to."""
    return [item for item in trial.evaluate if EVALUATIONS[item.name].monitors and item.dataset is None]


def looks_every(trial: TrialSpec, evaluation: EvaluationConfig | None) -> int:
    """Epochs between two runs of one that monitors; 0: it never does. None is the kNN that no entry of `evaluate` asks for."""
    own = None if evaluation is None else evaluation.every
    return trial.pretrain.knn_every if own is None else own


def scored_every(trial: TrialSpec, metric: str) -> int:
    """Epochs between two scores of a search's metric, or of kNN where it is measured at the end alone."""
    known = (item for item in monitoring(trial) if item.known_as == metric.partition("/")[0])
    return looks_every(trial, next(known, None))
