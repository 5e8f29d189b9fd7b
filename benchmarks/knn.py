"""kNN of this project beside faiss's flat index, scikit-learn's brute search and one whole matrix, on the same features.

    pip install -e '.[peers]'
    python benchmarks/knn.py --train 50000 --test 10000 --dim 512 -k 200

Features are random, of length 1, and their classes drawn beside them. Two tables:

    search     the k nearest training images of every test image: our blocks, faiss's `IndexFlatIP`, and the similarities of
               all pairs at once with `topk`, as the first edition of this project had it
    with vote  classes of the test images: our search and vote; scikit-learn's `KNeighborsClassifier`, brute, with the weights
               exp(s / T); the whole matrix with the first edition's vote

Contenders work by turns on the same threads, and the best turn of each counts: CPU seconds of the process, and ratios to ours.
The neighbours are compared too: those of equal similarity may differ, and so may those that rounding makes change places.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier
from ssl_sweep.evaluation.neighbours import Bank, nearest
from ssl_sweep.evaluation.vote import log_votes
from threadpoolctl import threadpool_limits
from torch import Tensor

TEMPERATURE = 0.1


class Features(NamedTuple):
    train: Tensor  # (N, D)
    classes: Tensor  # (N,)
    test: Tensor  # (Q, D)
    num_classes: int
    k: int


def features(arguments: argparse.Namespace) -> Features:
    draw = torch.Generator().manual_seed(0)
    train, test = (
        F.normalize(torch.randn(n, arguments.dim, generator=draw)) for n in (arguments.train, arguments.test)
    )
    classes = torch.randint(arguments.classes, (len(train),), generator=draw)
    return Features(train, classes, test, arguments.classes, arguments.k)


def our_search(data: Features) -> Tensor:
    """Rows (Q, k) of the neighbours, as those below."""
    return torch.cat(
        [one.rows for one in nearest(data.test, len(data.test), Bank(data.train, len(data.train)), data.k)]
    )


def faiss_search(data: Features) -> Tensor:
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index: Any = faiss.IndexFlatIP(data.train.shape[1])
    index.add(data.train.numpy())
    return torch.from_numpy(index.search(data.test.numpy(), data.k)[1])


def whole_search(data: Features) -> Tensor:
    return (data.test @ data.train.T).topk(data.k, dim=1).indices


def our_vote(data: Features) -> Tensor:
    """Classes (Q,) of the test images, as those below."""
    found = nearest(data.test, len(data.test), Bank(data.train, len(data.train)), data.k)
    votes = (log_votes(one.similarity, data.classes[one.rows], data.num_classes, TEMPERATURE) for one in found)
    return torch.cat([scores.argmax(dim=1) for scores in votes])


def sklearn_vote(data: Features) -> Tensor:
    def weights(distance: NDArray[Any]) -> NDArray[Any]:
        return np.exp(-np.square(distance) / 2 / TEMPERATURE)  # 1 - s, of vectors of length 1

    model = KNeighborsClassifier(data.k, weights=weights, metric="euclidean", algorithm="brute")  # faster than "cosine"
    return torch.from_numpy(model.fit(data.train.numpy(), data.classes.numpy()).predict(data.test.numpy()))


def whole_vote(data: Features) -> Tensor:
    near, rows = (data.test @ data.train.T).topk(data.k, dim=1)
    votes = torch.zeros(len(data.test), data.num_classes)
    return votes.scatter_add_(1, data.classes[rows], (near / TEMPERATURE).exp()).argmax(dim=1)


SEARCHES = {"ssl-sweep": our_search, "faiss": faiss_search, "whole matrix": whole_search}
VOTES = {"ssl-sweep": our_vote, "scikit-learn": sklearn_vote, "whole matrix": whole_vote}


def race(contenders: dict[str, Callable[[Features], Tensor]], data: Features, turns: int) -> None:
    """Prints a table."""
    best = dict.fromkeys(contenders, float("inf"))
    results: dict[str, Tensor] = {}
    for _ in range(turns):
        for name, work in contenders.items():
            start = time.process_time()
            results[name] = work(data)
            best[name] = min(best[name], time.process_time() - start)
    ours, seconds = results["ssl-sweep"], best["ssl-sweep"]
    for name, result in results.items():
        same = (result.sort().values == ours.sort().values) if result.ndim == 2 else result == ours
        print(f"| {name} | {best[name]:.2f} | {best[name] / seconds:.2f} | {100 * float(same.double().mean()):.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=50_000, help="training images")
    parser.add_argument("--test", type=int, default=10_000, help="test images")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("-k", type=int, default=200)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    threadpool_limits(arguments.threads)  # of NumPy and scikit-learn
    data = features(arguments)
    searches = dict(SEARCHES)
    if importlib.util.find_spec("faiss") is None:
        del searches["faiss"]
        print("faiss is not installed, so it does not take part: pip install -e '.[peers]'\n")
    for title, contenders in (("search", searches), ("with vote", VOTES)):
        print(f"| {title} | CPU seconds | ratio to ssl-sweep | equal results, % |\n|---|--:|--:|--:|")
        race(contenders, data, arguments.turns)
        print()


if __name__ == "__main__":
    main()
