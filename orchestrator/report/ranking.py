"""Which rows of a table come first, and which of many have curves, pictures and rows in the tables below the main one."""

from collections.abc import Sequence

from ...evaluation.registry import EVALUATIONS
from ...methods.quantities import integer
from .settings import Protocol, Setting, commonest

MOST_DETAILED = 24
"""Settings of a data set, baselines not counted, that everything is shown of."""
MOST_CURVES = 100
"""Settings of a data set whose curves are in the chart."""
MOST_BASELINES = 6
"""Baselines likewise."""


def deciding(settings: Sequence[Setting]) -> Protocol | None:
    """The first evaluation's protocol that most settings have, and by which one is better than another."""
    found = (commonest(settings, name) for name in EVALUATIONS)
    return next((protocol for protocol in found if protocol is not None and protocol.main.ranked), None)


def in_order(settings: Sequence[Setting]) -> list[Setting]:
    """Few settings stay as they are, by method and size; many are ranked by their means, baselines last."""
    if sum(not setting.baseline for setting in settings) <= MOST_DETAILED:
        return list(settings)
    protocol = deciding(settings)

    def order(setting: Setting) -> tuple[bool, bool, float]:
        score = setting.main(protocol) if protocol else None
        if protocol is None or score is None:
            return setting.baseline, True, 0.0
        return setting.baseline, False, -score.mean if protocol.main.higher_is_better else score.mean

    return sorted(settings, key=order)


def detailed(settings: Sequence[Setting]) -> tuple[int, ...]:
    """Places of the settings that everything is shown of, of those `in_order`."""
    methods = [i for i, setting in enumerate(settings) if not setting.baseline]
    baselines = [i for i, setting in enumerate(settings) if setting.baseline]
    return tuple(methods[:MOST_DETAILED] + baselines[:MOST_BASELINES])


def left_out(settings: Sequence[Setting], where: str) -> tuple[str, ...]:
    """What is said below a table without the settings that are not `detailed`; `where` they are found."""
    shown = len(detailed(settings))
    if shown == len(settings):
        return ()
    protocol = deciding(settings)
    by = f" by {protocol.title} {protocol.main.title}" if protocol else ""
    return (f"Shown: the best {integer(shown)} of {integer(len(settings))} settings{by}; the others: {where}.",)
