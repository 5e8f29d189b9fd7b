"""Attentive probe: its pooling, its groups, and that probes which are trained together do not meet."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from ssl_sweep.evaluation.attentive import ATTENTIVE, AttentiveConfig, evaluate_attentive
from ssl_sweep.evaluation.attentive_pool import AttentivePool, groups, tokens_of
from ssl_sweep.evaluation.task import NotFinite, Task
from ssl_sweep.methods.config import BackboneConfig
from torch import Tensor, nn

MakeTask = Callable[..., Task]
SHORT = AttentiveConfig(epochs=2, batch_size=64, lr=(1e-2,), weight_decay=(1e-3,), augment=False)


def slow_logits(pool: AttentivePool, tokens: Tensor) -> Tensor:
    """With keys and values of every token, and torch's attention."""
    keys, values = F.linear(tokens, pool.key), pool.value(tokens)
    query = pool.query.expand(len(tokens), 1, -1)
    query, keys, values = (x.unflatten(2, (pool.heads, -1)).transpose(1, 2) for x in (query, keys, values))
    pooled = F.scaled_dot_product_attention(query, keys, values)  # (B, heads, 1, width)
    return pool.classifier(pooled.flatten(1))


@pytest.mark.parametrize(("dim", "heads"), [(32, 1), (64, 1), (96, 3), (192, 3), (256, 4)])
def test_it_is_attention_of_one_query(dim: int, heads: int) -> None:
    pool = AttentivePool(dim, 7, seed=0).double()
    generator = torch.Generator().manual_seed(1)
    for parameter in pool.parameters():
        nn.init.normal_(parameter, generator=generator)
    tokens = torch.randn(5, 11, dim, generator=generator, dtype=torch.float64)
    assert pool.heads == heads
    torch.testing.assert_close(pool(tokens), slow_logits(pool, tokens))


def test_biases_do_not_decay() -> None:
    pool = AttentivePool(64, 3, seed=0)
    decaying, others = groups(pool, 0.1, 0.05)
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.05, 0.0)
    names = {id(parameter): name for name, parameter in pool.named_parameters()}
    assert [names[id(p)] for p in decaying["params"]] == ["query", "key", "value.weight", "classifier.weight"]
    assert [names[id(p)] for p in others["params"]] == ["value.bias", "classifier.bias"]


@pytest.mark.parametrize("backbone", ["vit_tiny_patch16_224", "resnet18"])
def test_tokens_are_patches_or_cells(backbone: str, task: MakeTask) -> None:
    options = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2} if backbone.startswith("vit") else {}
    made = task(BackboneConfig(name=backbone, options=options))
    images = torch.randn(3, 3, 64, 64)
    tokens = tokens_of(made, images)
    assert tokens.shape == ((3, 64, 32) if options else (3, 4, 512))
    if not options:
        torch.testing.assert_close(tokens.mean(dim=1), made.encoder(images))


def test_each_probe_is_what_it_is_alone(task: MakeTask) -> None:
    several = SHORT.model_copy(update={"lr": (1e-2, 1e-3), "weight_decay": (1e-3, 0.1)})
    together = {
        tuple(one.settings.items()): one.metrics["top1"] for one in evaluate_attentive(task(), several).variants
    }
    assert len(together) == 4
    for probe in several.probes:
        alone = SHORT.model_copy(update={"lr": (probe.lr,), "weight_decay": (probe.weight_decay,)})
        score = evaluate_attentive(task(), alone)
        assert score.metrics["top1"] == together[tuple(probe.settings.items())]
        assert score.remarks == ("trained without the 32 held-out training images",)


def test_the_backbone_stays_as_it_is_and_bad_features_fail(task: MakeTask) -> None:
    made = task()
    before = {name: value.clone() for name, value in made.encoder.state_dict().items()}
    score = evaluate_attentive(made, SHORT)
    assert score.metrics["top1"] > 20 and len(score.epochs) == 2
    assert all(torch.equal(value, before[name]) for name, value in made.encoder.state_dict().items())
    with torch.no_grad():
        made.encoder.model.norm.weight.fill_(torch.nan)
    with pytest.raises(NotFinite):
        evaluate_attentive(made, SHORT)


def test_the_protocol_is_capi_s() -> None:
    (config,) = ATTENTIVE.protocols
    assert len(config.probes) == 30 and config.probes[0].lr == 1e-5
