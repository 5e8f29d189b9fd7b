"""What may change in a training leaves the networks of every method as they are."""

from typing import Any

import pytest
import torch
from ssl_sweep.methods import METHODS
from ssl_sweep.methods.config import OptimizerConfig
from ssl_sweep.methods.optimizer import build_optimizer
from ssl_sweep.orchestrator.spec.changes import is_changeable
from ssl_sweep.orchestrator.trial.checkpoint import Saved, State, snapshot
from tiny import SMALL, TRAINED, progress, tiny_batch, tiny_method


def test_which_settings_may_change() -> None:
    simclr = METHODS["simclr"]
    assert is_changeable("method.temperature", simclr) and is_changeable("pretrain.optimizer.clip_norm", simclr)
    for key in (
        "method.output_dim", "method.name", "method.views", "method.momentum", "pretrain.epochs", "pretrain.batch_size",
        "pretrain.optimizer.name", "pretrain.optimizer.exclude_norm_and_bias", "pretrain.optimizer", "backbone.name",
        "pretrain.schedule.warmup_epochs",
    ):  # fmt: skip
        assert not is_changeable(key, simclr), key


@pytest.mark.parametrize("name", TRAINED)
def test_a_change_keeps_the_state_of_networks_and_optimizer(name: str) -> None:
    """Each parameter keeps what the optimizer knows of it, also if other rates put it into another group."""
    keys = [key for key in METHODS[name].model_fields if is_changeable(f"method.{key}", METHODS[name])]
    before = tiny_method(name).train()
    config = OptimizerConfig(name="adamw")
    optimizer = build_optimizer(before, config, 4)
    before(tiny_batch(before), progress(0)).loss.backward()
    optimizer.step()
    content = snapshot(before, optimizer, State(step=1)).to_bytes()
    for key in keys:
        nearby = getattr(before.config, key) * 0.9
        for new in (1.0, nearby) if key in ("layer_decay", "patch_embed_lr") else (nearby,):
            settings: dict[str, Any] = SMALL.get(name, {}) | {key: new}
            after = tiny_method(name, **settings)
            fresh = build_optimizer(after, config, 4)
            saved = Saved(content, torch.device("cpu"))
            saved.load_into(after, fresh)
            assert saved.state.step == 1
            assert after.state_dict().keys() == before.state_dict().keys()
            assert all(torch.equal(value, before.state_dict()[n]) for n, value in after.state_dict().items())
            known = {n: optimizer.state[p] for n, p in before.named_parameters() if p in optimizer.state}
            found = {n: fresh.state[p] for n, p in after.named_parameters() if p in fresh.state}
            assert known.keys() == found.keys()
            assert all(torch.equal(known[n]["exp_avg"], found[n]["exp_avg"]) for n in known)
