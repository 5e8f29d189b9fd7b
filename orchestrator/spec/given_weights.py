"""The weights that a trial's backbone begins with: whether it may, and whether it must."""

from collections.abc import Mapping

from .errors import Steps
from .models import MethodEntry, TrialSpec
from .networks import Networks


def weights_problem(
    trial: TrialSpec, entry: MethodEntry, sampled: Mapping[str, object], networks: Networks | None
) -> tuple[Steps, str] | None:
    """What is wrong with the trial's weights, or that it has none, and the key of the trial that is to blame.

    Args:
        trial: of one row.
        entry: of its method.
        sampled: values of the axes of a search.
        networks: looks into the file; without it that is not done.
    """
    weights, method = trial.backbone.weights, trial.method
    if weights is None:
        text = f"method '{method.name}' needs weights, as in {{name: {method.name}, weights: checkpoint.pth}}"
        return (("method",), text) if method.weights == "needed" else None
    key: Steps = ("backbone", "weights") if entry.weights is None else ("method", "weights")
    if method.weights == "refused":
        text = f"method '{method.name}' takes no weights: give it a backbone of its own without, or use method 'pretrained'"
        return key, text
    if "backbone" in sampled or any(axis.startswith("backbone.weights") for axis in sampled):
        return key, "weights cannot be searched; list them under `grid` to search for each"
    text = networks.unfit(trial) if networks is not None else None
    return None if text is None else (key, text)


def content_of(trial: TrialSpec) -> str:
    """All that makes a trial another one, to be compared: weights that are looked up count by their digest alone."""
    weights = trial.backbone.weights
    if weights is None or weights.sha256 is None:
        return trial.model_dump_json(exclude={"axes": True, "dataset": {"title"}})
    hidden = {"weights": {"path", "trial", "timm", "title"}}
    return trial.model_dump_json(exclude={"axes": True, "dataset": {"title"}, "backbone": hidden})
