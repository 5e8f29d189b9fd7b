"""The same neighbours and votes as scikit-learn's and Lightly's, on any number of ranks and in blocks of any size."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from ranks import Ranks
from sklearn.neighbors import KNeighborsClassifier
from ssl_sweep.evaluation import neighbours
from ssl_sweep.evaluation.heaps import offer
from ssl_sweep.evaluation.neighbours import LAST_ROW, NOTHING, Bank, keys_of, nearer, nearest
from ssl_sweep.evaluation.vote import log_votes, vote
from ssl_sweep.methods.parts.collectives import rank, world_size
from torch import Tensor

CLASSES = 7
NUMBERS = (1, 2, 5, 20, 100, 257)
TEMPERATURES = (0.001, 0.003, 0.01, 0.03, 0.07, 0.1, 0.3, 1.0, 10.0)
PAIRS = [(k, temperature) for k in NUMBERS for temperature in TEMPERATURES]


class Case(NamedTuple):
    bank: Tensor  # (257, D)
    classes: Tensor  # (257,)
    queries: Tensor  # (101, D)
    labels: Tensor  # (101,)


def random(seed: int = 0) -> Case:
    draw = torch.Generator().manual_seed(seed)
    classes, labels = (torch.randint(CLASSES, (n,), generator=draw) for n in (257, 101))
    return Case(torch.randn(257, 24, generator=draw), classes, torch.randn(101, 24, generator=draw), labels)


def clustered() -> Case:
    case = random(1)
    centres = 3 * torch.randn(CLASSES, 24, generator=torch.Generator().manual_seed(2))
    return case._replace(bank=case.bank + centres[case.classes], queries=case.queries + centres[case.labels])


def full_of_ties() -> Case:
    """Four entries of ± 1/2: similarities are multiples of 1/4, without rounding, and many images are the same."""
    draw = torch.Generator().manual_seed(3)
    bank, queries = (
        torch.zeros(n, 8).scatter_(1, torch.rand(n, 8, generator=draw).argsort(1)[:, :4], 0.5) for n in (257, 101)
    )
    return random()._replace(bank=bank, queries=queries * (1 - 2 * torch.randint(2, queries.shape, generator=draw)))


def copies() -> Case:
    """Each image of the bank a few times."""
    case = clustered()
    return case._replace(bank=case.bank[torch.randint(40, (257,), generator=torch.Generator().manual_seed(4))])


CASES = {"random": random, "clustered": clustered, "ties": full_of_ties, "copies": copies}


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Ranks]]:
    made = {size: Ranks(size, tmp_path_factory.mktemp("gloo") / "rendezvous") for size in (2, 3)}
    yield made
    for pool in made.values():
        pool.close()


def found_here(case: Case, k: int, blocks: tuple[int, int], same: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Similarities and rows (q, k) of this rank's queries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "QUERIES", blocks[0])
        patch.setattr(neighbours, "ROWS", blocks[1])
        own = slice(rank(), None, world_size())
        bank = Bank(case.bank[own], len(case.bank))
        found = list(nearest(case.queries[own], len(case.queries), bank, k, same=same))
    return torch.cat([one.similarity for one in found]), torch.cat([one.rows for one in found])


def found_by(pool: Ranks, *args: Any) -> tuple[Tensor, Tensor]:
    """The same of all queries, in their order."""
    answers = pool.run(found_here, *args)
    found = [torch.empty(101, *part.shape[1:], dtype=part.dtype) for part in answers[0]]
    for i, answer in enumerate(answers):
        for whole, part in zip(found, answer, strict=True):
            whole[i :: len(answers)] = part
    return found[0], found[1]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("k", [1, 20, 300])
def test_a_cpu_finds_what_a_gpu_finds(name: str, k: int) -> None:
    """Each has its own way to keep the nearest; both run here."""
    case = CASES[name]()
    itself = torch.arange(101) + 50
    ours, theirs = (torch.full((101, k), NOTHING) for _ in range(2))
    for first in range(0, 257, 64):
        similarity = case.queries @ case.bank[first : first + 64].T
        offer(ours, similarity, first, 1, LAST_ROW, itself)
        theirs = nearer(theirs, similarity, first, itself)
    found = theirs.masked_fill(theirs < keys_of(torch.tensor([[-1e30]]), torch.tensor(0)), NOTHING)  # of length -inf
    assert torch.equal(ours.sort(dim=1, descending=True).values, found)


@pytest.mark.parametrize("name", CASES)
def test_neighbours_are_the_same_on_any_number_of_ranks(name: str, pools: dict[int, Ranks]) -> None:
    case = CASES[name]()
    for k in (1, 20, 257):
        similarity, rows = found_here(case, k, (16, 32))
        for pool in pools.values():
            other, others = found_by(pool, case, k, (16, 32))
            assert torch.equal(others, rows) and torch.equal(other, similarity)


@pytest.mark.parametrize("blocks", [(16, 32), (8, 256), (1024, 8192)])
def test_of_equally_near_images_the_first_are_neighbours(blocks: tuple[int, int]) -> None:
    case = full_of_ties()
    exact = (case.queries @ case.bank.T).double().numpy()
    order = np.argsort(-exact, axis=1, kind="stable")
    for k in (1, 5, 31, 32, 100, 257):
        similarity, rows = found_here(case, k, blocks)
        assert rows.numpy().tolist() == order[:, :k].tolist()
        assert similarity.numpy().tolist() == np.take_along_axis(exact, order[:, :k], 1).tolist()


def test_an_image_is_no_neighbour_of_its_own(pools: dict[int, Ranks]) -> None:
    case = clustered()
    same = torch.arange(101).flip(0) + 7
    same[::5] = -1
    case = case._replace(queries=case.bank[same])
    _, rows = found_here(case, 256, (16, 32), same)
    assert not (rows == same[:, None]).any()
    _, usual = found_here(case, 257, (16, 32))
    for own, every, itself in zip(rows.tolist(), usual.tolist(), same.tolist(), strict=True):
        assert own == [row for row in every if row != itself][:256]
    for pool in pools.values():
        assert torch.equal(found_by(pool, case, 256, (16, 32), same)[1], rows)


def predicted(case: Case, k: int, temperature: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """scikit-learn's class of each query, and whether float32 is enough to tell it from the next one."""

    def weights(distance: NDArray[Any]) -> NDArray[Any]:
        return np.exp((distance.min(axis=1, keepdims=True) - distance) / temperature)

    model = KNeighborsClassifier(k, weights=weights, metric="cosine", algorithm="brute")
    model.fit(case.bank.double().numpy(), case.classes.numpy())
    shares = model.predict_proba(case.queries.double().numpy())
    first, second = np.sort(shares, axis=1)[:, ::-1][:, :2].T
    distances = np.sort(model.kneighbors(case.queries.double().numpy(), len(case.bank))[0], axis=1)
    apart = distances[:, k] - distances[:, k - 1] > 1e-6 if k < len(case.bank) else True
    return model.classes_[shares.argmax(axis=1)], (1 - second / first > 1e-6 / temperature) & apart


