"""Further seeds for the best points: one training says little of a setting, and there is no need to repeat the poor ones."""

import math
from collections.abc import Mapping, Sequence

from ..spec.search import SearchConfig
from .objectives import Scores, keeps
from .points import Point

FEWEST = 2
"""Points that get all seeds, if there are as many: one has nothing to be compared with."""


def wanted_replicas(
    points: Mapping[str, Point],
    scores: Mapping[str, Mapping[int, Scores | None]],
    seeds: Sequence[int],
    search: SearchConfig,
) -> list[tuple[str, int]]:
    """What to run next, as names of points with a seed, when nothing runs.

    Of `n` points that were scored with the first seed, the best n / 2 get the second, the best n / 4 of these the third,
    and so on. A point of which a seed failed is out.
    """
    alive = {name: of_seed for name, of_seed in scores.items() if _is_sound(points[name], of_seed, search)}
    first = [name for name, of_seed in alive.items() if seeds[0] in of_seed]
    for i in range(1, len(seeds)):
        tried = [name for name in first if all(seed in alive[name] for seed in seeds[:i])]
        count = max(FEWEST, math.ceil(len(first) / 2**i))
        best = sorted(tried, key=lambda name: _mean(alive[name], seeds[:i], search), reverse=True)[:count]
        wanted = [(name, seeds[i]) for name in best if seeds[i] not in alive[name]]
        if wanted:
            return wanted
    return []


def _is_sound(point: Point, of_seed: Mapping[int, Scores | None], search: SearchConfig) -> bool:
    return all(scores is not None and keeps(search.limits, scores) for scores in of_seed.values()) and not point.stopped


def _mean(of_seed: Mapping[int, Scores | None], seeds: Sequence[int], search: SearchConfig) -> float:
    found = [scores[search.main] for seed in seeds if (scores := of_seed[seed]) is not None]
    return sum(found) / len(found)
