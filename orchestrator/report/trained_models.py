"""The best of the trained models with one seed against each other one: McNemar's test over the test images of both."""

import base64
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

from ...methods.quantities import integer
from .formats import p_value, superscript
from .settings import Protocol, Setting
from .statistics import LEVEL, holm, mcnemar
from .table import Table, plain_table

TITLE = "Comparison of trained models"
SCOPE_REMARK = (
    "This compares the trained models of one seed on these test images, not the methods: with another seed, another one may be "
    "better. Methods are compared over seeds."
)
HOW_REMARK = (
    "McNemar's test (two-sided, mid-p): of the images that exactly one of two models classifies rightly, whether it is each of "
    "them equally often. The model with the most hits is tested against each other one, baselines left out; p is corrected by "
    f"Holm's method for all pairs, and a difference is claimed if p < {LEVEL}."
)
NO_DIFFERENCE = "no difference shown"


@dataclass(frozen=True)
class Opponent:
    """A trained model against the best one."""

    setting: int
    """Its place in the table."""
    only_best: int
    """Images that the best one alone classifies rightly."""
    only_own: int
    p: float
    """Corrected."""


@dataclass(frozen=True)
class TrainedModels:
    """Models of one seed, scored on the same test images."""

    protocol: Protocol
    seed: int
    images: int
    best: int
    """The place in the table of the setting whose model has the most hits; of equals the first."""
    opponents: tuple[Opponent, ...]
    """Those with the most hits first."""


@dataclass(frozen=True)
class _Hits:
    seed: int
    images: int
    bits: int


def compare_models(settings: Sequence[Setting], protocol: Protocol) -> TrainedModels | None:
    """Of the seed that most settings have hits of, the lowest of equals; None if no two have hits of one."""
    known = {
        i: found for i, setting in enumerate(settings) if not setting.baseline and (found := _hits(setting, protocol))
    }
    groups = Counter((hits.seed, hits.images) for own in known.values() for hits in own)
    if not groups or max(groups.values()) < 2:
        return None
    seed, images = min(groups, key=lambda group: (-groups[group], group))
    bits = {i: hits.bits for i, own in known.items() for hits in own if (hits.seed, hits.images) == (seed, images)}
    best, *others = sorted(bits, key=lambda i: (-bits[i].bit_count(), i))
    alone = [((bits[best] & ~bits[i]).bit_count(), (bits[i] & ~bits[best]).bit_count()) for i in others]
    p = holm([mcnemar(*counts) for counts in alone], len(bits) * (len(bits) - 1) // 2)
    opponents = (Opponent(i, *counts, value) for i, counts, value in zip(others, alone, p, strict=True))
    return TrainedModels(protocol, seed, images, best, tuple(opponents))


def _hits(setting: Setting, protocol: Protocol) -> list[_Hits]:
    """By seed."""
    return [
        _Hits(seed, record.images, int.from_bytes(base64.b64decode(record.hits), "big"))
        for seed, record in setting.by_seed(protocol).items()
        if record.hits is not None
    ]


def models_table(
    found: Sequence[TrainedModels], protocols: Sequence[Protocol], names: Sequence[str], shown: Container[int]
) -> Table:
    """`protocols`: those of the main table, whose footnotes have the marks; `names`: of its settings; `shown`: places of those to list."""
    rows: list[list[str]] = []
    for models in found:
        protocol = models.protocol
        evaluation = f"{protocol.title}{superscript(protocols.index(protocol) + 1)} {protocol.main.label}"
        for rival in (rival for rival in models.opponents if rival.setting in shown):
            verdict = f"the model of {names[models.best]} is better" if rival.p < LEVEL else NO_DIFFERENCE
            counts = [integer(count) for count in (models.images, rival.only_best, rival.only_own)]
            pair = [names[models.best], names[rival.setting]]
            rows.append([evaluation, *pair, str(models.seed), *counts, p_value(rival.p), verdict])
    labels = [
        "evaluation",
        "most hits",
        "against",
        "seed",
        "images",
        "only the first",
        "only the other",
        "p",
        "verdict",
    ]
    table = plain_table(TITLE, labels, rows, numeric="|".join(labels[3:8]))
    return replace(table, remarks=(SCOPE_REMARK, HOW_REMARK))