@pytest.mark.parametrize("name", ["random", "clustered"])
def test_classes_are_scikit_learns(name: str) -> None:
    case = CASES[name]()
    similarity, rows = found_here(case, 257, (16, 32))
    clear = 0
    for k, temperature in PAIRS:
        votes = log_votes(similarity[:, :k], case.classes[rows[:, :k]], CLASSES, temperature)
        wanted, is_clear = predicted(case, k, temperature)
        assert (votes.argmax(dim=1).numpy() == wanted)[is_clear].all(), (k, temperature)
        clear += is_clear.sum()
    assert clear > 0.99 * len(PAIRS) * 101


def lightlys(case: Case, k: int, temperature: float) -> Tensor:
    """Scores (Q, C) as Lightly's `knn_predict` defines them, in float64: exp(s / T), summed by class."""
    bank, queries = (F.normalize(rows.double(), dim=1) for rows in (case.bank, case.queries))
    near, index = (queries @ bank.T).topk(k, dim=1)
    onehot = F.one_hot(case.classes[index], CLASSES)  # (Q, k, C)
    return (onehot * (near / temperature).exp()[:, :, None]).sum(dim=1)


def counted(scores: Tensor, labels: Tensor) -> tuple[int, int]:
    """Hits in the first place and in the first five of the classes that have a vote."""
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :5]
    hits = (order == labels[:, None]) & (scores.gather(1, order) > 0)
    return int(hits[:, 0].sum()), int(hits.sum())


