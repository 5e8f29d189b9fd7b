"""What every method promises the training loop."""

import io
import pickle
from typing import Any

import pytest
import torch
from ssl_sweep.methods import METHODS, load_method_class
from ssl_sweep.methods.base import Method
from ssl_sweep.methods.config import BackboneConfig, OptimizerConfig, ScheduleConfig
from ssl_sweep.methods.encoder import Encoder
from ssl_sweep.methods.optimizer import build_optimizer, set_rates
from tiny import FITTING, IDS, RESNET, VIT, progress, state, tiny_batch, tiny_method
from torch.optim import Optimizer

OPTIMIZER = OptimizerConfig(name="adamw", lr=1e-3, lr_scaling="none", weight_decay=0.05, final_weight_decay=0.1)
SCHEDULE = ScheduleConfig(warmup_epochs=1)

every_method = pytest.mark.parametrize(("name", "backbone"), FITTING, ids=IDS)


def train(method: Method[Any], optimizer: Optimizer, start: int, stop: int) -> None:
    method.train()
    for step in range(start, stop):
        now = progress(step)
        set_rates(optimizer, OPTIMIZER, SCHEDULE, 4, now)
        output = method(tiny_batch(method, seed=step), now)
        optimizer.zero_grad(set_to_none=True)
        output.loss.backward()
        method.before_optimizer_step(now)
        optimizer.step()
        method.after_optimizer_step(now)


@every_method
def test_loss_is_a_finite_float32_scalar_and_reaches_every_parameter(name: str, backbone: BackboneConfig) -> None:
    method = tiny_method(name, backbone)
    loss = method(tiny_batch(method), progress(4)).loss
    assert loss.shape == () and loss.dtype == torch.float32 and loss.isfinite()
    loss.backward()
    untouched = [key for key, p in method.named_parameters() if p.requires_grad and p.grad is None]
    assert not untouched
    trained = {id(p) for p in method.parameters() if p.requires_grad}
    grouped = [id(p) for group in method.param_groups() for p in group["params"]]
    assert set(grouped) == trained and len(grouped) == len(trained)


@every_method
def test_every_trained_parameter_moves_and_the_backbone_stays_finite(name: str, backbone: BackboneConfig) -> None:
    method = tiny_method(name, backbone)
    before = state(method)
    train(method, build_optimizer(method, OPTIMIZER, 4), 0, 4)
    after = state(method)
    still = [k for k, p in method.named_parameters() if p.requires_grad and torch.equal(before[k], after[k])]
    assert not still
    assert all(value.isfinite().all() for value in after.values())
    assert isinstance(method.backbone, Encoder)


@every_method
def test_resume_is_exact(name: str, backbone: BackboneConfig) -> None:
    whole = tiny_method(name, backbone)
    train(whole, build_optimizer(whole, OPTIMIZER, 4), 0, 6)

    first = tiny_method(name, backbone)
    first_optimizer = build_optimizer(first, OPTIMIZER, 4)
    train(first, first_optimizer, 0, 3)
    file = io.BytesIO()
    torch.save({"method": first.state_dict(), "optimizer": first_optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)

    second = tiny_method(name, backbone)
    with torch.no_grad():
        for p in second.parameters():
            p.add_(1.0)
    second_optimizer = build_optimizer(second, OPTIMIZER, 4)
    second.load_state_dict(saved["method"])
    second_optimizer.load_state_dict(saved["optimizer"])
    train(second, second_optimizer, 3, 6)
    torch.testing.assert_close(state(second), state(whole), rtol=0, atol=0)


@every_method
def test_bf16_loss_is_float32_and_near(name: str, backbone: BackboneConfig) -> None:
    method = tiny_method(name, backbone)
    batch = tiny_batch(method, batch_size=8)
    exact = tiny_method(name, backbone)(batch, progress(4)).loss  # of a method of its own: queues move with each step
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = method(batch, progress(4)).loss
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.05, atol=0.02)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", METHODS)
def test_class_and_config_say_what_tables_need(name: str) -> None:
    config = METHODS[name]()
    assert config.name == name and config.title and config.paper and config.views and config.pretrain
    assert issubclass(load_method_class(type(config)), Method)


@every_method
def test_a_method_and_its_config_pickle(name: str, backbone: BackboneConfig) -> None:
    method = tiny_method(name, backbone)
    again = pickle.loads(pickle.dumps(method))
    assert type(again) is type(method) and type(again.config) is METHODS[name] and again.config == method.config
    torch.testing.assert_close(state(again), state(method), rtol=0, atol=0)


def test_random_keeps_its_encoder_as_it_is() -> None:
    method = tiny_method("random", RESNET)
    assert not method.config.trains
    assert not any(p.requires_grad for p in method.parameters())


def test_mae_refuses_a_resnet() -> None:
    with pytest.raises(ValueError, match="needs a ViT"):
        tiny_method("mae", RESNET)


@pytest.mark.parametrize(
    ("name", "views", "message"),
    [
        (
            "simclr",
            {"global_views": [{"count": 3}]},
            "takes 2 global views of an image, but `views.global_views` has 3",
        ),
        ("mae", {"global_views": [{}, {}]}, "takes 1 global view of an image"),
        ("dino", {"global_views": [{}]}, "takes two or more global views"),
        ("byol", {"global_views": [{}, {}], "local_views": [{}]}, "takes no `views.local_views`"),
    ],
)
def test_views_that_do_not_fit_the_loss_are_refused(name: str, views: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        METHODS[name](views=views)


def test_dino_freezes_its_prototypes_in_the_first_epoch_only() -> None:
    method: Any = tiny_method("dino", VIT, norm_last_layer=False)
    for step, frozen in ((1, True), (2, False)):
        method(tiny_batch(method), progress(step)).loss.backward()
        method.before_optimizer_step(progress(step))
        assert (method.student.head.prototypes.grad is None) == frozen
        assert (method.student.head.gains.grad is None) == frozen
        method.zero_grad()


def test_param_groups_free_vectors_from_decay() -> None:
    groups = tiny_method("simclr", RESNET).param_groups()
    assert [group["decay"] for group in groups] == [True, False]
    assert all(p.ndim > 1 for p in groups[0]["params"]) and all(p.ndim <= 1 for p in groups[1]["params"])
