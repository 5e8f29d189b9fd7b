"""Evaluations of one backbone share its features."""

from collections.abc import Callable

import torch
from ssl_sweep.evaluation.features import own_features
from ssl_sweep.evaluation.knn import KnnConfig, evaluate_knn
from ssl_sweep.evaluation.linear import LinearConfig, evaluate_linear
from ssl_sweep.evaluation.task import Extracted, Task

MakeTask = Callable[..., Task]


def encoded(task: Task) -> list[int]:
    """Sizes of the batches that its encoder has seen, while they are made."""
    sizes: list[int] = []
    task.encoder.register_forward_hook(lambda _module, args, _features: sizes.append(len(args[0])))
    return sizes


def test_each_image_is_encoded_once_for_all_evaluations(task: MakeTask) -> None:
    knn, linear = KnnConfig(k=(5,)), LinearConfig(epochs=2, batch_size=32, augment=False)
    alone = [evaluate_knn(task(), knn), evaluate_linear(task(), linear)]
    shared = task(extracted=Extracted())
    sizes = encoded(shared)
    assert [evaluate_knn(shared, knn), evaluate_linear(shared, linear)] == alone
    assert sum(sizes) == len(shared.train) + len(shared.test)


def test_what_has_no_room_is_extracted_again(task: MakeTask) -> None:
    made = task(extracted=Extracted())
    assert made.extracted is not None
    made.extracted.LIMIT = len(made.train) * made.encoder.dim * 4
    sizes = encoded(made)
    first = [own_features(made, images) for images in (made.train, made.test)]
    again = [own_features(made, images) for images in (made.train, made.test)]
    assert sum(sizes) == len(made.train) + 2 * len(made.test)
    for (features, labels), (others, same) in zip(first, again, strict=True):
        assert torch.equal(features, others) and torch.equal(labels, same)


def test_a_part_of_a_set_is_another_set(task: MakeTask) -> None:
    made = task(extracted=Extracted())
    part = made.train.share(0.25)
    features, _ = own_features(made, part)
    whole, _ = own_features(made, made.train)
    assert torch.allclose(features, whole[part.samples], atol=1e-5)
