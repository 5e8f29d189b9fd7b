"""How a trial was trained, as single values by dotted keys and in words, for tables and files."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from ...methods.config import ViewConfig
from ..report.formats import Value, scalar
from ..spec.models import TrialSpec
from ..store.records import Scalar

ELSEWHERE = {"epochs", "batch_size", "knn_every", "diagnose_every", "stop_collapsed"}
"""Of `pretrain`: what tables have columns for, and what is measured while training."""


def trained_with(resolved: Mapping[str, Any]) -> dict[str, Scalar]:
    """Every value of the method, its views and the optimisation that is set, of a resolved trial."""
    method = {key: value for key, value in resolved["method"].items() if key != "name"}
    pretrain = {key: value for key, value in resolved["pretrain"].items() if key not in ELSEWHERE}
    return dict([*_flat("method", method), *_flat("pretrain", pretrain)])


def _flat(key: str, value: Any) -> Iterator[tuple[str, Scalar]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{key}.{name}", inner)
    elif isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
        for place, inner in enumerate(cast(Sequence[object], value)):
            yield from _flat(f"{key}.{place}", inner)
    elif isinstance(value, (list, tuple)):
        yield key, scalar(cast(Value, value))
    elif value is not None:
        yield key, value


def views_text(trial: TrialSpec) -> str:
    """``2 × 32 px, 6 local × 16 px``; empty for what is not trained."""
    if not trial.method.trains:
        return ""
    views = trial.method.views
    return ", ".join(
        [*_crops(views.global_views, "", trial.image_size), *_crops(views.local_views, " local", trial.image_size)]
    )


def _crops(views: Sequence[ViewConfig], word: str, image_size: int) -> Iterator[str]:
    """Kinds of one size are counted together."""
    counts: dict[int, int] = {}
    for view in views:
        size = view.pixels(image_size)
        counts[size] = counts.get(size, 0) + view.count
    for size, count in counts.items():
        yield f"{count}{word} × {size} px"