@pytest.mark.parametrize("name", ["random", "clustered"])
def test_counts_are_those_of_lightlys_vote(name: str) -> None:
    case = CASES[name]()
    similarity, rows = found_here(case, 257, (16, 32))
    pairs = [(k, temperature) for k, temperature in PAIRS if temperature >= 0.01]  # below, exp(s / T) is too large
    counts = vote(similarity, case.classes[rows], case.labels, CLASSES, pairs).counts
    for (k, temperature), (first, five, images, _) in zip(pairs, counts.tolist(), strict=True):
        assert ((first, five), images) == (counted(lightlys(case, k, temperature), case.labels), 101)


@pytest.mark.parametrize(("k", "temperature"), [(200, 0.1), (20, 0.1), (200, 0.07)])
def test_the_first_edition_counted_as_many(k: int, temperature: float) -> None:
    """In the first place; among five it counted classes without a vote too."""
    case = clustered()
    bank, queries = F.normalize(case.bank, dim=1), F.normalize(case.queries, dim=1)
    near, index = (queries @ bank.T).topk(k, dim=1)
    scores = torch.zeros(101, CLASSES).scatter_add_(1, case.classes[index], (near / temperature).exp())
    first = (scores.argmax(dim=1) == case.labels).sum()
    similarity, rows = found_here(case, k, (1024, 8192))
    ((ours, five, _, _),) = vote(similarity, case.classes[rows], case.labels, CLASSES, [(k, temperature)]).counts
    assert ours == first
    if k == 200:  # every class has a vote
        assert five == counted(scores, case.labels)[1]


@pytest.mark.parametrize("temperature", [1e-6, 1e-3, 1.0, 1e6])
def test_votes_at_any_temperature(temperature: float) -> None:
    near = torch.tensor([[0.9, 0.8, 0.8, -0.7, -0.9]])
    classes = torch.tensor([[3, 1, 1, 0, 6]])
    votes = log_votes(near, classes, CLASSES, temperature)[0]
    assert votes[[2, 4, 5]].eq(-torch.inf).all()
    first = 3 if temperature < 0.1 else 1
    assert votes.argsort(descending=True)[:4].tolist() == [first, 4 - first, 0, 6]
    assert votes[1] == pytest.approx(0.8 / temperature + np.log(2), rel=1e-6)
    wanted = {3: [int(first == 3), 1], 1: [int(first == 1), 1], 0: [0, 1], 6: [0, 1], 2: [0, 0], 5: [0, 0]}
    for label, hits in wanted.items():
        counts = vote(near, classes, torch.tensor([label]), CLASSES, [(5, temperature)]).counts
        assert counts.tolist() == [[*hits, 1, 0]]


def test_equal_classes_are_in_their_order() -> None:
    near, classes = torch.full((1, 4), 0.5), torch.tensor([[5, 2, 2, 5]])
    for label, hits in ((2, 1), (5, 0)):
        counts = vote(near, classes, torch.tensor([label]), CLASSES, [(4, 0.1)]).counts
        assert counts.tolist() == [[hits, 1, 1, 0]]
