"""Retrieval: the same precision as slow rankings and scikit-learn's, on any number of ranks and in blocks of any size."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ranks import Ranks
from sklearn.metrics import average_precision_score
from ssl_sweep.evaluation import neighbours, ranking
from ssl_sweep.evaluation.features import all_features
from ssl_sweep.evaluation.neighbours import Bank
from ssl_sweep.evaluation.ranking import relevant_places
from ssl_sweep.evaluation.retrieval import RetrievalConfig, evaluate_retrieval, precisions
from ssl_sweep.evaluation.task import NotFinite, Task
from ssl_sweep.methods.parts.collectives import rank, world_size
from torch import Tensor

MakeTask = Callable[..., Task]
LARGE = (1024, 8192, 2**25)


class Case(NamedTuple):
    bank: Tensor  # (N, D)
    classes: Tensor  # (N,)
    queries: Tensor  # (Q, D)
    truth: Tensor  # (Q,)


def clustered() -> Case:
    """Classes of 1 to about 80 images, and one of which the bank has none."""
    draw = torch.Generator().manual_seed(0)
    classes = (7 * torch.rand(257, generator=draw).square()).long()
    classes[5] = 7
    truth = torch.arange(101) % 9
    centres = torch.randn(9, 16, generator=draw)
    bank, queries = (torch.randn(n, 16, generator=draw) for n in (257, 101))
    return Case(bank + centres[classes], classes, queries + centres[truth], truth)


def full_of_ties() -> Case:
    """Four entries of ± 1/2: similarities are multiples of 1/4, without rounding, and many images are the same."""
    draw = torch.Generator().manual_seed(3)
    bank, queries = (
        torch.zeros(n, 8).scatter_(1, torch.rand(n, 8, generator=draw).argsort(1)[:, :4], 0.5) for n in (257, 101)
    )
    return clustered()._replace(bank=bank, queries=queries * (1 - 2 * torch.randint(2, queries.shape, generator=draw)))


def all_the_same() -> Case:
    """Collapsed features: the order is that of the data set."""
    case = clustered()
    return case._replace(bank=torch.ones(257, 16) / 3, queries=torch.ones(101, 16) / 3)


CASES = {"clustered": clustered, "ties": full_of_ties, "collapsed": all_the_same}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    made = Ranks(3, tmp_path_factory.mktemp("gloo") / "rendezvous")
    yield made
    made.close()


def precisions_here(case: Case, limits: tuple[int, int, int] = LARGE, same: Tensor | None = None) -> Tensor:
    """(Q, 3), on this rank of any number."""
    with pytest.MonkeyPatch.context() as patch:
        for name, limit in zip(("QUERIES", "ROWS", "KEYS"), limits, strict=True):
            patch.setattr(neighbours if name == "ROWS" else ranking, name, limit)
        own = slice(rank(), None, world_size())
        bank = Bank(case.bank[own], len(case.bank))
        found = torch.full((len(case.truth), 3), math.nan, dtype=torch.double)
        for block in relevant_places(case.queries[own], case.truth, bank, case.classes, same=same):
            assert found[block.queries].isnan().all()  # each query once
            found[block.queries] = precisions(block)
    return found


def slow(case: Case, same: Tensor | None = None) -> list[list[float]]:
    """One query at a time, through its whole ranking."""
    bank, queries = (F.normalize(part, dim=1).double().numpy() for part in (case.bank, case.queries))
    found: list[list[float]] = []
    for i, query in enumerate(queries):
        order = np.argsort(-np.round(bank @ query, 7), kind="stable")  # equals keep the order of the bank
        hits = [bool(case.classes[row] == case.truth[i]) for row in order if same is None or row != same[i]]
        shares = [sum(hits[: n + 1]) / (n + 1) for n, hit in enumerate(hits) if hit]
        found.append([sum(shares) / len(shares), float(hits[0]), sum(hits[:10]) / 10] if shares else [-1.0] * 3)
    return found


@pytest.mark.parametrize("name", CASES)
def test_precisions_are_those_of_the_whole_ranking(name: str) -> None:
    case = CASES[name]()
    assert precisions_here(case).numpy() == pytest.approx(np.array(slow(case)))


def test_average_precision_is_scikit_learns() -> None:
    case = clustered()
    similarity = (F.normalize(case.queries.double(), dim=1) @ F.normalize(case.bank.double(), dim=1).T).numpy()
    for own, scores, truth in zip(precisions_here(case)[:, 0].tolist(), similarity, case.truth, strict=True):
        relevant = (case.classes == truth).numpy()
        assert own == pytest.approx(average_precision_score(relevant, scores) if relevant.any() else -1)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("leave_out", [False, True])
def test_ranks_and_blocks_change_nothing(name: str, leave_out: bool, pool: Ranks) -> None:
    case = CASES[name]()
    same = None
    if leave_out:
        same = torch.arange(101).flip(0) + 7
        same[::5] = -1
        case = case._replace(queries=case.bank[same], truth=case.classes[same])
    small = (16, 32, 2**12)
    alone = precisions_here(case, small, same)
    assert alone.numpy() == pytest.approx(np.array(slow(case, same)))
    for found in pool.run(precisions_here, case, small, same):
        assert torch.equal(found, alone)
    if name == "ties":
        for limits in (LARGE, (8, 256, 1), (1, 16, 2**25)):
            assert torch.equal(precisions_here(case, limits, same), alone)


def test_perfect_and_hopeless_rankings() -> None:
    axes = torch.eye(4)
    case = Case(axes.repeat_interleave(20, 0), torch.arange(4).repeat_interleave(20), axes, torch.arange(4))
    assert precisions_here(case).tolist() == [[1.0, 1.0, 1.0]] * 4
    last = precisions_here(case._replace(queries=-axes))
    assert last[:, 1:].eq(0).all()
    assert last[0, 0] == pytest.approx(sum(i / (60 + i) for i in range(1, 21)) / 20)


def test_the_score_is_the_mean_of_the_slow_one(task: MakeTask) -> None:
    made = task()
    (bank, classes), (queries, truth) = all_features(made, made.train), all_features(made, made.test)
    wanted = 100 * np.mean(slow(Case(bank, classes, queries, truth)), axis=0)
    score = evaluate_retrieval(made, RetrievalConfig())
    assert list(score.metrics) == ["map", "precision1", "precision10"]
    assert list(score.metrics.values()) == pytest.approx(list(wanted)) and not score.remarks


def test_queries_with_nothing_to_find_are_left_out(task: MakeTask) -> None:
    made = task()
    first = int((made.train.labels == 3).nonzero()[0])
    made.train.labels = torch.where(made.train.labels == 3, 4, made.train.labels)
    threes = int((made.test.labels == 3).sum())
    score = evaluate_retrieval(made, RetrievalConfig())
    assert score.images == 100 - threes
    assert score.remarks == (f"{threes} test images are left out, whose class has no training image to find",)
    made.train.labels[first] = 3  # the only one of its class does not find itself
    score = evaluate_retrieval(made._replace(test=made.train), RetrievalConfig())
    assert (
        score.images == 319 and score.remarks[0] == "320 of the test images are training images, and none finds itself"
    )
    made.train.labels = torch.arange(320) % 10
    made.test.labels = torch.full((100,), 10)
    with pytest.raises(ValueError, match="no test image has the class of any training image"):
        evaluate_retrieval(made, RetrievalConfig())


def test_features_that_are_not_finite_fail_it(task: MakeTask) -> None:
    made: Any = task()
    with torch.no_grad():
        next(made.encoder.parameters()).fill_(math.nan)
    with pytest.raises(NotFinite, match="the features of 320 of 320 training and 100 of 100 test images are not"):
        evaluate_retrieval(made, RetrievalConfig())
