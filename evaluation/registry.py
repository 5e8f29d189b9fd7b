"""Every evaluation by name. Free of torch until one is run."""

from collections.abc import Iterable
from typing import Any

from ..methods.registry import Registry
from .base import Evaluation, EvaluationConfig, Metric, Settings


def _refusal(name: str, found: Evaluation[Any]) -> str | None:
    if not isinstance(found, Evaluation):  # pyright: ignore[reportUnnecessaryIsInstance]  # of another package
        return "is not an Evaluation"
    return None if found.name == name else f"calls itself '{found.name}'"


EVALUATIONS: Registry[Evaluation[Any]] = Registry(
    "evaluations",
    __package__ or "",
    {
        "knn": "knn:KNN",
        "linear": "linear:LINEAR",
        "logistic": "logistic:LOGISTIC",
        "ridge": "ridge:RIDGE",
        "attentive": "attentive:ATTENTIVE",
        "finetune": "finetune:FINETUNE",
        "fewshot": "fewshot:FEWSHOT",
        "retrieval": "retrieval:RETRIEVAL",
        "kmeans": "kmeans:KMEANS",
        "health": "health:HEALTH",
        "robustness": "robustness:ROBUSTNESS",
    },
    _refusal,
)
"""Our own in the order of tables; then those of other packages (entry points in the group ``ssl_sweep.evaluations``)."""

DEFAULT = ("knn", "linear", "finetune")
"""What a sweep evaluates unless it says otherwise."""

MONITOR = "knn"
"""What `pretrain.knn_every` runs between epochs, whether the sweep evaluates by it or not; others that monitor, if it does."""


def resolve(config: EvaluationConfig, backbone: str, dataset: str) -> EvaluationConfig:
    """The protocol's settings, overlaid with those that the sweep sets. The protocol may depend on backbone and data set."""
    evaluation = EVALUATIONS[config.name]
    own = config.model_dump(exclude_unset=True)
    own.setdefault("protocol", evaluation.default_protocol(backbone, dataset))
    standard = evaluation.protocol(own["protocol"]).model_dump()
    return evaluation.config.model_validate(standard | own)


def changed_settings(config: EvaluationConfig) -> Settings:
    """The settings that differ from those of the protocol, as JSON values."""
    standard = EVALUATIONS[config.name].protocol(config.protocol).all_settings
    return {key: value for key, value in config.all_settings.items() if key not in standard or value != standard[key]}


def search_metrics(*, of_epochs: bool = False) -> list[str]:
    """What a search can maximise, as ``knn/top1``; `of_epochs`: what is also measured between the epochs of pretraining."""
    return [
        evaluation.main_key
        for evaluation in EVALUATIONS.values()
        if evaluation.main.higher_is_better and (evaluation.monitors or not of_epochs)
    ]


def is_of_a_name(metric: str) -> bool:
    """Whether it may be a main metric of an evaluation that has a name of its own in the sweep, as ``knn-20/top1``."""
    name, _, measure = metric.partition("/")
    main = {key.partition("/")[2] for key in search_metrics()}
    return name not in EVALUATIONS and measure in main


def title_of(name: str) -> str:
    """Of an evaluation in tables; the name itself if its package is not installed here."""
    return EVALUATIONS[name].title if name in EVALUATIONS else name


def declared_metrics(name: str, found: Iterable[str]) -> tuple[Metric, ...]:
    """The metrics `found` in a record, in the order of the evaluation; as they are if its package is not installed here."""
    rest = list(found)
    declared = [metric for metric in EVALUATIONS[name].metrics if metric.name in rest] if name in EVALUATIONS else []
    names = [metric.name for metric in declared]
    return (*declared, *(Metric(key, key) for key in rest if key not in names))
