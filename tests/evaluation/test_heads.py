"""Linear evaluation with several heads: each is what it is alone, and the reported one is not chosen on test images."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from ranks import Ranks
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepared import Prepared
from ssl_sweep.evaluation import heads
from ssl_sweep.evaluation.linear import LINEAR, LinearConfig, evaluate_linear, refusal
from ssl_sweep.evaluation.selection import held_out_rows
from ssl_sweep.evaluation.task import NotFinite, Score, Task
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import build_encoder
from ssl_sweep.methods.parts.collectives import rank, world_size
from torch import Tensor

MakeTask = Callable[..., Task]
VIT = BackboneConfig(
    name="vit_tiny_patch16_224", options={"patch_size": 8, "embed_dim": 32, "depth": 4, "num_heads": 2}
)
GRID = LinearConfig(
    epochs=2, batch_size=32, lr=(0.3, 3.0), weight_decay=(0.0, 0.01), features=("pooled", "cls4", "cls4+mean")
)
KINDS: dict[str, dict[str, Any]] = {
    "augmented": {},
    "normalised": {"normalize_features": True, "interpolation": "bicubic"},
    "stored": {"augment": False},
}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    made = Ranks(2, tmp_path_factory.mktemp("gloo") / "rendezvous")
    yield made
    made.close()


def vit_task(prepared: Prepared) -> Task:
    """On this rank of any number."""
    torch.manual_seed(0)
    train, test = ImageSet.open(prepared, "train"), ImageSet.open(prepared, "test")
    return Task(build_encoder(VIT, 16), VIT, train, test, 16, rank=rank(), world_size=world_size())


def trained(task: Task, config: LinearConfig) -> tuple[Score, list[list[Tensor]]]:
    """The score, and weight and bias of every head."""
    kept: list[heads.Built] = []

    def build(*args: Any) -> heads.Built:
        kept.append(made(*args))
        return kept[-1]

    made = heads.build
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads, "build", build)
        score = evaluate_linear(task, config)
    return score, [[p.detach() for p in linear.parameters()] for linear in kept[0].linears]


def compare_with_each_alone(prepared: Prepared, config: LinearConfig) -> Score:
    """Train the heads together and one by one; returns the score of all."""
    task = vit_task(prepared)
    score, together = trained(task, config)
    by_settings = {tuple(one.settings.values()): one.metrics for one in score.variants}
    assert len(by_settings) == len(config.heads)
    for head, weights in zip(config.heads, together, strict=True):
        own = LinearConfig.model_validate(config.model_dump() | {"selection": 0.1} | dict(head.settings))
        alone, (expected,) = trained(task, own)
        assert all(torch.equal(one, other) for one, other in zip(weights, expected, strict=True))
        metrics = dict(by_settings[tuple(head.settings.values())])
        metrics.pop("held_out_top1")
        assert metrics == alone.metrics and not alone.variants
        assert alone.remarks == ("trained without the 32 held-out training images",)
    return score


@pytest.mark.parametrize("kind", KINDS)
def test_each_head_is_to_the_last_bit_what_it_is_alone(kind: str, digits: Prepared) -> None:
    compare_with_each_alone(digits, GRID.model_copy(update=KINDS[kind]))


def test_so_it_is_on_two_ranks(digits: Prepared, pool: Ranks) -> None:
    config = GRID.model_copy(update={"lr": (0.3, 3.0), "weight_decay": (0.01,), "normalize_features": True})
    one, other = pool.run(compare_with_each_alone, digits, config)
    assert one == other and one.images == 100


def test_the_head_is_selected_on_held_out_training_images(digits: Prepared) -> None:
    task = vit_task(digits)
    score = evaluate_linear(task, GRID)
    first, *others = score.variants
    held = {tuple(one.settings.values()): one.metrics["held_out_top1"] for one in score.variants}
    best = max(held.values())
    chosen = next(head for head in GRID.heads if held[tuple(head.settings.values())] == best)
    assert first.settings == chosen.settings
    assert dict(score.metrics) == {key: first.metrics[key] for key in ("top1", "top5")} == dict(score.epochs[-1])
    assert [one.settings for one in others] == [h.settings for h in GRID.heads if h != chosen]
    assert len({one.metrics["top1"] for one in score.variants}) > 1
    assert score.remarks == ("by the one of 12 heads with the best top-1 on 32 held-out training images",)
    wrong = task.test.subset(torch.arange(100))
    wrong.labels = (wrong.labels + 1) % 10
    misled = evaluate_linear(task._replace(test=wrong), GRID)
    assert misled.variants[0].settings == chosen.settings and misled.metrics != score.metrics


def test_held_out_images_are_a_share_of_each_class(task: MakeTask) -> None:
    images = task().train
    fit, held = held_out_rows(images, 0.25, 0)
    assert torch.equal(torch.cat([fit, held]).sort().values, torch.arange(320))
    assert (images.labels[held].bincount() - images.labels.bincount() / 4).abs().max() < 1
    assert torch.equal(held, held_out_rows(images, 0.25, 0)[1])
    assert not torch.equal(held, held_out_rows(images, 0.25, 1)[1])
    part = images.subset(held)
    assert len(part) == 80 and torch.equal(part.samples, held)
    assert torch.equal(part.whole(torch.tensor([3])).pixels, images.whole(held[3:4]).pixels)
    with pytest.raises(ValueError, match=r"selection: got 0\.9; of 1 training image that leaves none to train on"):
        held_out_rows(images.subset(torch.tensor([5])), 0.9, 0)


def test_heads_that_diverge_are_left_out(digits: Prepared) -> None:
    task = vit_task(digits)
    config = LinearConfig(epochs=2, batch_size=32, lr=(1e38, 0.3), augment=False)
    score = evaluate_linear(task, config)
    assert [one.settings["lr"] for one in score.variants] == [0.3]
    assert score.remarks[1] == "1 of the heads diverged and is left out"
    with pytest.raises(NotFinite, match="the scores of all 2 heads are not finite"):
        evaluate_linear(task, config.model_copy(update={"lr": (1e38, 3e38)}))


def test_what_cannot_be_is_refused(task: MakeTask) -> None:
    problem = refusal(LinearConfig(lr=(0.1, 1.0), selection=0.0), VIT)
    assert problem == ("selection", "got 0; with 2 heads, one is selected on held-out training images")
    assert refusal(LinearConfig(selection=0.0), VIT) is None
    with pytest.raises(ValueError, match="features: got 'cls4'; must be 'pooled', 'cls' or 'cls\\+mean'"):
        evaluate_linear(task(), LinearConfig(features=("cls4",)))


def test_one_value_is_written_as_itself_and_old_identities_hold() -> None:
    plain = LinearConfig()
    assert plain == LinearConfig.model_validate({"lr": 0.1, "features": "pooled"})
    assert plain.identity["lr"] == 0.1 and not plain.identity.keys() & LinearConfig.added
    dinov2 = LINEAR.protocol("linear/dinov2@1")
    assert len(dinov2.heads) == 52 and dinov2.identity["features"] == ["cls", "cls+mean", "cls4", "cls4+mean"]
