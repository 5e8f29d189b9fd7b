"""What is wrong with the evaluations of a trial, beside what each of them says of its own settings."""

from collections.abc import Iterator

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
        problem = EVALUATIONS[config.name].refusal(config, trial.backbone) if with_backbone else None
        if problem is not None:
            setting, text = problem
            yield (i, setting), text
