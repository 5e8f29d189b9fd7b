"""The setting with the best mean against each other one: paired tests over the seeds that both have."""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from ...methods.quantities import plural
from .formats import interval, p_value, signed, superscript
from .settings import Protocol, Setting
from .statistics import LEAST_SEEDS, LEVEL, Spread, holm, mean_interval, paired_t, spread, wilcoxon
from .table import NONE, Table, plain_table

TITLE = "Comparison of methods"
HOW_REMARK = (
    "For each evaluation, the setting with the best mean of its main metric is tested against each other one, baselines "
    f"left out: a two-sided paired t-test over the seeds that both have, at least {LEAST_SEEDS}. Difference: the best less "
    "the other, mean over these seeds. 95 % interval: of this difference alone, by Student's t."
)
VERDICT_REMARK = (
    "p: corrected by Holm's method for all pairs of settings of an evaluation, since the best one is chosen by the same "
    f"numbers. A difference is claimed if p < {LEVEL}; “no difference shown” does not mean that there is none: few seeds show "
    "only differences that are large against their spread."
)
WILCOXON_REMARK = (
    "Wilcoxon p: the exact signed-rank test, corrected likewise, from 6 common seeds on. The verdict does not use it: with so "
    "few seeds, its p cannot be small."
)
NO_DIFFERENCE = "no difference shown"


@dataclass(frozen=True)
class Rival:
    """A setting against the one with the best mean."""

    setting: int
    """Its place in the table."""
    difference: Spread | None
    """Best less rival over the common seeds; None if there are none."""
    p: float | None
    """Of the paired t-test, corrected; None if it was not made."""
    wilcoxon: float | None
    """Likewise of the signed-rank test."""

    @property
    def seeds(self) -> int:
        return self.difference.n if self.difference else 0

    @property
    def shown(self) -> bool:
        """Whether a difference may be claimed."""
        return self.p is not None and self.p < LEVEL


@dataclass(frozen=True)
class Comparison:
    protocol: Protocol
    best: int
    """The place in the table of the setting with the best mean, of those that can be tested."""
    rivals: tuple[Rival, ...]
    """Every other setting with a score, untested ones too, the best first; no baselines."""

    def better_than(self, rival: Rival) -> bool:
        return rival.shown and self._ahead(rival)

    def verdict(self, rival: Rival, names: Sequence[str]) -> str:
        """In words, given the names of all settings of the table."""
        if rival.seeds < LEAST_SEEDS:
            return f"not tested: {plural(rival.seeds, 'common seed')}"
        if rival.p is None:
            return "not tested: every seed has the same difference"
        if not rival.shown:
            return NO_DIFFERENCE
        return f"{names[self.best if self._ahead(rival) else rival.setting]} is better"

    def _ahead(self, rival: Rival) -> bool:
        """Over the common seeds, which may be fewer than those that the best was chosen by."""
        assert rival.difference is not None
        return (rival.difference.mean > 0) == self.protocol.main.higher_is_better


Scores = Mapping[int, float]
"""By seed."""


def compare(settings: Sequence[Setting], protocol: Protocol) -> Comparison | None:
    """None if no two settings have enough seeds in common, or if more of the main metric is neither better nor worse."""
    if not protocol.main.ranked:
        return None
    found = {i: setting.scores(protocol) for i, setting in enumerate(settings) if not setting.baseline}
    scores = {i: own for i, own in found.items() if own}
    tested = _testable(scores)
    if not tested:
        return None
    means = {i: fmean(own.values()) for i, own in scores.items()}
    top = protocol.main.best([means[i] for i in tested])
    best = next(i for i in tested if means[i] == top)
    others = sorted(
        scores.keys() - {best}, key=lambda i: (-means[i] if protocol.main.higher_is_better else means[i], i)
    )
    differences = [_differences(scores[best], scores[i]) for i in others]
    pairs = len(tested) * (len(tested) - 1) // 2
    p = _corrected([paired_t(values) if len(values) >= LEAST_SEEDS else None for values in differences], pairs)
    signed_rank = _corrected([wilcoxon(values) for values in differences], pairs)
    rivals = [Rival(*entry) for entry in zip(others, map(spread, differences), p, signed_rank, strict=True)]
    return Comparison(protocol, best, tuple(rivals))


def _testable(scores: Mapping[int, Scores]) -> list[int]:
    """The settings that have enough seeds in common with another one."""
    seeds = {i: frozenset(own) for i, own in scores.items()}
    count = Counter(seeds.values())

    def paired(own: frozenset[int]) -> bool:
        return any(len(own & other) >= LEAST_SEEDS and (own != other or count[own] > 1) for other in count)

    enough = {own: paired(own) for own in count}
    return [i for i, own in seeds.items() if enough[own]]


def _differences(best: Scores, other: Scores) -> list[float]:
    return [best[seed] - other[seed] for seed in sorted(best.keys() & other.keys())]


def _corrected(values: Sequence[float | None], pairs: int) -> list[float | None]:
    known = [i for i, value in enumerate(values) if value is not None]
    corrected = holm([value for value in values if value is not None], pairs)
    places = dict(zip(known, corrected, strict=True))
    return [places.get(i) for i in range(len(values))]


def comparison_table(
    comparisons: Sequence[Comparison], protocols: Sequence[Protocol], names: Sequence[str], shown: Container[int]
) -> Table:
    """`protocols`: those of the main table, whose footnotes have the marks; `names`: of its settings; `shown`: places of those to list."""
    exact = any(rival.wilcoxon is not None for found in comparisons for rival in found.rivals)
    labels = ["evaluation", "best mean", "against", "common seeds", "difference", "95 % interval", "p", "Wilcoxon p"]
    rows: list[list[str]] = []
    for found in comparisons:
        main = found.protocol.main
        evaluation = f"{found.protocol.title}{superscript(protocols.index(found.protocol) + 1)} {main.label}"
        for rival in (rival for rival in found.rivals if rival.setting in shown):
            values, digits = rival.difference, main.digits + 1
            reach = mean_interval(values) if values and rival.p is not None else None
            row = [evaluation, names[found.best], names[rival.setting], str(rival.seeds)]
            row += [signed(values.mean, digits) if values else NONE, interval(reach, digits, sign=True)]
            row += [p_value(rival.p), *([p_value(rival.wilcoxon)] if exact else [])]
            rows.append([*row, found.verdict(rival, names)])
    heads = [*labels, "verdict"] if exact else [*labels[:-1], "verdict"]
    table = plain_table(TITLE, heads, rows, numeric="|".join(labels[3:]))
    return replace(table, remarks=(HOW_REMARK, VERDICT_REMARK, *([WILCOXON_REMARK] if exact else [])))
