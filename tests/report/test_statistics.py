"""Intervals and tests against figures worked by hand, tables of the papers, and SciPy."""

import itertools
import math
import random

import pytest
import scipy.stats
from ssl_sweep.orchestrator.report.statistics import (
    Spread,
    critical_difference,
    friedman,
    holm,
    mcnemar,
    mean_interval,
    paired_t,
    rank_rows,
    spread,
    wilcoxon,
    wilson,
)


def test_the_interval_of_a_mean_is_student_s() -> None:
    low, high = mean_interval(Spread(85.0, 1.0, 3)) or (0.0, 0.0)
    assert (low, high) == pytest.approx((85 - 4.302653 / math.sqrt(3), 85 + 4.302653 / math.sqrt(3)), abs=1e-6)
    values = [84.1, 86.0, 83.2, 85.5, 84.9]
    found = spread(values)
    assert found is not None
    expected = scipy.stats.t.interval(0.95, 4, scipy.stats.tmean(values), scipy.stats.sem(values))
    assert mean_interval(found) == pytest.approx(expected)
    assert mean_interval(Spread(85.0, None, 1)) is None


def test_paired_t() -> None:
    t = 2 / (1 / math.sqrt(3))  # of 1, 2, 3; with two degrees of freedom p has a closed form
    assert paired_t([1.0, 2.0, 3.0]) == pytest.approx(1 - t / math.sqrt(2 + t**2)) == pytest.approx(0.0742, abs=1e-4)
    draws = random.Random(0)
    a, b = ([draws.gauss(mean, 1) for _ in range(8)] for mean in (85, 84))
    expected = scipy.stats.ttest_rel(a, b).pvalue
    assert paired_t([x - y for x, y in zip(a, b, strict=True)]) == pytest.approx(expected)


def test_the_same_difference_for_every_seed_has_no_p() -> None:
    assert paired_t([0.0, 0.0, 0.0]) == 1.0
    assert paired_t([2.0, 2.0, 2.0]) is None
    assert paired_t([84.1 - 82.0, 85.1 - 83.0, 83.3 - 81.2]) is None  # equal but for the rounding of floats
    assert paired_t([1.0]) is None and paired_t([]) is None


def test_wilcoxon_counts_the_signs() -> None:
    assert wilcoxon([1, 2, 3, 4, 5]) is None
    assert wilcoxon([1, 2, 3, 4, 5, 6]) == 2 / 64
    assert wilcoxon([1, 2, 3, 4, 5, -6]) == 2 * 14 / 64  # 14 sets of ranks have a sum of at most 6
    assert wilcoxon([0.0] * 6) == 1.0
    draws = random.Random(1)
    values = [draws.gauss(0.5, 1) for _ in range(11)]
    assert wilcoxon(values) == pytest.approx(scipy.stats.wilcoxon(values, method="exact").pvalue)


def test_wilcoxon_is_exact_with_equal_differences() -> None:
    values = [0.3, -0.3, 0.7, 0.7, 0.7, 1.1, 0.0]
    ranks = [1.5, 1.5, 4, 4, 4, 6]  # without the zero
    sums = [
        sum(r for r, plus in zip(ranks, signs, strict=True) if plus) for signs in itertools.product((0, 1), repeat=6)
    ]
    assert wilcoxon(values) == 2 * sum(total <= 1.5 for total in sums) / 64
    rounded = [84.3 - 84.0, 84.0 - 84.3, 84.7 - 84.0, 85.7 - 85.0, 83.7 - 83.0, 85.1 - 84.0, 0.0]
    assert wilcoxon(rounded) == wilcoxon(values)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03], 3) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.01, 0.04, 0.03], 6) == pytest.approx([0.06, 0.16, 0.15])  # three more, which count as larger
    assert holm([0.6, 0.9], 2) == [1.0, 1.0] and holm([], 0) == []


@pytest.mark.parametrize("hits", [0, 3, 4410, 9999, 10_000])
def test_wilson(hits: int) -> None:
    expected = scipy.stats.binomtest(hits, 10_000).proportion_ci(method="wilson")
    assert wilson(hits, 10_000) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_by_hand() -> None:
    assert wilson(10, 10) == pytest.approx((10 / (10 + 1.959964**2), 1.0))


def test_ranks_share_ties() -> None:
    assert rank_rows([[80.0, 90.0, 70.0, 80.0]]) == [[2.5, 1.0, 4.0, 2.5]]
    assert rank_rows([[1.0, 3.0, 2.0]], higher_is_better=False) == [[1.0, 3.0, 2.0]]


def test_friedman() -> None:
    draws = random.Random(2)
    rows = [[round(draws.gauss(80 + 2 * i, 3)) for i in range(4)] for _ in range(7)]  # with ties
    assert any(len(set(row)) < 4 for row in rows)
    expected = scipy.stats.friedmanchisquare(*zip(*rows, strict=True)).pvalue
    assert friedman(rank_rows(rows)) == pytest.approx(expected)
    assert friedman([[1.0, 2.0, 3.0]] * 3) == pytest.approx(math.exp(-3))  # χ² = 6 with two degrees of freedom
    assert friedman([[2.0, 2.0, 2.0]] * 3) == 1.0


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_critical_values_are_demsar_s(methods: int, q: float) -> None:
    """Table 5a of the paper, and its example of four classifiers on 14 data sets."""
    assert critical_difference(methods, 1) == pytest.approx(q * math.sqrt(methods * (methods + 1) / 6), rel=5e-4)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_mcnemar_s_mid_p() -> None:
    """Half the probability of what was found, of Fagerland's exact test."""
    assert mcnemar(0, 0) == mcnemar(5, 5) == 1.0
    assert mcnemar(0, 3) == mcnemar(3, 0) == pytest.approx(2 / 8 - 1 / 8)
    assert mcnemar(1, 6) == pytest.approx(2 * (1 + 7) / 128 - 7 / 128)
    exact = scipy.stats.binomtest(420, 1000, 0.5).pvalue
    assert mcnemar(420, 580) == pytest.approx(exact - scipy.stats.binom.pmf(420, 1000, 0.5))
