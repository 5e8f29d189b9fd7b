"""Spread, intervals and tests, as functions of plain numbers. SciPy is imported when something is computed with it."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

LEVEL = 0.05
"""A difference is claimed for a p below it; intervals have a confidence of 1 - LEVEL."""
LEAST_SEEDS = 3
"""Common seeds that a paired test takes at least."""
LEAST_FOR_WILCOXON = 6
"""With fewer pairs, the signed-rank test cannot have a p below 0.05: the least one is 2 / 2^n."""
ROUNDING = 1e-9
"""Share of a number's size below which a deviation comes from the rounding of floats."""


class Interval(NamedTuple):
    low: float
    high: float


@dataclass(frozen=True)
class Spread:
    """Mean, sample standard deviation (n - 1; none for one value), and n."""

    mean: float
    std: float | None
    n: int


def spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def mean_interval(value: Spread) -> Interval | None:
    """95 % confidence interval of the mean by Student's t with n - 1 degrees of freedom; None for one value."""
    if value.std is None:
        return None
    from scipy.special import stdtrit

    reach = float(stdtrit(value.n - 1, 1 - LEVEL / 2)) * value.std / math.sqrt(value.n)
    return Interval(value.mean - reach, value.mean + reach)


def next_interval(value: Spread) -> Interval | None:
    """95 % prediction interval of one more value, by Student's t with n - 1 degrees of freedom; None for one value.

    Unlike that of the mean, it says where a single further seed would lie.
    """
    if value.std is None:
        return None
    from scipy.special import stdtrit

    reach = float(stdtrit(value.n - 1, 1 - LEVEL / 2)) * value.std * math.sqrt(1 + 1 / value.n)
    return Interval(value.mean - reach, value.mean + reach)


def wilson(hits: int, images: int) -> Interval:
    """95 % interval of a share, as fractions (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    Unlike mean ± 1.96 standard errors, it stays within [0, 1] and is right near its ends.
    """
    assert 0 <= hits <= images and images
    z = statistics.NormalDist().inv_cdf(1 - LEVEL / 2)
    share, weight = hits / images, 1 + z**2 / images
    middle = (share + z**2 / (2 * images)) / weight
    reach = z / weight * math.sqrt(share * (1 - share) / images + z**2 / (4 * images**2))
    return Interval(max(middle - reach, 0.0), min(middle + reach, 1.0))


def paired_t(differences: Sequence[float]) -> float | None:
    """p of the two-sided paired t-test: whether the mean of the differences is zero.

    None where the test is not defined: for one difference, and if all are the same but not zero. Accuracies are multiples
    of one over the number of images, so a few seeds may well agree to the last image; no spread can be estimated then.
    """
    found = spread(differences)
    if found is None or found.std is None:
        return None
    if found.std <= ROUNDING * max(map(abs, differences)):
        return None if any(differences) else 1.0
    from scipy.special import stdtr

    t = found.mean / (found.std / math.sqrt(found.n))
    return 2 * float(stdtr(found.n - 1, -abs(t)))


def wilcoxon(differences: Sequence[float]) -> float | None:
    """p of the two-sided signed-rank test (Wilcoxon 1945, doi:10.2307/3001968); None for fewer than six differences.

    Differences of zero are left out and equal ones share their ranks, as in the paper. The p is exact also then: it counts
    all ways to give signs to these very ranks.
    """
    if len(differences) < LEAST_FOR_WILCOXON:
        return None
    step = ROUNDING * max(map(abs, differences)) or 1.0
    nonzero = [whole for value in differences if (whole := round(value / step))]  # equal ones are equal as integers
    doubled = [round(2 * rank) for rank in _ranks([abs(value) for value in nonzero])]  # counted as integers too
    ways = Counter({0: 1})  # by the sum of the ranks with a plus
    for rank in doubled:
        ways = Counter({total: ways[total] + ways[total - rank] for total in {*ways, *(key + rank for key in ways)}})
    plus = sum(rank for rank, value in zip(doubled, nonzero, strict=True) if value > 0)
    least = min(plus, sum(doubled) - plus)
    return min(1.0, 2 * sum(count for total, count in ways.items() if total <= least) / 2 ** len(nonzero))


def mcnemar(only_first: int, only_second: int) -> float:
    """p of the two-sided mid-p McNemar test (Fagerland et al. 2013, doi:10.1186/1471-2288-13-91): whether two classifiers
    are right equally often.

    Of the images that exactly one of them classifies rightly, each is the first's with probability 1/2. The mid-p counts the
    probability of what was found by half; the exact test rejects less often than it says it does.

    Args:
        only_first: images that the first one alone classifies rightly.
        only_second: likewise the second.
    """
    fewer, images = min(only_first, only_second), only_first + only_second
    if images == 0:
        return 1.0
    from scipy.special import bdtr

    below = float(bdtr(fewer - 1, images, 0.5)) if fewer else 0.0
    return min(1.0, float(bdtr(fewer, images, 0.5)) + below)  # 2 P(X <= fewer) - P(X = fewer)


def holm(values: Sequence[float], comparisons: int) -> list[float]:
    """p values, in their order, corrected for `comparisons` tests (Holm 1979, https://www.jstor.org/stable/4615733).

    `comparisons` may be more than there are values: those that are not given count as larger, which claims no more than
    Holm's method over all of them.
    """
    assert comparisons >= len(values)
    order = sorted(range(len(values)), key=lambda i: values[i])
    scaled = (min(1.0, (comparisons - step) * values[i]) for step, i in enumerate(order))
    corrected = dict(zip(order, accumulate(scaled, max), strict=True))
    return [corrected[i] for i in range(len(values))]


def rank_rows(rows: Sequence[Sequence[float]], higher_is_better: bool = True) -> list[list[float]]:
    """Of each row its ranks: 1 for the best score; equal scores share the mean of their ranks."""
    return [_ranks([-score for score in row] if higher_is_better else row) for row in rows]


def _ranks(values: Sequence[float]) -> list[float]:
    """From 1 for the smallest."""
    counts = Counter(values)
    ends = dict(zip(sorted(counts), accumulate(counts[value] for value in sorted(counts)), strict=True))
    return [ends[value] - (counts[value] - 1) / 2 for value in values]


def friedman(ranks: Sequence[Sequence[float]]) -> float:
    """p of Friedman's test (1937, doi:10.1080/01621459.1937.10503522): whether some column ranks otherwise than others.

    `ranks` has a row for each data set. By the χ² distribution with the correction for ties, so approximate; 1.0 if all
    ranks are tied.
    """
    datasets, methods = len(ranks), len(ranks[0])
    ties = sum(count**3 - count for row in ranks for count in Counter(row).values())
    untied = 1 - ties / (datasets * (methods**3 - methods))
    if untied <= 0:
        return 1.0
    from scipy.special import chdtrc

    sums = [sum(column) for column in zip(*ranks, strict=True)]
    squares = sum(total**2 for total in sums)
    chi2 = 12 * squares / (datasets * methods * (methods + 1)) - 3 * datasets * (methods + 1)
    return float(chdtrc(methods - 1, max(chi2, 0.0) / untied))


def critical_difference(methods: int, datasets: int) -> float:
    """How far apart two average ranks must be at least (Nemenyi's test; Demšar 2006, JMLR 7, section 3.2.2)."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - LEVEL, methods, math.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * datasets))
